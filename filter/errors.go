package filter

import "errors"

// Why Cluster.Connect failed, to be compared with ==: a *ConnectError, which any other
// error is, may wrap what a hop further in was refused for.
var (
	ErrNoHost          = errors.New("no healthy upstream host")
	ErrOverflow        = errors.New("cluster is at its connection limit")
	ErrPendingOverflow = errors.New("cluster is at its limit of pending requests")
	ErrRequestOverflow = errors.New("cluster is at its limit of requests")
	ErrCanceled        = errors.New("connecting was canceled")
	ErrConnectTimeout  = errors.New("connect timeout")
)

// A NoHostError is ErrNoHost of HTTPCluster.Open where there is more to say.
type NoHostError struct{ Details string } // for %RESPONSE_CODE_DETAILS%

func (e *NoHostError) Error() string { return ErrNoHost.Error() + ": " + e.Details }

// Unwrap returns ErrNoHost.
func (e *NoHostError) Unwrap() error { return ErrNoHost }

// A ConnectError is a connection that could not be made; another attempt may do
// better. Its text is the transport failure reason of Envoy's logs.
type ConnectError struct {
	Reason string
	// Local tells that this side could not even begin, as when the source address is
	// not ours: Envoy has no response flag for that.
	Local bool
	// Told is what the host said with its refusal, for the upstream filter state of hops
	// further out; nil: nothing.
	Told []Entry
	Err  error
}

func (e *ConnectError) Error() string { return e.Reason }

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// ErrDenied is the error of a listener filter that wants the connection closed, and has
// counted why itself.
var ErrDenied = errors.New("a listener filter refused the connection")
