package http1

import "github.com/ginnel/ginnel/filter"

// A Conn is the connection under a codec. Further methods are used where it has them:
// PeerReset and PeerClosed, SyscallConn to wait without a buffer and to write several
// pieces at once, and what the ends of in-process pipes can do.
type Conn = filter.Stream

// peerReset reports whether the peer has reset the connection, at once and however much
// is still to be read; false where the stream cannot tell, or the error was met already.
func peerReset(c Conn) bool {
	s, ok := c.(interface{ PeerReset() bool })
	return ok && s.PeerReset()
}

// peerClosed reports whether the peer has ended both directions, which a pipe alone tells
// from an end of one.
func peerClosed(c Conn) bool {
	s, ok := c.(interface{ PeerClosed() bool })
	return ok && s.PeerClosed()
}
