// Package http1 is HTTP/1.1 on a connection: the codec of a server and that of a client,
// which share one strict parser and one serialiser.
//
// What it does not accept, it refuses as a whole and ends the connection: RFC 9112
// leaves a receiver some lenience (bare LF, folded lines, several ways to say how long a
// body is), and each of them has let two parsers disagree about where a message ends. So
// there is one way to write each thing here; see docs/differences.md for what Envoy
// takes and we do not.
//
// A head becomes one string, of which names and values are parts; a body is returned
// from where it was read. So a message costs one allocation. A connection that waits for
// a message holds no buffer where its stream can wait without one.
package http1
