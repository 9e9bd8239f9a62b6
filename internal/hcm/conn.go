package hcm

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A conn is one connection. It is the handler of its codec.
type conn struct {
	service *service
	filter  *filter.Conn
	wire    wire
	server  httpmsg.Server // fixed once set under mu
	start   time.Time      // fixed; times of a conn and its streams are since then
	peer    string         // the client's IP address as text; "": not asked for yet. Requests' goroutines share it under mu

	idleSince atomic.Int64  // when active became 0
	lastEnd   atomic.Int64  // when the last request ended
	active    atomic.Int32  // requests under way
	requests  atomic.Uint32 // begun so far
	premature premature
	cut       atomic.Uint32 // the side that ended it in the middle of requests
	closes    atomic.Bool   // this side has announced the end
	soft      atomic.Bool   // the request that begins next is the last one

	mu       sync.Mutex
	streams  *stream // those that go on, the newest first
	timer    *time.Timer
	due      time.Duration // when timer fires
	longest  time.Duration // the connection's own maximum duration; 0: none
	parting  time.Duration // when the connection begins to drain for its listener; 0: it need not
	hastens  bool          // it drains for the end of the proxy: no further request is waited for
	draining bool          // the codec has been told to end with the last request
	reason   string        // why this side ends it; "": it does not
	finished bool
	cert     *string // what x-forwarded-client-cert says of the connection; nil: not asked for yet
}

// ServeConn implements filter.ConnHandler.
func (sv *service) ServeConn(fc *filter.Conn) error {
	c := sv.newConn(fc)
	if !fc.Own(c) {
		fc.Stream.Close()
		fc.End()
		return errClosing
	}
	fc.Accept()
	sv.stats.cxTotal.Add(1)
	sv.stats.cxActive.Add(1)
	if c.tls() != nil {
		sv.stats.cxSSL.Add(1)
		sv.stats.cxSSLActive.Add(1)
	}
	c.watch()
	c.finish(c.serve())
	return nil
}

var errClosing = errors.New("the listener is closing")

func (sv *service) newConn(fc *filter.Conn) *conn {
	c := &conn{service: sv, filter: fc, start: fc.Info.Start}
	c.wire.Stream, c.wire.conn, c.wire.awaits = fc.Stream, c, fc.AwaitsData()
	fc.Info.Shown = fc.Info.Shown || len(sv.logs) > 0
	return c
}

// since is the time on the connection's clock.
func (c *conn) since() time.Duration { return time.Since(c.start) }

// serve chooses the codec and has it serve until the connection is over and closed.
func (c *conn) serve() error {
	kind, err := c.choose()
	if err != nil {
		c.filter.Stream.Close()
		return err
	}
	server := c.service.codec(kind, c)
	by := c.service.stats.of(server.Protocol())
	by.cxTotal.Add(1)
	by.cxActive.Add(1)
	defer by.cxActive.Add(-1)
	c.mu.Lock()
	c.server = server
	reason := c.reason
	if c.parting != 0 {
		c.arm(c.parting)
	}
	c.mu.Unlock()
	if reason != "" {
		server.Close(localClose(reason))
	}
	return server.Serve()
}

func localClose(reason string) *httpmsg.ResetError {
	why := &httpmsg.ResetError{Reason: httpmsg.LocalReset, Details: reason}
	if reason == prematureResets {
		why.Code = enhanceYourCalm
	}
	return why
}

// preface is how a client of HTTP/2 begins.
var preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// choose returns the codec of the connection, from its first bytes if it is not
// configured. They are only looked at, so that the codec gets the stream itself.
func (c *conn) choose() (Codec, error) {
	if kind := c.service.config.Codec; kind != Auto {
		return kind, nil
	}
	if t := c.tls(); t != nil && t.Protocol != "" {
		if t.Protocol == "h2" {
			return HTTP2, nil
		}
		return HTTP1, nil
	}
	for n := 1; ; {
		p, err := filter.PeekUntil(c.filter.Stream, n, time.Time{})
		switch {
		case len(p) >= len(preface) && bytes.HasPrefix(p, preface):
			return HTTP2, nil
		case len(p) > 0 && (err == io.EOF || !bytes.HasPrefix(preface, p)):
			return HTTP1, nil // which says what is wrong with a part of a preface
		case err != nil:
			return Auto, err
		}
		n = len(p) + 1
	}
}

// stream is what the codec reads and writes: the stream itself where nothing needs to
// know of its bytes.
func (c *conn) stream() filter.Stream {
	if c.wire.awaits || c.mayBeFull() > 0 {
		return c.wire.outer()
	}
	return c.filter.Stream
}

// finish settles a connection that is closed.
func (c *conn) finish(err error) {
	c.mu.Lock()
	c.finished = true
	c.timer.Stop()
	reason := c.reason
	c.mu.Unlock()
	st, i := c.service.stats, &c.filter.Info
	if c.soft.Load() {
		st.cxSoftDrain.Add(-1)
	}
	if c.server != nil {
		i.Received, i.Sent = c.server.Bytes()
	}
	st.received.Add(i.Received)
	st.sent.Add(i.Sent)
	switch {
	case reason != "":
		i.More().DownReason = reason
	case isReset(err):
		i.DownClose = filter.CloseRemoteReset
	}
	st.destroyed(c.endedBy(err, reason), c.cut.Load() != notCut)
	st.cxActive.Add(-1)
	if c.tls() != nil {
		st.cxSSLActive.Add(-1)
	}
	st.cxLength.Record(uint64(c.since().Milliseconds()))
	c.filter.End()
}

// A side is who ended a connection in the middle of requests.
type side = uint32

const (
	notCut side = iota
	remoteSide
	localSide
)

// endedBy tells which side ended the connection.
func (c *conn) endedBy(err error, reason string) side {
	var why *httpmsg.ResetError
	errors.As(err, &why)
	switch {
	case reason != "":
		return localSide
	case c.cut.Load() != notCut:
		return c.cut.Load()
	case why != nil && (why.Reason == httpmsg.LocalReset || why.Reason == httpmsg.ProtocolError),
		err == nil && c.closes.Load() && c.server.Protocol() == httpmsg.HTTP2:
		return localSide
	}
	return remoteSide
}

// CloseLocal implements filter.Closer.
func (c *conn) CloseLocal(reason string) {
	c.mu.Lock()
	if c.reason == "" {
		c.reason = reason
	}
	server := c.server
	c.mu.Unlock()
	if server != nil {
		server.Close(localClose(reason))
	} else {
		c.filter.Stream.Close()
	}
}

// Drain implements filter.Drainer.
func (c *conn) Drain(within time.Duration) {
	at := c.since()
	if within > 0 {
		at += rand.N(within)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parting == 0 && !c.draining {
		c.parting, c.hastens = max(at, 1), within == 0
		c.arm(c.parting)
	}
}

// mayBeFull is how long the client may let a write wait; 0: as long as it likes.
func (c *conn) mayBeFull() time.Duration {
	if l := c.filter.Info.Listener; l != nil {
		return l.HighWatermarkTimeout
	}
	return 0
}

// Answer implements httpmsg.ServerHandler.
func (c *conn) Answer(r *httpmsg.Request, w httpmsg.Responder) {
	s := c.begin(r, w)
	s.serve(s.answer)
	s.end()
}

// Refuse implements httpmsg.ServerHandler.
func (c *conn) Refuse(r *httpmsg.Request, w httpmsg.Responder, status int, why *httpmsg.ResetError) {
	s := c.begin(r, w)
	if c.server.Protocol() != httpmsg.HTTP2 { // the rest of it never comes
		c.service.stats.rqEarlyResponse.Add(1)
		c.service.stats.rqRxReset.Add(1)
	}
	s.serve(func() (*httpmsg.Response, error) { return s.refuse(status, why), nil })
	s.end()
}

// Active implements httpmsg.ServerHandler.
func (c *conn) Active(n int) {
	if n == 0 {
		c.idleSince.Store(c.lastEnd.Load())
	}
	c.active.Store(int32(n))
}

// closeAfter makes the response that comes next the last one of an HTTP/1 connection.
func (c *conn) closeAfter() {
	if c.server.Protocol() != httpmsg.HTTP2 {
		c.closes.Store(true)
		c.server.Drain(0)
	}
}

// retire drains the connection once: its client shall go elsewhere.
func (c *conn) retire() {
	c.mu.Lock()
	begun := c.draining
	c.mu.Unlock()
	if !begun {
		c.service.stats.cxDrainClose.Add(1)
		c.drain()
	}
}

// drain announces the end of the connection.
func (c *conn) drain() {
	c.mu.Lock()
	begun, hastens := c.draining, c.hastens
	c.draining = true
	c.mu.Unlock()
	if begun {
		return
	}
	c.closes.Store(true)
	grace := c.service.grace()
	if hastens && c.active.Load() > 0 && c.server.Protocol() != httpmsg.HTTP2 {
		grace = 0 // it ends with the response under way
	}
	c.server.Drain(grace)
}
