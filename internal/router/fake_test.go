package router

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// A world is what stands around a router: routes, clusters, statistics.
type world struct {
	t        testing.TB
	handler  filter.HTTPHandler
	table    *route.Table
	counts   *counts
	clusters map[string]*cluster
	c        *cluster       // the one called c
	only     filter.Cluster // in place of all; nil: there is none
}

// newWorld makes a router with the routes of a virtual host, as JSON.
func newWorld(t testing.TB, config *Config, routes string) *world {
	return newHost(t, config, `"routes": [`+routes+`]`)
}

// newHost makes a router with a virtual host, as JSON without its name and domain.
func newHost(t testing.TB, config *Config, host string) *world {
	t.Helper()
	m := &routev3.RouteConfiguration{}
	text := `{"name": "r", "virtualHosts": [{"name": "v", "domains": ["*"], ` + host + `}]}`
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	var report extension.Report
	table, ok := route.Compile(extension.NewScope(&report, &extension.Registry{}, unpackAny), m, route.Options{})
	if !ok {
		t.Fatalf("%+v", report.Issues)
	}
	w := &world{t: t, table: table, counts: &counts{of: make(map[string]*number)}}
	w.c = w.cluster("c")
	w.clusters = map[string]*cluster{"c": w.c}
	env := &filter.HTTPEnv{
		Env: &filter.Env{
			Stats: w.counts, Clusters: w, Log: slog.New(slog.DiscardHandler), Runtime: noRuntime{},
			Listener: &filter.ListenerInfo{BufferBytes: 1 << 20},
		},
		HTTP: w.counts.Scope("http.p."),
	}
	h, err := config.NewHTTPHandler(env)
	if err != nil {
		t.Fatal(err)
	}
	w.handler = h
	return w
}

func (w *world) cluster(name string) *cluster {
	return &cluster{world: w, info: filter.ClusterInfo{Name: name}, stats: w.counts.Scope("cluster." + name + ".")}
}

// Cluster implements filter.Clusters.
func (w *world) Cluster(name string) (filter.Cluster, bool) {
	if w.only != nil {
		return w.only, true
	}
	c, ok := w.clusters[name]
	return c, ok
}

type noRuntime struct{}

func (noRuntime) Enabled(_ string, n uint32) bool  { return n >= 1_000_000 }
func (noRuntime) Uint(_ string, def uint64) uint64 { return def }

// counts are statistics by their whole names.
type counts struct {
	prefix string
	root   *counts // nil: itself

	mu sync.Mutex
	of map[string]*number
}

type number struct{ n int64 }

func (c *counts) top() *counts {
	if c.root != nil {
		return c.root
	}
	return c
}

func (c *counts) get(name string) *count {
	return &count{c.top(), c.prefix + name}
}

// value returns what a statistic has come to; a histogram counts its records.
func (c *counts) value(name string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.of[name]; n != nil {
		return n.n
	}
	return 0
}

func (c *counts) Scope(p string) filter.Scope         { return &counts{prefix: c.prefix + p, root: c.top()} }
func (c *counts) Counter(n string) filter.Counter     { return counter{c.get(n)} }
func (c *counts) Gauge(n string) filter.Gauge         { return c.get(n) }
func (c *counts) Histogram(n string) filter.Histogram { return c.get(n) }
func (c *counts) Close()                              {}

type count struct {
	in   *counts
	name string
}

func (c *count) Add(n int64) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if c.in.of[c.name] == nil {
		c.in.of[c.name] = new(number)
	}
	c.in.of[c.name].n += n
}

func (c *count) Record(uint64) { c.Add(1) }

type counter struct{ *count }

func (c counter) Add(n uint64) { c.count.Add(int64(n)) }

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
func reset(r httpmsg.Reason) event { return event{err: &httpmsg.ResetError{Reason: r}} }

func (c *cluster) then(events ...event) { c.scripts = append(c.scripts, script{events: events}) }

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

// An upstream is a stream to a host that follows a script.
type upstream struct {
	script script
	host   *filter.Host
	gone   chan struct{} // closed by Reset
	done   chan struct{} // closed when the request is complete
	out    chan struct{} // closed when something was sent

	mu       sync.Mutex
	request  *httpmsg.Request // as it was sent
	body     []byte
	trailer  httpmsg.Header // of the request
	why      *httpmsg.ResetError
	complete bool
	flushed  sync.Once
	released int
	outcome  string
	got      httpmsg.Header // trailers of the response
	watch    func(*httpmsg.ResetError)
}

// OnReset implements httpmsg.Watched.
func (u *upstream) OnReset(f func(*httpmsg.ResetError)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.released > 0 {
		panic("watched after its release")
	}
	u.watch = f
}

// leave is the host that resets the exchange while nobody is about to find out.
func (u *upstream) leave() {
	u.mu.Lock()
	f := u.watch
	u.mu.Unlock()
	if f != nil {
		f(&httpmsg.ResetError{Reason: httpmsg.RemoteReset})
	}
}

func (u *upstream) WriteRequest(r *httpmsg.Request, end bool) error {
	if err := u.failed(); err != nil {
		return err
	}
	u.mu.Lock()
	c := *r
	c.Header = r.Header.Clone()
	u.request = &c
	u.mu.Unlock()
	if end {
		u.finish()
	}
	return nil
}

func (u *upstream) finish() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.complete {
		u.complete = true
		close(u.done)
		u.flushed.Do(func() { close(u.out) })
	}
}

func (u *upstream) failed() error {
	select {
	case <-u.gone:
		return u.why
	default:
		return nil
	}
}

func (u *upstream) WriteData(p []byte, end bool) error {
	if u.script.stuck {
		<-u.gone
	}
	if err := u.failed(); err != nil {
		return err
	}
	u.mu.Lock()
	if u.released > 0 {
		panic("written to after its release")
	}
	u.body = append(u.body, p...)
	u.mu.Unlock()
	if end {
		u.finish()
	}
	return nil
}

func (u *upstream) WriteTrailer(h httpmsg.Header) error {
	u.mu.Lock()
	u.trailer = h.Clone()
	u.mu.Unlock()
	u.finish()
	return u.failed()
}

func (u *upstream) Flush() error {
	u.flushed.Do(func() { close(u.out) })
	return u.failed()
}

func (u *upstream) Reset(why *httpmsg.ResetError) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.released > 0 {
		panic("reset after its release")
	}
	if u.why == nil {
		u.why = why
		close(u.gone)
	}
}

// next waits for the next event.
func (u *upstream) next() (event, error) {
	if len(u.script.events) == 0 {
		<-u.gone
		return event{}, u.why
	}
	e := u.script.events[0]
	select {
	case <-u.out: // what was not sent is not answered
	case <-u.gone:
		return event{}, u.why
	}
	if e.request {
		select {
		case <-u.done:
		case <-u.gone:
			return event{}, u.why
		}
	}
	if e.after > 0 {
		select {
		case <-time.After(e.after):
		case <-u.gone:
			return event{}, u.why
		}
	}
	u.script.events = u.script.events[1:]
	if e.err != nil {
		return event{}, e.err
	}
	return e, nil
}

func (u *upstream) ReadResponse() (*httpmsg.Response, error) {
	e, err := u.next()
	if err != nil {
		return nil, err
	}
	r := *e.head
	r.Header = r.Header.Clone()
	if !e.end && !r.Informational() {
		r.Body = u
	}
	return &r, nil
}

func (u *upstream) Next() ([]byte, error) {
	e, err := u.next()
	switch {
	case err != nil:
		return nil, err
	case e.end:
		u.got = e.trailer
		return []byte(e.data), io.EOF
	}
	return []byte(e.data), nil
}

func (u *upstream) Ready() bool             { return false }
func (u *upstream) Trailer() httpmsg.Header { return u.got }

func (u *upstream) Release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.released++
}

func (u *upstream) Host() *filter.Host         { return u.host }
func (u *upstream) Protocol() httpmsg.Protocol { return httpmsg.HTTP11 }
func (u *upstream) Wire() filter.HTTPBytes     { return filter.HTTPBytes{} }
func (u *upstream) Outcome(status int, why *httpmsg.ResetError) {
	u.outcome = fmt.Sprint(status)
	if why != nil {
		u.outcome = why.Reason.String()
	}
}

// A client is a stream's host: it does what a connection manager would.
type client struct {
	world    *world
	stream   *filter.HTTPStream
	response httpmsg.Response
	informed []int
	upgraded bool
	cleared  bool
	found    *route.Route
	ends     []func()
	body     *clientBody

	mu   sync.Mutex
	hook func(*httpmsg.ResetError)
	gone *httpmsg.ResetError
}

func (w *world) client(r *httpmsg.Request) *client {
	c := &client{world: w}
	if r.Authority == "" {
		r.Authority = "h"
	}
	if r.Scheme == "" {
		r.Scheme = "http"
	}
	c.body, _ = r.Body.(*clientBody)
	info := &filter.Info{Start: time.Now(), Listener: &filter.ListenerInfo{BufferBytes: 1 << 20}}
	info.More().HTTP = &filter.HTTPInfo{Protocol: httpmsg.HTTP11, Request: r}
	c.stream = &filter.HTTPStream{Info: info, Request: r, HTTPHost: c}
	return c
}

func (c *client) Route() filter.HTTPRoute {
	if c.found == nil {
		c.found = c.world.table.Match(queryOf(c))
	}
	if c.found == nil {
		return nil
	}
	return c.found
}

func queryOf(c *client) *route.Query {
	return &route.Query{Request: c.stream.Request, Info: c.stream.Info, Runtime: noRuntime{}}
}

func (c *client) Wait()   {}
func (c *client) Resume() {}

func (c *client) ClearRoute() { c.found, c.cleared = nil, true }

func (c *client) Reply(l filter.LocalReply) *httpmsg.Response {
	i := c.stream.Info
	i.Raise(l.Flags)
	i.More().Details = l.Details
	r := &httpmsg.Response{Status: l.Status, Header: l.Header}
	if l.Body != "" {
		b := httpmsg.Bytes(l.Body)
		r.Body = &b
	}
	return r
}

func (c *client) NewResponse() *httpmsg.Response { return &c.response }

func (c *client) Inform(r *httpmsg.Response) error {
	c.informed = append(c.informed, r.Status)
	return nil
}

func (c *client) OnReset(f func(*httpmsg.ResetError)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hook = f
	if f != nil && c.gone != nil {
		f(c.gone)
	}
}

// leave is the client going away.
func (c *client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = &httpmsg.ResetError{Reason: httpmsg.RemoteReset}
	if c.body != nil {
		c.body.stop(c.gone)
	}
	if c.hook != nil {
		c.hook(c.gone)
	}
}

func (c *client) Again(*httpmsg.Response) error { return errAgain }

var errAgain = errors.New("again")

func (c *client) end() {
	for _, f := range slices.Backward(c.ends) {
		f()
	}
	c.ends = nil
}

func (c *client) OnEnd(f func()) { c.ends = append(c.ends, f) }
func (c *client) Upgraded()      { c.upgraded = true }

func (c *client) StopRequest(why *httpmsg.ResetError) { c.body.stop(why) }

// A result is what a client saw, and what the log says.
type result struct {
	status  int
	header  httpmsg.Header
	body    string
	trailer httpmsg.Header
	err     error // that the stream was reset for
	flags   string
	details string
	took    time.Duration
}

// do has a request answered, as a connection manager does it.
func (c *client) do() (r result) {
	begun := time.Now()
	resp, err := c.world.handler.ServeHTTP(c.stream)
	for err == errAgain {
		c.end()
		resp, err = c.world.handler.ServeHTTP(c.stream)
	}
	r.err = err
	if resp != nil {
		r.status, r.header = resp.Status, resp.Header.Clone()
		r.read(resp.Body)
	}
	r.took = time.Since(begun)
	whole := r.err == nil
	if c.body != nil && !(whole && c.upgraded) {
		c.body.stop(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	}
	c.end()
	r.flags, r.details = c.stream.Info.Flags.String(), c.stream.Info.Rest().Details
	return r
}

func (r *result) read(b httpmsg.Body) {
	var got []byte
	defer func() { r.body = string(got) }()
	for b != nil {
		p, err := b.Next()
		got = append(got, p...)
		if err == io.EOF {
			r.trailer = b.Trailer()
			return
		}
		if err != nil {
			r.err = err
			return
		}
	}
}

// get has a GET of a path answered.
func (w *world) get(path string, header ...string) result {
	return w.client(get(path, header...)).do()
}

func get(path string, header ...string) *httpmsg.Request {
	return &httpmsg.Request{Method: "GET", Path: path, Header: head(0, header...).Header}
}

// post is a request with a body.
func post(path string, b *clientBody) *httpmsg.Request {
	return &httpmsg.Request{Method: "POST", Path: path, Body: b}
}

// A clientBody is the body of a request that comes piece by piece.
type clientBody struct {
	pieces  chan string // closed: the end
	trailer httpmsg.Header
	gone    chan struct{}
	once    sync.Once
	why     *httpmsg.ResetError
}

// newBody returns a body with some pieces; whole: the end is there, too.
func newBody(whole bool, pieces ...string) *clientBody {
	b := &clientBody{pieces: make(chan string, 100), gone: make(chan struct{})}
	for _, p := range pieces {
		b.pieces <- p
	}
	if whole {
		close(b.pieces)
	}
	return b
}

func (b *clientBody) stop(why *httpmsg.ResetError) {
	b.once.Do(func() {
		b.why = why
		close(b.gone)
	})
}

func (b *clientBody) Next() ([]byte, error) {
	select {
	case p, ok := <-b.pieces:
		if !ok {
			return nil, io.EOF
		}
		return []byte(p), nil
	default:
	}
	select {
	case p, ok := <-b.pieces:
		if !ok {
			return nil, io.EOF
		}
		return []byte(p), nil
	case <-b.gone:
		return nil, b.why
	}
}

func (b *clientBody) Ready() bool             { return len(b.pieces) > 0 }
func (b *clientBody) Trailer() httpmsg.Header { return b.trailer }
