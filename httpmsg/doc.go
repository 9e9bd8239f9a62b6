// Package httpmsg is HTTP messages as every part of the proxy sees them, whatever
// version of the protocol carried them: heads, bodies, trailers, and how an exchange of
// them can end.
//
// A message is streamed: its head is a value, its body is asked for piece by piece. What
// HTTP/1 and HTTP/2 write differently is normalised by the codecs: names are lower case,
// hop-by-hop headers are gone, an extended CONNECT is a GET with Upgrade set. Strings of
// a message never change and may be kept; slices of bytes belong to who made them.
package httpmsg
