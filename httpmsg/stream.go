package httpmsg

import "io"

// A Body is the bytes of a message, and its trailers. One goroutine uses it.
type Body interface {
	// Next waits for the next piece and returns it: at least one byte, or an error. The
	// piece belongs to the body and is valid until the next call. The end is io.EOF,
	// which may come with the last piece; any other error is a *ResetError, and comes
	// alone.
	Next() ([]byte, error)
	// Ready reports whether Next would return at once: who passes pieces on need not
	// flush before.
	Ready() bool
	// Trailer returns the trailers; nil before io.EOF, and where there were none.
	Trailer() Header
}

// A Writer sends the body of a message whose head has been sent. One goroutine uses it,
// but for Reset. Errors are *ResetErrors.
type Writer interface {
	// WriteData sends p, which the caller keeps. It may wait until the peer takes bytes,
	// and may hold bytes back until Flush. end tells that nothing follows; that flushes.
	WriteData(p []byte, end bool) error
	// WriteTrailer ends the message with trailers.
	WriteTrailer(h Header) error
	// Flush sends what was held back.
	Flush() error
	// Reset ends both directions where they are: a read or a write that waits returns,
	// in whatever goroutine. It may be called at any time, several times, and does
	// nothing to an exchange that is over. why is what the waiting ones return.
	Reset(why *ResetError)
}

// A Responder is the server's side of an exchange.
type Responder interface {
	Writer
	// WriteResponse sends a head; those of informational responses may precede the one
	// that counts. end: there is no body. It may be held back until Flush. The body in
	// the response is not looked at.
	WriteResponse(r *Response, end bool) error
	// StopRequest gives up what is left of the request: a Next of its body that waits, and
	// every later one, returns why; what still comes is dropped. The response can be sent
	// all the same (HTTP/1 announces the close of the connection with it); the stream ends
	// like any whose request was not finished. It may be called at any time, from any
	// goroutine, several times, and does nothing to a request that has been read whole.
	StopRequest(why *ResetError)
	// OnReset has f called, once, when the client goes away or resets the exchange before
	// it is over: from another goroutine, and at once if that has happened already. nil
	// takes back what was asked for; when it returns, f is not running.
	OnReset(f func(*ResetError))
}

// An Exchange is the client's side of one request and its response. One goroutine may
// send while another one receives.
type Exchange interface {
	Writer
	// WriteRequest sends the head. end: there is no body; such a request may be held back
	// until ReadResponse, others until Flush.
	WriteRequest(r *Request, end bool) error
	// ReadResponse waits for the next head. Informational ones precede the one that
	// counts, which has a Body if one follows. The response is the exchange's, and valid
	// until Release, its strings for ever.
	ReadResponse() (*Response, error)
	// Release gives the exchange back; nothing of it may be used any more. What was not
	// read or not sent is reset.
	Release()
}

// Wire counts bytes on the wire of one exchange; those of heads and trailers, as they
// were encoded, are part of the others. Plain is what heads and trailers, of the names and
// values alone, were before they were compressed; 0 where nothing compresses them.
type Wire struct {
	Received, Sent, HeaderReceived, HeaderSent uint64
	PlainReceived, PlainSent                   uint64
}

// Add adds what v counts.
func (w *Wire) Add(v Wire) {
	w.Received += v.Received
	w.Sent += v.Sent
	w.HeaderReceived += v.HeaderReceived
	w.HeaderSent += v.HeaderSent
	w.PlainReceived += v.PlainReceived
	w.PlainSent += v.PlainSent
}

// A Metered Exchange or Responder knows its bytes.
type Metered interface {
	// Wire returns the bytes so far. It is called by who sends or receives.
	Wire() Wire
}

// A Watched Exchange tells of an end that nobody may be about to find: of the sending
// direction, once the response has been read and nothing is written.
type Watched interface {
	// OnReset has f called, once, when the server resets the exchange, or is gone, before
	// it is over: as Responder's does.
	OnReset(f func(*ResetError))
}

// A Finite Exchange knows whether its messages have been transferred whole.
type Finite interface {
	// Finished reports whether nothing was begun, or all was sent and received. It is
	// called before Release, when nobody else uses the exchange.
	Finished() bool
}

// Copy sends a body, and ends the message: with its trailers, if it has any. It returns
// the number of bytes sent. The error is that of the side that failed; read tells that it
// was src.
func Copy(dst Writer, src Body) (n int64, read bool, err error) {
	for {
		p, err := src.Next()
		if err != nil && err != io.EOF {
			return n, true, err
		}
		ended := err == io.EOF
		trailer := Header(nil)
		if ended {
			trailer = src.Trailer()
		}
		if len(p) > 0 || ended && len(trailer) == 0 {
			if err := dst.WriteData(p, ended && len(trailer) == 0); err != nil {
				return n, false, err
			}
			n += int64(len(p))
		}
		switch {
		case len(trailer) > 0:
			return n, false, dst.WriteTrailer(trailer)
		case ended:
			return n, false, nil
		case !src.Ready():
			if err := dst.Flush(); err != nil {
				return n, false, err
			}
		}
	}
}

// Bytes is a body that is there as a whole.
type Bytes []byte

// Next implements Body.
func (b *Bytes) Next() ([]byte, error) {
	p := *b
	*b = nil
	return p, io.EOF
}

// Ready implements Body.
func (b *Bytes) Ready() bool { return true }

// Trailer implements Body.
func (b *Bytes) Trailer() Header { return nil }
