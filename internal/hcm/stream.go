package hcm

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// A stream is one request and its response. It is used again for others, of other
// connections: what may outlive a stream holds its turn, too.
type stream struct {
	handed filter.HTTPStream // what handlers get
	conn   *conn
	w      httpmsg.Responder
	info   filter.Info
	extra  filter.Extra
	http   filter.HTTPInfo
	body   requestBody

	begun     time.Duration // on the connection's clock
	entered   time.Duration // when this pass through the filters began
	renewed   bool          // it is not the first one
	tunnelled atomic.Bool   // a tunnel is established
	chain     *chain        // that the request has come to; nil: none
	met       int           // how many handlers of the chain
	excused   bool          // the answer tells of what has ended the stream
	table     *route.Table  // that there was when the request first asked; nil: it has not
	route     *route.Route
	looked    bool          // route was looked for
	resolving time.Duration // how long that has taken, if anybody wants to know
	chance    uint64        // 0: not drawn yet
	query     route.Query
	own       httpmsg.Response // of NewResponse; its lines are kept from stream to stream
	text      httpmsg.Bytes    // the body of a reply of our own
	trailer   httpmsg.Header   // of the response; its lines are kept from stream to stream
	routed    string           // the authority that routes go by; "": the request's
	ends      []func()         // of OnEnd
	periodic  periodic
	upgraded  bool // counted among the upgrades
	onReset   func(*httpmsg.ResetError)

	idle, longest atomic.Int64 // limits of this stream; 0: none
	flush         atomic.Int64 // limit for the client to take the end of the response; 0: idle
	flushing      atomic.Bool  // it is being sent
	touched       atomic.Int64 // when bytes moved last
	struckAt      atomic.Int64 // when a limit struck; 0: none has

	prev, next *stream // guarded by conn.mu

	// acting is held while a limit ends the stream, and keeps it in its turn meanwhile.
	// It is taken before mu, and not by what a codec calls.
	acting sync.Mutex

	mu        sync.Mutex
	turn      uint64 // counts the requests that this stream has been
	over      bool
	committed bool // the head of the response is being sent
	struck    *limit
	gone      *httpmsg.ResetError // the client went away, or reset the stream
	watched   bool                // w has been asked to tell that
	hook      func(*httpmsg.ResetError)
}

func newStream() *stream {
	s := &stream{over: true}
	s.onReset = s.clientReset
	s.handed.HTTPHost, s.handed.Info = s, &s.info
	s.body.stream = s
	return s
}

// begin makes a stream for a request.
func (c *conn) begin(r *httpmsg.Request, w httpmsg.Responder) *stream {
	sv := c.service
	s := sv.streams.Get().(*stream)
	s.conn, s.w, s.handed.Request = c, w, r
	s.inherit(r, time.Now())
	s.body.begin(r)
	set(&s.flushing, false)
	setInt(&s.struckAt, 0)
	set(&s.tunnelled, false)
	s.renewed = false
	s.mu.Lock()
	s.turn++
	s.over, s.committed, s.watched, s.struck, s.gone = false, false, false, nil, nil
	s.mu.Unlock()
	s.enter(s.begun)
	return s
}

// enter begins a pass through the filters, and its limits.
func (s *stream) enter(now time.Duration) {
	c, sv := s.conn, s.conn.service
	l := &sv.config.Limits
	setInt(&s.idle, int64(l.streamIdle))
	setInt(&s.longest, int64(l.stream))
	setInt(&s.flush, int64(l.flush))
	s.touched.Store(int64(now))
	s.entered = now
	s.beginPeriodic()
	sv.stats.rqTotal.Add(1)
	sv.stats.rqActive.Add(1)
	sv.stats.of(c.server.Protocol()).rqTotal.Add(1)
	c.enter(s)
}

func (c *conn) enter(s *stream) {
	_, at := s.earliest()
	at = min(at, s.nextEntry())
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.next = c.streams; s.next != nil {
		s.next.prev = s
	}
	c.streams = s
	c.arm(at)
}

func (c *conn) leave(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.next != nil {
		s.next.prev = s.prev
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		c.streams = s.next
	}
	s.prev, s.next = nil, nil
}

// inherit fills the Info of the request, which is empty, from that of its connection.
func (s *stream) inherit(r *httpmsg.Request, start time.Time) {
	from, i := &s.conn.filter.Info, &s.info
	i.Start = start
	s.begun = i.Start.Sub(s.conn.start)
	i.ID, i.ChainID, i.Parent, i.Depth = from.ID, from.ChainID, from.Parent, from.Depth
	i.Listener, i.Chain, i.Local, i.Remote, i.Shown = from.Listener, from.Chain, from.Local, from.Remote, from.Shown
	i.Extra, s.extra.HTTP = &s.extra, &s.http
	if x := from.Extra; x != nil {
		s.extra.DirectLocal, s.extra.DirectRemote, s.extra.Inspected = x.DirectLocal, x.DirectRemote, x.Inspected
		s.extra.Source = x.Source
	}
	s.http.Conn, s.http.Protocol, s.http.Request = from, r.Protocol, r
	if r.Protocol == 0 { // the codec did not get so far
		s.http.Protocol = s.conn.server.Protocol()
	}
	if len(from.State.Entries()) > 0 {
		i.State = *from.State.Child()
	}
	if len(from.Metadata) > 0 {
		i.MergeMetadata(from.Metadata)
	}
}

// serve has the request answered, sends the response, and tells who waits for the end.
func (s *stream) serve(answer func() (*httpmsg.Response, error)) {
	resp, err := s.guarded(answer)
	for err == errAgain {
		s.renew()
		resp, err = s.guarded(answer)
	}
	s.http.RequestDone = s.body.doneAt()
	whole := false
	if !s.safely(func() { whole = s.send(resp, err) }) { // in a body that a filter has wrapped
		s.w.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset, Code: internalError})
		whole = false
	}
	s.finish(whole)
}

// guarded keeps a panic of a filter to its stream.
func (s *stream) guarded(answer func() (*httpmsg.Response, error)) (resp *httpmsg.Response, err error) {
	if !s.safely(func() {
		if resp, err = answer(); err == nil {
			s.looked = true // nobody looks for a route any more
			s.unmet(resp)
		}
	}) {
		s.Resume()
		resp, err = s.Reply(filter.LocalReply{Status: 500, Details: "filter_panic"}), nil
	}
	return resp, err
}

// safely calls f and reports whether it has returned; a panic is counted and logged.
func (s *stream) safely(f func()) (returned bool) {
	defer func() {
		if p := recover(); p != nil {
			s.conn.service.stats.rqPanic.Add(1)
			if log := s.conn.service.env.Log; log != nil {
				log.Error("a filter panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
		}
	}()
	f()
	return true
}

// finish ends what is left of the exchange; whole tells that the response was sent in
// order.
func (s *stream) finish(whole bool) {
	st := s.conn.service.stats
	complete := s.body.done.Load()
	if whole && !complete && !s.tunnel() {
		if complete = s.body.drain(); !complete {
			st.rqRxReset.Add(1) // as Envoy resets the stream for itself
		}
	}
	if !complete && !(whole && s.tunnel()) {
		s.w.StopRequest(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	}
	s.runEnds()
	if whole && s.tunnel() && !s.body.done.Load() {
		s.w.StopRequest(&httpmsg.ResetError{Reason: httpmsg.LocalReset}) // what was sent must arrive
	}
}

// runEnds tells who waits for the end.
func (s *stream) runEnds() {
	for i := len(s.ends) - 1; i >= 0; i-- {
		s.safely(s.ends[i])
	}
	clear(s.ends)
	s.ends = s.ends[:0]
}

// tunnel reports whether the bytes of the response were a tunnel's: those of a POST may
// be, too, where the router ends it.
func (s *stream) tunnel() bool {
	r := s.handed.Request
	return s.tunnelled.Load() || r.Tunnel() && (s.http.Code == 101 || r.Connect() && s.http.Code/100 == 2)
}

// end writes the log entry and gives the stream back.
func (s *stream) end() {
	s.acting.Lock()
	s.mu.Lock()
	s.over = true // from here on nobody else writes
	s.hook = nil
	watched := s.watched
	s.mu.Unlock()
	s.acting.Unlock()
	if watched {
		s.w.OnReset(nil)
	}
	s.conn.leave(s)
	s.settle()
	s.log(filter.DownstreamEnd)
	s.endPeriodic()
	s.release()
}

// nameCluster tells where a request was bound for that was answered before it got there.
func (s *stream) nameCluster() {
	clusters := s.conn.service.env.Clusters
	if s.info.Up.ClusterInfo != nil || s.route == nil || clusters == nil {
		return
	}
	if name, ok := s.route.ForwardsTo(s.handed.Request); ok {
		if c, ok := clusters.Cluster(name); ok {
			if c, ok := c.(filter.HTTPCluster); ok {
				s.info.Up.ClusterInfo = c.Info()
			}
		}
	}
}

// settle completes the Info and the statistics.
func (s *stream) settle() {
	s.nameCluster()
	s.conn.lastEnd.Store(int64(s.measure()))
	s.settleReset()
	s.conn.judge(s.info.Duration, s.http.Code != 0)
}

// measure completes what a pass of the request says and counts, and returns its end.
func (s *stream) measure() (end time.Duration) {
	st, end := s.conn.service.stats, s.conn.since()
	s.info.Duration = max(end-s.begun, 1)
	s.info.Received = s.body.received.Load()
	s.http.RequestDone, s.http.RequestTrailer = s.body.doneAt(), s.body.trailers()
	if w, ok := s.w.(httpmsg.Metered); ok {
		s.http.DownWire = w.Wire()
	}
	st.rqActive.Add(-1)
	st.rqTime.Record(uint64((end - s.entered).Milliseconds()))
	if n := s.http.RouteLookups; n > 0 && st.rqResolving != nil {
		st.rqResolving.Record(uint64(s.resolving.Microseconds()))
		st.rqResolutions.Record(uint64(n))
	}
	if s.upgraded {
		st.cxUpgradesActive.Add(-1)
	}
	return end
}

// settleReset notes how a stream ended that did not end in order.
func (s *stream) settleReset() {
	if s.gone == nil {
		return
	}
	s.conn.service.stats.rqRxReset.Add(1)
	i, x := &s.info, &s.extra
	switch e := s.gone; e.Reason {
	case httpmsg.RemoteReset, httpmsg.RemoteRefused:
		if e.Code == 0 {
			return // NO_ERROR: the client has all that it wants
		}
		i.Raise(filter.DownstreamRemoteReset)
		x.Details = "http2.remote_reset"
	case httpmsg.ProtocolError:
		i.Raise(filter.DownstreamProtocolError)
		x.Details = e.Details
	case httpmsg.LocalReset:
		s.conn.cut.Store(localSide)
		i.Raise(filter.DownstreamConnectionTermination)
		x.Details = "downstream_local_disconnect"
		switch e.Details {
		case "":
		case prematureResets:
			x.Details = e.Details
		default:
			x.Details += "(" + e.Details + ")"
		}
	default:
		s.conn.cut.Store(remoteSide)
		i.Raise(filter.DownstreamConnectionTermination)
		x.Details = "downstream_remote_disconnect"
	}
}

// release forgets everything of the request and gives the stream back.
func (s *stream) release() {
	sv := s.conn.service
	s.forgetPass()
	clear(s.trailer)
	s.body.end()
	s.handed.Request, s.query = nil, route.Query{}
	s.w, s.conn = nil, nil
	sv.streams.Put(s)
}

// forgetPass forgets what belongs to one pass through the filters.
func (s *stream) forgetPass() {
	s.forgetResponse()
	s.table, s.route, s.routed, s.looked, s.chance, s.upgraded = nil, nil, "", false, 0, false
	s.chain, s.met, s.excused, s.resolving = nil, 0, false, 0
	s.info, s.extra, s.http = filter.Info{}, filter.Extra{}, filter.HTTPInfo{}
}

// touch tells that bytes have moved.
func (s *stream) touch() { s.touched.Store(int64(s.conn.since())) }

// OnReset implements filter.HTTPHost.
func (s *stream) OnReset(f func(*httpmsg.ResetError)) {
	s.mu.Lock()
	s.hook = f
	ask := f != nil && !s.watched
	s.watched = s.watched || ask
	why := s.resetWhy()
	s.mu.Unlock()
	switch {
	case f == nil:
	case why != nil:
		f(why)
	case ask:
		s.w.OnReset(s.onReset)
	}
}

// resetWhy is why the stream is over for its handlers; nil: it is not. The caller holds
// mu.
func (s *stream) resetWhy() *httpmsg.ResetError {
	if s.struck != nil {
		return s.struck.reset()
	}
	return s.gone
}

// clientReset is what the codec calls.
func (s *stream) clientReset(why *httpmsg.ResetError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.gone != nil {
		return
	}
	s.gone = why
	if s.hook != nil {
		s.hook(why)
	}
}

// failed notes why sending to the client failed.
func (s *stream) failed(err error) {
	var why *httpmsg.ResetError
	if !errors.As(err, &why) {
		why = &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination, Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone == nil && s.struck == nil {
		s.gone = why
	}
}

// OnEnd implements filter.HTTPHost.
func (s *stream) OnEnd(f func()) { s.ends = append(s.ends, f) }

// Route implements filter.HTTPHost.
func (s *stream) Route() filter.HTTPRoute {
	if r := s.find(); r != nil {
		return r
	}
	return nil
}

// ClearRoute implements filter.HTTPHost.
func (s *stream) ClearRoute() { s.route, s.looked, s.http.Route = nil, false, nil }
