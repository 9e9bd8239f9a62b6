package http1

import "github.com/ginnel/ginnel/filter"

// A Conn is the connection under a codec. Further methods are used where it has them:
// those of Ending, SyscallConn to wait without a buffer and to write several pieces at
// once, and what the ends of in-process pipes can do.
type Conn = filter.Stream

// Ending is a stream that can tell an end of one direction from an end of both.
type Ending interface {
	// PeerClosed reports whether the peer has ended both directions, PeerReset that it
	// did so without order: at once, however much is still to be read.
	PeerClosed() bool
	PeerReset() bool
}
