// Package http2 is HTTP/2 connections (RFC 9113), seen as a server and as a client.
//
// A connection has one goroutine that reads, one that writes, and on the server's side
// one for each request. The reader parses frames where they lie and hands out what they
// carry; it never waits for a stream. Who has something to send appends frames to the
// connection's queue; the writer yields once before it takes the queue, so that what
// many streams say leaves in one system call. What waits to be sent is bounded by the
// queue, not by the peer's windows: senders of bodies wait in line until there is room.
//
// Everything a peer can make grow has a limit, most of them with Envoy's names: see
// [Options]. What breaks the protocol is answered with RST_STREAM, or with GOAWAY and
// the end of the connection, as RFC 9113 has it.
package http2
