package http1

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
)

// maxInforming is how many informational responses an exchange may have.
const maxInforming = 100

// An exchange is the client's side of the request at hand. What sends and what receives
// have separate fields, but for those under mu and the atomic ones.
type exchange struct {
	c *Client
	sender
	head      responseHead
	body      body
	informing int

	asked    asked
	answered atomic.Bool // the head that counts was read
	tunnel   atomic.Bool // so that its end must be told from a reset
	ended    atomic.Bool // the request was sent as a whole
	failed   atomic.Pointer[httpmsg.ResetError]
	watch    resetWatch

	mu       sync.Mutex
	accepted bool // the tunnel may be used
}

var (
	_ httpmsg.Exchange = (*exchange)(nil)
	_ httpmsg.Metered  = (*exchange)(nil)
	_ httpmsg.Finite   = (*exchange)(nil)
	_ httpmsg.Watched  = (*exchange)(nil)
)

func (x *exchange) init(c *Client) {
	x.c = c
	x.out, x.trailers, x.z.format = &c.out, c.o.EnableTrailers, c.o.HeaderKeyFormat
	x.head.rules = c.o.rules()
	x.body.in, x.body.rules, x.body.failed = &c.in, &x.head.rules, x.cut
}

func (x *exchange) begin() {
	x.sender.reset()
	x.head.clear()
	x.body.begin(framed{})
	x.informing, x.asked, x.accepted = 0, asked{}, false
	x.answered.Store(false)
	set(&x.tunnel, false)
	x.ended.Store(false)
	if x.failed.Load() != nil {
		x.failed.Store(nil)
	}
	x.watch.begin()
	x.c.mark(0)
}

// WriteRequest implements httpmsg.Exchange.
func (x *exchange) WriteRequest(r *httpmsg.Request, end bool) error {
	if x.begun {
		return x.sent(errOver)
	}
	x.asked = askedBy(r)
	set(&x.tunnel, r.Tunnel())
	x.hold = x.c.in.sock != nil && end && !r.Tunnel()
	if !x.hold && x.c.watched() && !x.c.looked && x.c.in.stirs() {
		return x.sent(errUnasked)
	}
	f, err := x.writeHead(r, end)
	if err != nil {
		return x.sent(err)
	}
	return x.sent(x.sender.begin(f, end))
}

func (x *exchange) writeHead(r *httpmsg.Request, end bool) (f framed, err error) {
	b := x.out.room()
	from := len(b)
	if b, err = x.requestLine(b, r); err != nil {
		return f, err
	}
	b, err = x.z.fields(x.z.host(b, r.Authority, wireCase(r.Header)), r.Header, !r.Connect())
	if err != nil {
		return f, err
	}
	switch z := &x.z.head; {
	case r.Tunnel():
		f = framed{kind: raw}
	case z.hasLength:
		f = framed{byLength, z.length}
	case end:
		if needsLength(r.Method) {
			b = x.z.line(b, "content-length", "0")
		}
	default:
		f = framed{kind: byChunks}
		b = x.z.line(b, "transfer-encoding", "chunked")
	}
	if r.Upgrade != "" {
		b = x.z.line(b, "connection", "upgrade")
		b = x.z.line(b, "upgrade", r.Upgrade)
	}
	b = append(b, "\r\n"...)
	if !intact(b[from:], x.z.head.lines+3) {
		return f, errCharacter
	}
	x.c.marks.headOut += uint64(len(b) - from)
	x.out.keep(b)
	return f, nil
}

// wireCase reports whether the names of a head have the case of the client.
func wireCase(h httpmsg.Header) bool { return len(h) > 0 && h[0].Wire != "" }

// needsLength reports whether a request without a body says so; Envoy's list.
func needsLength(method string) bool {
	switch method {
	case "GET", "HEAD", "DELETE", "TRACE":
		return false
	}
	return true
}

var errRequestLine = errors.New("http1: a request that cannot be written on one line")

func (x *exchange) requestLine(b []byte, r *httpmsg.Request) ([]byte, error) {
	target := r.Path
	ok := target != "" && (target[0] == '/' || target == "*" && r.Method == "OPTIONS")
	if r.Connect() {
		target, ok = r.Authority, true
	}
	if !ok || !httptext.Token(r.Method) || !onOneLine(target) || !httptext.Authority(r.Authority) {
		return b, errRequestLine
	}
	b = append(append(b, r.Method...), ' ')
	if x.c.o.SendFullyQualifiedURL && !r.Connect() && target[0] == '/' {
		scheme := r.Scheme
		if scheme == "" {
			scheme = "http"
		}
		b = append(append(append(b, scheme...), "://"...), r.Authority...)
	}
	b = append(b, target...)
	return append(b, " HTTP/1.1\r\n"...), nil
}

// WriteData implements httpmsg.Writer.
func (x *exchange) WriteData(p []byte, end bool) error { return x.sent(x.data(p, end)) }

// WriteTrailer implements httpmsg.Writer.
func (x *exchange) WriteTrailer(h httpmsg.Header) error { return x.sent(x.trailer(h)) }

// Flush implements httpmsg.Writer. A request that is complete with its head is left to
// ReadResponse, which comes next.
func (x *exchange) Flush() error {
	if x.hold && x.done {
		return nil
	}
	return x.sent(x.out.flush())
}

// sent turns what came of sending into the end of the exchange, and of a request into
// one of a tunnel where that may end now. A server that takes no more may have answered
// before, so that reading goes on.
func (x *exchange) sent(err error) error {
	switch {
	case err == nil:
		if x.done && !x.ended.Load() {
			return x.sentAll()
		}
		return nil
	case x.out.err == nil && x.c.why.Load() == nil:
		why := &httpmsg.ResetError{Reason: httpmsg.LocalReset, Err: err}
		x.Reset(why)
		return why
	}
	return x.c.failure(err)
}

// sentAll notes that nothing of the request follows. The end of a tunnel waits until it
// was accepted: before that a FIN would be taken for a client that went away.
func (x *exchange) sentAll() error {
	if x.kind != raw {
		x.ended.Store(true)
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended.Store(true)
	if x.accepted {
		return x.closeWrite()
	}
	return nil
}

func (x *exchange) closeWrite() error {
	if err := x.c.conn.CloseWrite(); err != nil {
		return x.c.failure(err)
	}
	return nil
}

// accept lets the tunnel's end pass.
func (x *exchange) accept() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.accepted = true
	if x.ended.Load() {
		_ = x.closeWrite()
	}
}

// ReadResponse implements httpmsg.Exchange.
func (x *exchange) ReadResponse() (*httpmsg.Response, error) {
	if x.answered.Load() {
		return nil, errOver
	}
	n, err := x.readHead()
	if err == nil {
		if r := x.head.parse(x.c.in.unread()[:n], x.asked); r != nil {
			err = x.refuse(r)
		}
	}
	if err != nil {
		return nil, err
	}
	x.c.marks.headIn += uint64(n)
	x.c.in.consume(n)
	resp := &x.head.resp
	if resp.Informational() {
		if x.informing++; x.informing > maxInforming {
			return nil, x.refuse(errInforming)
		}
		return resp, nil
	}
	if set(&x.tunnel, x.head.upgraded); x.head.upgraded {
		x.accept()
	}
	x.body.begin(x.head.body)
	x.answered.Store(true)
	if x.head.last {
		x.c.tell(drained, nil)
	}
	if x.head.body.kind != noBody {
		resp.Body = &x.body
	}
	return resp, nil
}

// readHead waits for a head, and returns its length. Nothing of it is consumed.
func (x *exchange) readHead() (int, error) {
	in := &x.c.in
	if x.hold && x.out.pending() > 0 {
		if err := x.c.ask(x.c.looked); err != nil {
			return 0, x.unanswered(err)
		}
	}
	for from := 0; ; {
		p := in.unread()
		n, next, r := endOfBlock(p, from)
		switch {
		case r != nil:
		case n > x.head.maxBytes || n == 0 && len(p) >= x.head.maxBytes:
			r = errTooLarge
		case n > 0:
			return n, nil
		case !mayBeResponse(p):
			r = errStatus
		}
		if r != nil {
			return 0, x.refuse(r)
		}
		from = next
		if err := in.fill(); err != nil {
			if err == io.EOF && len(p) > 0 {
				return 0, x.refuse(errCutHead)
			}
			return 0, x.unanswered(err)
		}
	}
}

// unanswered is the end of an exchange to which no response came.
func (x *exchange) unanswered(err error) *httpmsg.ResetError {
	var why *httpmsg.ResetError
	if !errors.As(err, &why) {
		why = x.c.failure(err)
	}
	x.failed.Store(why)
	x.c.lost(why)
	return why
}

// mayBeResponse reports whether p can begin a response.
func mayBeResponse(p []byte) bool {
	const begin = "HTTP/1."
	n := min(len(p), len(begin))
	return string(p[:n]) == begin[:n]
}

// refuse ends an exchange with a response that is not accepted.
func (x *exchange) refuse(r *refusal) *httpmsg.ResetError {
	why := r.why()
	x.failed.Store(why)
	return why
}

// cut is the error of a body that the connection did not carry whole: in order, which
// breaks the protocol, or not.
func (x *exchange) cut(err error) *httpmsg.ResetError {
	why := x.c.failure(err)
	if err == io.EOF && x.c.why.Load() == nil {
		why = &httpmsg.ResetError{Reason: httpmsg.ProtocolError, Err: io.ErrUnexpectedEOF}
	}
	x.c.lost(why)
	return why
}

// Reset implements httpmsg.Writer.
func (x *exchange) Reset(why *httpmsg.ResetError) {
	if !x.over() {
		x.c.abort(why, x.tunnel.Load())
	}
}

// OnReset implements httpmsg.Watched. f must not call OnReset.
func (x *exchange) OnReset(f func(*httpmsg.ResetError)) { x.watch.set(f) }

// gone is called when the server has ended its direction, or both. Who reads finds out
// behind what came before; here is told that what is sent reaches nobody. An end of one
// direction says nothing of that.
func (x *exchange) gone() {
	if peerReset(x.c.conn) && !x.over() || !x.ended.Load() && peerClosed(x.c.conn) {
		x.watch.fire(&httpmsg.ResetError{Reason: httpmsg.ConnectionTermination})
	}
}

// over reports whether both messages are complete.
func (x *exchange) over() bool { return x.ended.Load() && x.answered.Load() && x.body.done.Load() }

// Finished implements httpmsg.Finite.
func (x *exchange) Finished() bool { return !x.begun || x.over() }

// Wire implements httpmsg.Metered.
func (x *exchange) Wire() httpmsg.Wire { return x.c.wire() }

// Release implements httpmsg.Exchange. The connection is used again only if everything
// was sent, then everything received, and nothing behind it: what is in doubt could make
// the next exchange's response another one's.
func (x *exchange) Release() {
	x.watch.end()
	complete := !x.begun || x.ended.Load() && x.answered.Load() && (x.body.done.Load() || x.body.skip())
	reuse := complete && (!x.begun || x.head.keep && !x.asked.tunnel()) && x.c.clean()
	if reuse {
		x.c.release(true, nil)
		return
	}
	why := x.whyOver()
	if !complete {
		x.c.abort(why, x.tunnel.Load())
	}
	x.c.release(false, why)
}

// whyOver is why the connection is not used again.
func (x *exchange) whyOver() *httpmsg.ResetError {
	if why := x.failed.Load(); why != nil {
		return why // which a reset may have followed
	}
	if why := x.c.why.Load(); why != nil {
		return why
	}
	switch in := &x.c.in; {
	case in.err == io.EOF:
		return &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination}
	case !in.empty(): // what nobody asked for
		return &httpmsg.ResetError{Reason: httpmsg.ProtocolError}
	}
	return &httpmsg.ResetError{Reason: httpmsg.LocalReset}
}
