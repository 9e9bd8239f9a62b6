package filter

import "errors"

// Why Cluster.Connect failed; found with errors.Is. Any other error is a failed
// connection: its text is the transport failure reason, and another attempt may do
// better.
var (
	ErrNoHost          = errors.New("no healthy upstream host")
	ErrOverflow        = errors.New("cluster is at its connection limit")
	ErrPendingOverflow = errors.New("cluster is at its limit of pending requests")
	ErrCanceled        = errors.New("connecting was canceled")
	ErrConnectTimeout  = errors.New("connect timeout")
)
