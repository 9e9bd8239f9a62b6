package router

import (
	"context"
	"io"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// mirror sends copies of the request to where the route wants them. Nothing of that holds
// up the request itself: a mirror that is too slow loses its copy.
func (x *call) mirror() {
	s := x.stream
	if len(x.policies.Mirrors) == 0 || s.Request.Connect() {
		return
	}
	for i := range x.policies.Mirrors {
		p := &x.policies.Mirrors[i]
		if !p.Fraction.Hit(rand.Uint64(), x.router.env.Runtime) {
			continue
		}
		c, ok := x.router.env.Clusters.Cluster(p.ClusterOf(s.Request))
		cluster, http := c.(filter.HTTPCluster)
		if !ok || !http {
			continue
		}
		m := x.reflection(p, cluster)
		if s.Request.Body != nil {
			if x.tee == nil {
				x.tee = &tee{Body: s.Request.Body}
				s.Request.Body = x.tee
			}
			m.body = x.tee.feed(x.room(), x.stats)
		}
		if x.router.background(m.run) {
			x.mirrors = append(x.mirrors, m)
		} else {
			m.end()
		}
	}
}

// background runs f beside the stream.
func (r *Router) background(f func(context.Context)) bool {
	if run := r.env.Background; run != nil {
		return run(f)
	}
	go f(context.Background())
	return true
}

// orphanTime is how long the mirror of a request that has no timeout may go on after it.
const orphanTime = 5 * time.Minute

// A reflection is one copy of a request, which lives by itself: nobody waits for it, and
// its time limit ends it, or the end of the proxy.
type reflection struct {
	cluster filter.HTTPCluster
	request httpmsg.Request
	info    *filter.Info
	ask     filter.StreamRequest
	limit   time.Duration // 0: orphanTime after the request
	body    *feed         // nil: none
	stats   *clusterStats // nil: nothing is counted
	cancel  chan struct{} // closed when over

	mu    sync.Mutex
	over  bool
	up    filter.UpstreamStream // nil: not yet, or not any more
	timer *time.Timer           // of orphanTime; nil: the request goes on, or there is a limit
}

// reflection copies what is needed of the call, for the stream ends on its own.
func (x *call) reflection(p *route.MirrorPolicy, c filter.HTTPCluster) *reflection {
	s := x.stream
	m := &reflection{cluster: c, request: *s.Request, limit: x.limits.route, cancel: make(chan struct{})}
	if d := c.Info().MaxStreamDuration; d > 0 && (m.limit == 0 || d < m.limit) {
		m.limit = d
	}
	if !x.router.config.NoStatistics {
		m.stats = x.router.statsOf(c)
	}
	m.request.Header = s.Request.Header.Clone()
	m.request.Body = nil
	p.Prepare(&m.request, s.Info)
	m.request.Header.Set("x-envoy-internal", "true")
	x.router.forwards(&m.request.Header)
	m.info = &filter.Info{
		ID: s.Info.ID, ChainID: s.Info.ChainID, Listener: s.Info.Listener, Start: time.Now(),
		Local: s.Info.Local, Remote: s.Info.Remote, Depth: s.Info.Depth, Metadata: maps.Clone(s.Info.Metadata),
	}
	m.info.More().HTTP = &filter.HTTPInfo{Protocol: s.Info.HTTP().Protocol, Request: &m.request}
	for _, e := range s.Info.State.Shared() {
		m.info.State.Set(e)
	}
	m.ask = filter.StreamRequest{
		Info: m.info, Protocol: s.Info.HTTP().Protocol, High: x.action.High,
		Match: x.action.Subset, Route: x.route.Metadata(),
		Waiting: func() <-chan struct{} { return m.cancel },
	}
	if own := policiesOf(c); own != nil && c.Info().Hashing { // the route's are not for it (Envoy)
		if h, _, ok := own.Hash(&m.request, m.info); ok {
			m.ask.Hash = &h
		}
	}
	return m
}

// forwards tells the mirror that this proxy is who asks: by the machine's address, as
// Envoy does.
func (r *Router) forwards(h *httpmsg.Header) {
	if r.env.Local.Address == nil {
		return
	}
	via := r.env.Local.Address()
	if before, ok := h.Joined("x-forwarded-for"); ok && before != "" {
		via = before + "," + via
	}
	h.Set("x-forwarded-for", via)
}

// run exchanges the copy and drops the response.
func (m *reflection) run(ctx context.Context) {
	if m.limit > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, m.limit)
		defer stop()
	}
	defer context.AfterFunc(ctx, m.end)()
	defer m.end() // and nothing of it is left
	if m.refused() {
		return
	}
	up, err := m.cluster.Open(&m.ask)
	if err != nil {
		return
	}
	m.mu.Lock()
	if m.up = up; m.over {
		up.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	}
	m.mu.Unlock()
	m.exchange(up)
	m.mu.Lock()
	m.up = nil
	m.mu.Unlock()
	up.Release()
}

// end ends it wherever it is.
func (m *reflection) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return
	}
	m.over = true
	close(m.cancel)
	if m.timer != nil {
		m.timer.Stop()
	}
	if m.up != nil {
		m.up.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	}
	m.give()
}

// orphan tells that the request is over.
func (m *reflection) orphan() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.over && m.limit == 0 {
		m.timer = time.AfterFunc(orphanTime, m.end)
	}
}

// give tells that no bytes are wanted.
func (m *reflection) give() {
	if m.body != nil {
		m.body.end(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	}
}

func (m *reflection) exchange(up filter.UpstreamStream) {
	if err := up.WriteRequest(&m.request, m.body == nil); err != nil {
		return
	}
	var sending sync.WaitGroup
	if m.body == nil {
		if up.Flush() != nil {
			return
		}
	} else {
		sending.Go(func() {
			if _, read, err := httpmsg.Copy(up, m.body); err != nil && read {
				up.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
			}
		})
	}
	defer sending.Wait()
	defer m.give()
	begun := time.Now()
	status, why := drop(up)
	up.Outcome(status, why)
	if m.stats != nil && status != 0 {
		m.count(status)
		for _, t := range m.trees() {
			t.record(time.Since(begun))
		}
	}
}

// trees are where responses to the copy count.
func (m *reflection) trees() [2]*responses { return [...]*responses{m.stats.all, m.stats.internal} }

func (m *reflection) count(status int) {
	for _, t := range m.trees() {
		t.count(status, false)
	}
}

// drop reads a response to its end.
func drop(up filter.UpstreamStream) (int, *httpmsg.ResetError) {
	for {
		r, err := up.ReadResponse()
		if err != nil {
			why, _ := err.(*httpmsg.ResetError)
			return 0, why
		}
		if r.Informational() {
			continue
		}
		for b := r.Body; b != nil; {
			if _, err := b.Next(); err != nil {
				break
			}
		}
		return r.Status, nil
	}
}

// A tee is the body of a request that others get, too.
type tee struct {
	httpmsg.Body
	feeds []*feed
}

// feed adds one of the others; limit is how many bytes may wait for it, 0: any number.
func (t *tee) feed(limit int, stats *clusterStats) *feed {
	f := &feed{limit: limit, stats: stats}
	f.more.L = &f.mu
	t.feeds = append(t.feeds, f)
	return f
}

// end tells the others that nothing comes any more.
func (t *tee) end() {
	for _, f := range t.feeds {
		f.end(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	}
}

// Next implements httpmsg.Body.
func (t *tee) Next() ([]byte, error) {
	p, err := t.Body.Next()
	for _, f := range t.feeds {
		f.add(p, t.Body, err)
	}
	return p, err
}

// A feed is a body that another one brings.
type feed struct {
	limit int // most bytes that wait; 0: any number
	stats *clusterStats

	mu      sync.Mutex
	more    sync.Cond
	waits   []byte // what has come
	gives   []byte // what was given last, used again
	err     error  // what follows
	trailer httpmsg.Header
}

// add brings a piece; err is what comes after it.
func (f *feed) add(p []byte, from httpmsg.Body, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.err != nil:
		return
	case f.limit > 0 && len(f.waits)+len(p) > f.limit:
		f.stats.abandoned.Add(1)
		f.waits, f.err = nil, &httpmsg.ResetError{Reason: httpmsg.LocalReset}
	default:
		f.waits = append(f.waits, p...)
		f.err = err
		if err == io.EOF {
			f.trailer = from.Trailer().Clone() // a mirror may outlive the request
		}
	}
	f.more.Signal()
}

// end lets nothing come any more.
func (f *feed) end(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = why
	}
	f.more.Signal()
}

// Next implements httpmsg.Body.
func (f *feed) Next() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.waits) == 0 && f.err == nil {
		f.more.Wait()
	}
	if f.err != nil && f.err != io.EOF {
		return nil, f.err
	}
	f.waits, f.gives = f.gives[:0], f.waits
	return f.gives, f.err
}

// Ready implements httpmsg.Body.
func (f *feed) Ready() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.waits) > 0 || f.err != nil
}

// Trailer implements httpmsg.Body.
func (f *feed) Trailer() httpmsg.Header { return f.trailer }
