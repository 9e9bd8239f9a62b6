package http2

import (
	"fmt"
	"sync"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
)

// A Client is the client's side of a connection. It implements httpmsg.Client.
type Client struct {
	conn
	owner httpmsg.ClientOwner

	// Guarded by mu.
	active   int  // exchanges that were opened and not released
	draining bool // no exchange begins any more
	refused  bool // by the server: GOAWAY came

	ownerMu    sync.Mutex // held while the owner is told
	told       bool       // that the connection drains
	toldClosed bool
}

var _ httpmsg.Client = (*Client)(nil)

// NewClient begins a connection on nc, which it owns. nil options are the defaults.
func NewClient(nc Conn, o *ClientOptions, owner httpmsg.ClientOwner) *Client {
	if o == nil {
		o = &ClientOptions{}
	}
	v := &Client{owner: owner}
	v.init(nc, &o.Options, v, false)
	v.greet()
	go v.serve()
	return v
}

// serve runs the connection; the owner waits for it with Closed.
func (v *Client) serve() {
	v.run(v.tellClosed)
	v.tellClosed(v.why)
}

func (v *Client) tellClosed(why *httpmsg.ResetError) {
	if why == nil {
		why = &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination}
	}
	v.ownerMu.Lock()
	defer v.ownerMu.Unlock()
	if !v.toldClosed {
		v.toldClosed = true
		v.owner.Closed(why)
	}
}

// Protocol implements httpmsg.Client.
func (v *Client) Protocol() httpmsg.Protocol { return httpmsg.HTTP2 }

// Room implements httpmsg.Client.
func (v *Client) Room() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.room()
}

// maxLastID is from where on a connection opens no more streams: identifiers are used up,
// but for what may have been opened and not sent.
const maxLastID = maxStreamID - 1<<24

func (v *Client) room() int {
	if v.ended || v.draining || v.broken != nil || v.lastID > maxLastID {
		return 0
	}
	return max(int(min(v.o.MaxConcurrentStreams, v.peerStreams, 1<<20))-v.active, 0)
}

// Open implements httpmsg.Client.
func (v *Client) Open() httpmsg.Exchange {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.room() == 0 {
		return nil
	}
	v.active++
	return newExchange(v)
}

// Drain implements httpmsg.Client.
func (v *Client) Drain() {
	v.mu.Lock()
	v.draining = true
	idle := v.active == 0
	v.mu.Unlock()
	if idle {
		v.over()
	}
}

func (v *Client) over() {
	v.end(nil, xhttp2.ErrCodeNo, "", false)
	v.interrupt()
}

// Close implements httpmsg.Client.
func (v *Client) Close(why *httpmsg.ResetError) {
	v.end(why, xhttp2.ErrCodeNo, "", false)
	v.interrupt()
}

// released takes an exchange back.
func (v *Client) released(x *exchange) {
	v.mu.Lock()
	if x.listed {
		x.reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset}, xhttp2.ErrCodeInternal)
	}
	x.watch.takeBack()
	x.recycle()
	v.active--
	used := v.lastID > maxLastID && !v.draining
	v.draining = v.draining || used
	last := v.draining && v.active == 0 && !v.ended
	v.mu.Unlock()
	putExchange(x)
	if used {
		v.tellDraining()
	}
	if last {
		v.over()
	}
	v.tellChanged()
}

// target implements side.
func (v *Client) target(b *block) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.streams[b.id]
	switch {
	case s == nil && v.idle(b.id):
		return violation(xhttp2.ErrCodeProtocol, "HEADERS on an idle stream")
	case s == nil && v.closed.how(b.id) == closedUnknown:
		b.discard(nil) // long ago
		return nil
	case s == nil:
		return v.strayHead(b)
	case s.received || s.exchange.ready:
		return b.continued(s)
	}
	b.fill(responseHead, s, &b.own)
	return nil
}

// begins implements side: who waits for the response has limits of its own.
func (v *Client) begins(uint32) {}

// late implements side.
func (v *Client) late(frameHeader) error { return nil }

// head implements side.
func (v *Client) head(b *block) error {
	if b.kind == trailers {
		return v.trailerHead(b)
	}
	status := b.checkResponse()
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.streams[b.id]
	if s == nil || s != b.stream {
		return nil // reset by this side in the meantime
	}
	x := s.exchange
	b.weigh(&s.wire)
	if b.end && b.content > 0 && !x.bodiless(status) {
		b.bad(detailRule, "content-length without content")
	}
	if err := b.refusal(); err != nil {
		return err
	}
	if status < 200 {
		return x.inform(b, status)
	}
	x.respond(b, status)
	return nil
}

// peerGoAway implements side: the server takes no more streams, and none above last.
func (v *Client) peerGoAway(last uint32, code xhttp2.ErrCode, text string) {
	why := &httpmsg.ResetError{Reason: httpmsg.RemoteRefused, Code: uint32(code), Details: detailGoAway}
	if text != "" {
		why.Err = fmt.Errorf("%v: %q", code, text)
	}
	v.mu.Lock()
	v.draining, v.refused = true, true
	var told []*stream
	for id, s := range v.streams {
		if id > last && s.fail(why) {
			told = append(told, s)
		}
	}
	v.slots.Broadcast()
	idle := v.active == 0
	v.mu.Unlock()
	for _, s := range told {
		s.tell(why)
	}
	v.tellDraining()
	if idle {
		v.over()
	}
}

func (v *Client) tellDraining() {
	v.ownerMu.Lock()
	defer v.ownerMu.Unlock()
	if !v.told {
		v.told = true
		v.owner.Draining()
	}
}

// settled implements side.
func (v *Client) settled() {
	v.mu.Lock()
	grown := v.room() > 0
	v.slots.Broadcast()
	v.mu.Unlock()
	if grown {
		v.tellChanged()
	}
}

func (v *Client) tellChanged() {
	v.ownerMu.Lock()
	defer v.ownerMu.Unlock()
	v.owner.Changed()
}

// left implements side.
func (v *Client) left(*stream) { v.slots.Signal() }

// idleTooLong reports whether a PING shall precede a request. It holds mu.
func (v *Client) idleTooLong() bool {
	k := &v.o.Keepalive
	return k.IdleInterval > 0 && !v.pinging && time.Since(time.Unix(0, v.readAt.Load())) >= k.IdleInterval
}
