package router

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A cluster answers each try by the next of its scripts.
type cluster struct {
	world   *world
	info    filter.ClusterInfo
	stats   filter.Scope
	refuses filter.Refusal
	retries int  // under way
	full    bool // no retry is allowed
	dial    func(r *filter.ConnectRequest) error

	mu      sync.Mutex
	scripts []script
	opened  []*upstream
	asked   []filter.StreamRequest
}

// A script is what a host does with a request: events, or an error of Open.
type script struct {
	err    error
	after  time.Duration // until the connection is there
	events []event
	stuck  bool // takes no byte of a body
	host   *filter.Host
	tls    *filter.TLS // of the connection; nil: there is none
}

// An event is one thing that comes from a host.
type event struct {
	after   time.Duration
	head    *httpmsg.Response
	data    string
	end     bool
	trailer httpmsg.Header
	err     *httpmsg.ResetError
	request bool // waits for the end of the request first
}

// status is a head, and the end.
func status(code int, header ...string) event {
	return event{head: head(code, header...), end: true}
}

// opens is a head with a body behind it.
func opens(code int, header ...string) event { return event{head: head(code, header...)} }

func head(code int, header ...string) *httpmsg.Response {
	r := &httpmsg.Response{Status: code}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func data(s string) event { return event{data: s} }
func last(s string) event { return event{data: s, end: true} }

func later(d time.Duration, e event) event {
	e.after = d
	return e
}

func reset(r httpmsg.Reason) event                        { return event{err: &httpmsg.ResetError{Reason: r}} }
func (c *cluster) then(events ...event)                   { c.scripts = append(c.scripts, script{events: events}) }
func (c *cluster) Name() string                           { return c.info.Name }
func (c *cluster) AttemptsExceeded()                      {}
func (c *cluster) Info() *filter.ClusterInfo              { return &c.info }
func (c *cluster) Stats() filter.Scope                    { return c.stats }
func (c *cluster) Refuses() filter.Refusal                { return c.refuses }
func (c *cluster) Connect(r *filter.ConnectRequest) error { return c.dial(r) }

func (c *cluster) Retry(bool) (func(), bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full {
		return nil, false
	}
	c.retries++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.retries--
	}, true
}

func (c *cluster) Open(r *filter.StreamRequest) (filter.UpstreamStream, error) {
	c.mu.Lock()
	n := len(c.asked)
	c.asked = append(c.asked, *r)
	s := script{err: filter.ErrNoHost}
	if n < len(c.scripts) {
		s = c.scripts[n]
	}
	c.mu.Unlock()
	if s.after > 0 {
		select {
		case <-time.After(s.after):
		case <-r.Waiting():
			return nil, filter.ErrCanceled
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	h := s.host
	if h == nil {
		h = &filter.Host{Cluster: c.info.Name, Addr: filter.IPAddr{AddrPort: netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", 1000+n))}}
	}
	r.Info.Up.Host, r.Info.Up.ClusterInfo = h, &c.info
	r.Info.UpAttempts++
	r.Info.More().UpTLS = s.tls
	u := &upstream{script: s, host: h, gone: make(chan struct{}), done: make(chan struct{}), out: make(chan struct{})}
	c.mu.Lock()
	c.opened = append(c.opened, u)
	c.mu.Unlock()
	return u, nil
}

// sent is how many bytes of a body the host of a try has.
func (c *cluster) sent(try int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.opened[try]
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.body)
}

// released reports a stream that was not given back, or that was more than once.
func (c *cluster) released() {
	c.world.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, u := range c.opened {
		if u.released != 1 {
			c.world.t.Errorf("stream %d was released %d times", i+1, u.released)
		}
	}
	if c.retries != 0 {
		c.world.t.Errorf("%d retries are still counted", c.retries)
	}
}
