// Package health asks hosts whether they are well: active health checks over HTTP, TCP
// and gRPC, of hosts on the network and in the process alike.
package health

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/eventlog"
	"github.com/ginnel/ginnel/internal/http1"
	"github.com/ginnel/ginnel/internal/http2"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Checker checks the hosts of one cluster.
type Checker struct {
	opts  Options
	stats *stats
	ctx   context.Context // ends with the checker
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu     sync.Mutex
	closed bool
	idle   map[*Host]bool // hosts that count, and are not checked yet

	left    atomic.Int64  // hosts that have no result yet
	checked chan struct{} // closed when there is none left
}

// Options of a Checker.
type Options struct {
	Plan    *plan.HealthCheck
	Cluster string       // its name, which requests go to
	Stats   filter.Scope // cluster.<name>.
	// Used reports whether the cluster has ever had a connection: before that, hosts are
	// asked less often.
	Used func() bool
	// Changed is called when the health of a host has changed; no lock is held.
	Changed func()
	HTTP1   *http1.ClientOptions // nil: defaults
	HTTP2   *http2.ClientOptions // nil: defaults
	Events  *eventlog.Log        // nil: nobody wants to know
}

// A Target is a host to be checked.
type Target struct {
	// Dial connects to it. The stream is the checker's. It ends with ctx.
	Dial     func(ctx context.Context) (filter.Stream, error)
	Hostname string // for requests; "": as the plan says
	Passed   func() // is called with each check that the host passes; nil: nobody

	// What events say of it.
	Addr     net.Addr
	Metadata *corev3.Metadata // nil: nothing
	Locality *corev3.Locality // nil: none
}

// New returns a checker without hosts.
func New(o Options) *Checker {
	c := &Checker{opts: o, stats: newStats(o.Stats.Scope("health_check.")), checked: make(chan struct{})}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

// Watch adds a host, which counts as unhealthy until it is found well. It is checked from
// Start or Begin on, until Close.
func (c *Checker) Watch(t Target) *Host {
	h := &Host{checker: c, target: t, fresh: true}
	h.ctx, h.end = context.WithCancel(c.ctx)
	h.failed.Store(true)
	h.pending.Store(c.opts.Plan.ExcludeNew)
	return h
}

// Start begins to check hosts; it is called once.
func (c *Checker) Start(hosts []*Host) {
	c.left.Store(int64(len(hosts)))
	if len(hosts) == 0 {
		close(c.checked)
	}
	for _, h := range hosts {
		first := sync.OnceFunc(c.oneChecked)
		if h.known() {
			first()
		}
		c.begin(h, first)
	}
}

// Begin begins to check a host that came after Start.
func (c *Checker) Begin(h *Host) { c.begin(h, func() {}) }

// begin checks a host from now on; checked is called when that has happened for the first
// time, or cannot happen any more.
func (c *Checker) begin(h *Host, checked func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		checked()
		return
	}
	delete(c.idle, h)
	c.tasks.Go(func() { h.run(checked) })
}

// continues notes a host that counts before it is checked.
func (c *Checker) continues(h *Host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle == nil {
		c.idle = make(map[*Host]bool)
	}
	c.idle[h] = true
}

// forget reports whether the host counted and was not checked yet.
func (c *Checker) forget(h *Host) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.idle[h]
	delete(c.idle, h)
	return was
}

// Checked is closed when each host of which nothing was known has been checked once after
// Start, or the checker was closed then.
func (c *Checker) Checked() <-chan struct{} { return c.checked }

// oneChecked counts a host that has been.
func (c *Checker) oneChecked() {
	if c.left.Add(-1) == 0 {
		close(c.checked)
	}
}

// Close ends all checks.
func (c *Checker) Close() {
	c.mu.Lock()
	c.closed = true
	idle := c.idle
	c.idle = nil
	c.mu.Unlock()
	c.end()
	for h := range idle {
		h.leave()
	}
	c.tasks.Wait()
}

// sleep reports false when the host is checked no more.
func (h *Host) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-h.ctx.Done():
		return false
	}
}

type stats struct {
	attempt, success, failure, passive, network filter.Counter
	healthy, degraded                           filter.Gauge
}

func newStats(s filter.Scope) *stats {
	s.Counter("verify_cluster")
	return &stats{
		attempt: s.Counter("attempt"), success: s.Counter("success"), failure: s.Counter("failure"),
		passive: s.Counter("passive_failure"), network: s.Counter("network_failure"),
		healthy: s.Gauge("healthy"), degraded: s.Gauge("degraded"),
	}
}
