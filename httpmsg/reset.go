package httpmsg

import "fmt"

// A ResetError is how an exchange ended that did not end in order.
type ResetError struct {
	Reason Reason
	// Code is the error code of the RST_STREAM or GOAWAY that came or shall be sent; 0
	// lets the codec choose by the reason.
	Code uint32
	// Details names what is wrong in the codec's words, as "http1.codec_error"; "": the
	// reason says it all.
	Details string
	// Failure is the transport's failure reason, as of %UPSTREAM_TRANSPORT_FAILURE_REASON%.
	Failure string
	Err     error // what caused it; nil: the peer, or who called Reset
}

func (e *ResetError) Error() string {
	s := e.Reason.String()
	if e.Details != "" {
		s += " (" + e.Details + ")"
	}
	if e.Err != nil {
		s = fmt.Sprintf("%s: %v", s, e.Err)
	}
	return s
}

func (e *ResetError) Unwrap() error { return e.Err }

// A Reason is why a stream was reset, in Envoy's classes.
type Reason uint8

// The reasons. Local ones are this side's doing.
const (
	LocalReset Reason = iota + 1
	LocalRefused
	RemoteReset
	RemoteRefused // nothing of the request was looked at: it may be sent again
	LocalConnectionFailure
	RemoteConnectionFailure
	ConnectionTimeout
	ConnectionTermination // the connection under the exchange ended
	Overflow
	ConnectError // the far side of a terminated CONNECT was reset or refused
	ProtocolError
)

// String is the reason as Envoy prints it in %RESPONSE_CODE_DETAILS%.
func (r Reason) String() string {
	return [...]string{
		"", "local_reset", "local_refused_stream_reset", "remote_reset", "remote_refused_stream_reset",
		"local_connection_failure", "remote_connection_failure", "connection_timeout",
		"connection_termination", "overflow", "connect_error", "protocol_error",
	}[r]
}
