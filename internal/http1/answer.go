package http1

import (
	"errors"
	"sync/atomic"

	"github.com/ginnel/ginnel/httpmsg"
)

// An answer is the server's side of the exchange at hand.
type answer struct {
	s *Server
	sender
	req     *httpmsg.Request
	refused bool
	keep    bool        // the connection goes on after this exchange
	tunnel  atomic.Bool // what follows the request's head is not a message
	ending  atomic.Bool // the last of the response is being sent, or was
	ended   atomic.Bool // the response was sent as a whole
	watch   resetWatch
}

var (
	_ httpmsg.Responder = (*answer)(nil)
	_ httpmsg.Metered   = (*answer)(nil)
)

var (
	errSwitch    = errors.New("http1: 101 to a request that asks for no upgrade")
	errCharacter = errors.New("http1: a head with line ends in it")
)

func (a *answer) prepare(r *httpmsg.Request) {
	a.sender.reset()
	a.req, a.refused, a.keep = r, false, false
	set(&a.tunnel, r.Tunnel())
	a.ending.Store(false)
	a.ended.Store(false)
}

// over reports whether both messages are complete.
func (a *answer) over() bool { return a.ended.Load() && a.s.body.done.Load() }

// OnReset implements httpmsg.Responder. f must not call OnReset.
func (a *answer) OnReset(f func(*httpmsg.ResetError)) { a.watch.set(f) }

// Reset implements httpmsg.Writer.
func (a *answer) Reset(why *httpmsg.ResetError) {
	if !a.over() {
		a.s.abort(why, a.tunnel.Load() || a.begunUntilClose())
	}
}

// begunUntilClose reports whether a FIN would make a whole response of a part.
func (a *answer) begunUntilClose() bool { return a.req.Protocol == httpmsg.HTTP10 }

// StopRequest implements httpmsg.Responder.
func (a *answer) StopRequest(why *httpmsg.ResetError) {
	if !a.s.body.done.Load() {
		a.s.body.stop(why)
	}
}

// Wire implements httpmsg.Metered.
func (a *answer) Wire() httpmsg.Wire { return a.s.wire() }

// WriteResponse implements httpmsg.Responder.
func (a *answer) WriteResponse(r *httpmsg.Response, end bool) error {
	switch {
	case a.begun:
		return a.failed(errOver)
	case r.Informational():
		return a.failed(a.inform(r))
	}
	f, err := a.head(r, end)
	if err == nil {
		set(&a.ending, end)
		err = a.sender.begin(f, end)
	}
	return a.failed(a.noteEnd(err))
}

// inform sends an informational response, at once: somebody waits for it.
func (a *answer) inform(r *httpmsg.Response) error {
	if a.req.Protocol == httpmsg.HTTP10 {
		return nil
	}
	b := a.out.room()
	from := len(b)
	b = appendStatus(b, httpmsg.HTTP11, r.Status, r.Phrase)
	b, err := a.z.fields(b, r.Header, false)
	if err != nil {
		return err
	}
	b = append(b, "\r\n"...)
	if !intact(b[from:], a.z.head.lines+2) {
		return errCharacter
	}
	a.s.marks.headOut += uint64(len(b) - from)
	a.out.keep(b)
	return a.out.flush()
}

// head writes the head of the response that counts.
func (a *answer) head(r *httpmsg.Response, end bool) (f framed, err error) {
	upgraded := r.Status == 101
	if upgraded && a.req.Upgrade == "" {
		return f, errSwitch
	}
	tunnel := upgraded || a.req.Connect() && r.Status/100 == 2
	b := a.out.room()
	from := len(b)
	b = appendStatus(b, a.version(), r.Status, r.Phrase)
	b, err = a.z.fields(b, r.Header, !tunnel && r.Status != 204)
	if err != nil {
		return f, err
	}
	f = a.framing(r.Status, tunnel, end)
	a.keep = !tunnel && a.mayKeep(f)
	if b = a.ownLines(b, r.Status, f, end); !intact(b[from:], a.z.head.lines+2) {
		return f, errCharacter
	}
	a.s.marks.headOut += uint64(len(b) - from)
	a.out.keep(b)
	if a.req.Method == "HEAD" {
		f = framed{}
	}
	return f, nil
}

// version is what the status line says: to a client of HTTP/1.0 that, unless it is told
// that it is too old.
func (a *answer) version() httpmsg.Protocol {
	if a.req.Protocol == httpmsg.HTTP10 && a.s.o.AcceptHTTP10 {
		return httpmsg.HTTP10
	}
	return httpmsg.HTTP11
}

// framing chooses how the body is delimited.
func (a *answer) framing(status int, tunnel, end bool) framed {
	switch z := &a.z.head; {
	case tunnel:
		return framed{kind: raw}
	case status == 204 || status == 304:
		return framed{}
	case z.hasLength:
		return framed{byLength, z.length}
	case end:
		return framed{}
	case a.req.Protocol == httpmsg.HTTP10:
		return framed{kind: byClose}
	}
	return framed{kind: byChunks}
}

// mayKeep decides whether the connection goes on. What the client still sends of its
// request must not be read as the next one.
func (a *answer) mayKeep(f framed) bool {
	s := a.s
	if !s.head.keep || a.refused || a.tunnel.Load() || a.z.head.close || f.kind == byClose {
		return false
	}
	return !s.draining.Load() && s.body.here()
}

// ownLines appends what the codec says of connection and body, and the empty line.
func (a *answer) ownLines(b []byte, status int, f framed, end bool) []byte {
	switch {
	case f.kind == raw && status == 101:
		to := a.z.head.upgrade
		if to == "" {
			to = a.req.Upgrade
		}
		b = a.z.line(b, "connection", "upgrade")
		b = a.z.line(b, "upgrade", to)
	case f.kind == raw:
	case !a.keep:
		b = a.z.line(b, "connection", "close")
	case a.req.Protocol == httpmsg.HTTP10:
		b = a.z.line(b, "connection", "keep-alive")
	}
	switch {
	case f.kind == byChunks:
		b = a.z.line(b, "transfer-encoding", "chunked")
	case f.kind == noBody && end && status != 204 && status != 304 && a.req.Method != "HEAD":
		b = a.z.line(b, "content-length", "0")
	}
	return append(b, "\r\n"...)
}

// WriteData implements httpmsg.Writer.
func (a *answer) WriteData(p []byte, end bool) error {
	if end {
		a.ending.Store(true)
	}
	return a.failed(a.noteEnd(a.data(p, end)))
}

// WriteTrailer implements httpmsg.Writer.
func (a *answer) WriteTrailer(h httpmsg.Header) error {
	a.ending.Store(true)
	return a.failed(a.noteEnd(a.trailer(h)))
}

// Flush implements httpmsg.Writer.
func (a *answer) Flush() error { return a.failed(a.out.flush()) }

// noteEnd notes that nothing of the response follows: of a tunnel before the client can
// see it, who may then end its own direction, and be gone.
func (a *answer) noteEnd(err error) error {
	if err != nil || !a.done || a.ended.Swap(true) || a.kind != raw {
		return err
	}
	return a.out.conn.CloseWrite()
}

// failed is an error as the end of the exchange. One that is not of the connection is a
// mistake on this side of it.
func (a *answer) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case a.out.err == nil && a.s.why.Load() == nil:
		why := &httpmsg.ResetError{Reason: httpmsg.LocalReset, Err: err}
		a.Reset(why)
		return why
	}
	return a.s.failure(err)
}
