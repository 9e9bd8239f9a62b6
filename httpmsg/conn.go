package httpmsg

import "time"

// A Server is the server's side of a connection: a codec.
type Server interface {
	// Serve reads requests and has them answered until the connection is over, and closes
	// it. The error tells why, nil that the client ended it in order between requests; a
	// *ResetError for LocalReset may be an end in order, too, that this side chose.
	Serve() error
	// Drain asks the client for no more requests than it has begun: HTTP/1 announces it
	// with the next response that begins and closes then, or when it has been idle for
	// grace; HTTP/2 sends GOAWAY, and a second one that is final after grace, and ends with
	// the last stream. Without grace, HTTP/1 ends with a response that has begun, too. It
	// may be called at any time, from any goroutine, several times.
	Drain(grace time.Duration)
	// Close ends the connection now, and the streams on it for that reason.
	Close(why *ResetError)
	// Protocol is what is spoken; HTTP11 stands for HTTP10, too.
	Protocol() Protocol
	// Bytes returns the bytes received and sent so far. It may be called at any time.
	Bytes() (received, sent uint64)
}

// A ServerHandler answers what a Server receives. HTTP/1 calls it in Serve's goroutine,
// one request at a time; HTTP/2 in a goroutine for each stream.
type ServerHandler interface {
	// Answer answers a request: when it returns, w is not used any more. A message that
	// it left unfinished, in either direction, resets the stream (HTTP/1: the connection).
	Answer(r *Request, w Responder)
	// Refuse answers a message that the codec does not accept, with the status given, if a
	// response can still be sent; r holds what was understood. The codec then ends what
	// must end: on HTTP/1 the connection.
	Refuse(r *Request, w Responder, status int, why *ResetError)
	// Active is told how many requests are under way when that changes: 0 begins idle
	// time. Calls do not overlap.
	Active(n int)
}

// A Client is the client's side of a connection: a codec.
type Client interface {
	// Open begins an exchange; nil when there is no room for one, or the connection drains
	// or has ended.
	Open() Exchange
	// Room is how many exchanges may begin now.
	Room() int
	Protocol() Protocol
	// Drain lets no exchange begin any more; the connection ends with the last one.
	Drain()
	// Close ends the connection now, and its exchanges for that reason. Functions of their
	// OnReset may run before it returns: no lock of theirs may be held.
	Close(why *ResetError)
	// Bytes returns the bytes received and sent so far. It may be called at any time.
	Bytes() (received, sent uint64)
}

// A ClientOwner is told what happens to a Client. Calls may come from any goroutine, but
// none from within a method of the Client that the owner has called; they do not overlap
// and hold no lock of the client.
type ClientOwner interface {
	// Changed is called when Room may have grown: an exchange was released, or the server
	// allows more.
	Changed()
	// Draining is called once when the server wants no more exchanges (GOAWAY,
	// connection: close), or one ended so that the connection cannot be used again.
	Draining()
	// Closed is called once when the connection is over and closed, whoever ended it:
	// before the exchanges that end with it hear of that, where the codec can, so that
	// they count as cut off.
	Closed(why *ResetError)
}
