package http2

import (
	"sync"

	"github.com/ginnel/ginnel/httpmsg"
)

// An exchange is a stream of a client: it implements httpmsg.Exchange.
type exchange struct {
	stream
	client *Client
	method string
	// What the request is decides what the response means.
	upgrade, tunnel bool

	// Guarded by mu.
	resp     httpmsg.Response
	ready    bool                // resp is the response that counts
	informs  []*httpmsg.Response // informational ones that were not read
	informed int                 // how many have come
}

var (
	_ httpmsg.Exchange = (*exchange)(nil)
	_ httpmsg.Body     = (*exchange)(nil)
	_ httpmsg.Finite   = (*exchange)(nil)
	_ httpmsg.Watched  = (*exchange)(nil)
)

const (
	maxInforms  = 100 // informational responses to one request
	keptInforms = 8   // of them that wait to be read; older ones are dropped
)

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func newExchange(v *Client) *exchange {
	x := exchanges.Get().(*exchange)
	x.stream.init(&v.conn)
	x.stream.exchange, x.client = x, v
	return x
}

func putExchange(x *exchange) {
	lines, trailer := x.lines, x.trailer
	*x = exchange{}
	x.lines, x.trailer = lines, trailer
	exchanges.Put(x)
}

// WriteRequest implements httpmsg.Exchange. It waits while the server allows no more
// streams than there are, which its SETTINGS can say after the exchange was opened.
func (x *exchange) WriteRequest(r *httpmsg.Request, end bool) error {
	if !wellFormed(r) {
		return x.refuse()
	}
	v := x.client
	v.mu.Lock()
	defer v.mu.Unlock()
	for {
		if why := x.startable(); why != nil {
			if x.id == 0 && x.over == nil {
				x.over = why // nothing else would end ReadResponse
			}
			return why
		}
		if uint32(len(v.streams)) >= v.peerStreams {
			v.slots.Wait()
			continue
		}
		if !v.full() {
			break
		}
		v.flush()
		v.drained.Wait()
	}
	x.method, x.upgrade, x.tunnel = r.Method, r.Upgrade != "", r.Tunnel()
	if v.idleTooLong() {
		v.ping()
	}
	if v.lastID == 0 {
		v.lastID = 1
	} else {
		v.lastID += 2
	}
	x.open(v.lastID)
	start := v.beginHead()
	v.encodeRequest(r)
	x.endHead(start, end)
	return nil
}

// startable returns why the request cannot be sent; nil: it can. It holds mu.
func (x *exchange) startable() *httpmsg.ResetError {
	v := x.client
	switch {
	case x.id != 0:
		return errEnded
	case v.ended:
		return v.endedWhy()
	case v.refused:
		return &httpmsg.ResetError{Reason: httpmsg.RemoteRefused, Details: detailGoAway}
	}
	return x.sendable()
}

// ReadResponse implements httpmsg.Exchange.
func (x *exchange) ReadResponse() (*httpmsg.Response, error) {
	c := x.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case len(x.informs) > 0:
			r := x.informs[0]
			x.informs = x.informs[1:]
			return r, nil
		case x.ready:
			return &x.resp, nil
		case x.over != nil:
			return nil, x.over
		}
		if c.out != nil {
			c.flush() // the request may be held back
		}
		x.readable.Wait()
	}
}

// Finished implements httpmsg.Finite.
func (x *exchange) Finished() bool {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	return x.id == 0 || x.received && x.sent && x.over == nil
}

// Release implements httpmsg.Exchange.
func (x *exchange) Release() { x.client.released(x) }

// bodiless reports whether a response has no content, whatever content-length says.
func (x *exchange) bodiless(status int) bool {
	return x.method == "HEAD" || status == 304 || status == 204
}

// inform takes an informational response. It holds mu.
func (x *exchange) inform(b *block, status int) error {
	if x.informed++; x.informed > maxInforms {
		return streamFlood(b.id)
	}
	if len(x.informs) == keptInforms {
		x.informs = x.informs[1:]
	}
	x.informs = append(x.informs, &httpmsg.Response{Status: status, Header: b.own.Clone()})
	x.readable.Signal()
	return nil
}

// respond takes the response that counts. It holds mu.
func (x *exchange) respond(b *block, status int) {
	if x.upgrade && status == 200 {
		status = 101
	}
	b.take(&x.lines)
	x.resp = httpmsg.Response{Status: status, Header: x.lines}
	switch {
	case x.bodiless(status):
		x.length = 0
	case !x.tunnel || status >= 300:
		x.length = b.content
	}
	x.ready = true
	if !b.end {
		x.resp.Body = x
		x.readable.Signal()
		return
	}
	x.endReceived()
}
