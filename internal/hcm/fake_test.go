package hcm

import (
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// scope keeps statistics in a map.
type scope struct {
	prefix string
	in     *numbers
}

type numbers struct {
	mu sync.Mutex
	of map[string]*number
}

type number struct {
	in *numbers
	n  int64
}

func newScope() scope { return scope{in: &numbers{of: make(map[string]*number)}} }

func (s scope) get(name string) *number {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	n := s.in.of[s.prefix+name]
	if n == nil {
		n = &number{in: s.in}
		s.in.of[s.prefix+name] = n
	}
	return n
}

func (n *number) add(d int64) {
	n.in.mu.Lock()
	defer n.in.mu.Unlock()
	n.n += d
}

// value returns a statistic of the connection manager under test.
func (s scope) value(name string) int64 {
	n := s.get("http.test." + name)
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	return n.n
}

type (
	counter struct{ *number }
	gauge   struct{ *number }
)

func (c counter) Add(n uint64)    { c.add(int64(n)) }
func (c counter) Record(n uint64) { c.add(1) }
func (g gauge) Add(n int64)       { g.add(n) }

func (s scope) Scope(prefix string) filter.Scope       { return scope{s.prefix + prefix, s.in} }
func (s scope) Counter(name string) filter.Counter     { return counter{s.get(name)} }
func (s scope) Gauge(name string) filter.Gauge         { return gauge{s.get(name)} }
func (s scope) Histogram(name string) filter.Histogram { return counter{s.get(name)} }
func (s scope) Close()                                 {}

// host is the listener behind a connection.
type host struct {
	ended  chan struct{}
	drains bool
}

func (h *host) Accepted(*filter.Conn)                   {}
func (h *host) Blocks(*filter.Conn)                     {}
func (h *host) Ended(*filter.Conn)                      { close(h.ended) }
func (h *host) Own(*filter.Conn, filter.Closer) bool    { return true }
func (h *host) Closing(*filter.Conn) string             { return "" }
func (h *host) DrainClose(*filter.Conn) bool            { return h.drains }
func (h *host) Replace(c *filter.Conn, s filter.Stream) { c.Stream = s }

// noStream is a stream that only ends.
type noStream struct{ net.Conn }

func (noStream) Close() error      { return nil }
func (noStream) CloseWrite() error { return nil }
func (noStream) Reset() error      { return nil }

// codec is a fake codec: the test hands it requests.
type codec struct {
	h        httpmsg.ServerHandler
	protocol httpmsg.Protocol
	requests chan exchange
	done     chan struct{}

	mu      sync.Mutex
	drained []time.Duration
	final   bool // drained
	over    bool
	closed  *httpmsg.ResetError
	streams sync.WaitGroup
	n       int
	bytes   uint64
}

type exchange struct {
	r      *httpmsg.Request
	w      *responder
	refuse int
	why    *httpmsg.ResetError
}

func (c *codec) Serve() error {
	defer c.streams.Wait()
	for {
		select {
		case x := <-c.requests:
			c.streams.Add(1)
			c.active(1)
			go c.answer(x)
		case <-c.done:
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.closed != nil {
				return c.closed
			}
			return nil
		}
	}
}

func (c *codec) answer(x exchange) {
	defer c.streams.Done()
	if x.refuse != 0 {
		c.h.Refuse(x.r, x.w, x.refuse, x.why)
	} else {
		c.h.Answer(x.r, x.w)
	}
	c.active(-1)
	close(x.w.answered)
}

func (c *codec) active(d int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += d
	c.bytes++
	c.h.Active(c.n)
	c.endFinal()
}

func (c *codec) Drain(grace time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drained = append(c.drained, grace)
	time.AfterFunc(grace, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.final = true
		c.endFinal()
	})
}

// endFinal ends a connection that is drained with its last request. It holds mu.
func (c *codec) endFinal() {
	if c.final && c.n == 0 && !c.over {
		c.over = true
		close(c.done)
	}
}

func (c *codec) drains() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.drained
}

func (c *codec) Close(why *httpmsg.ResetError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.over, c.closed = true, why
		close(c.done)
	}
}

func (c *codec) Protocol() httpmsg.Protocol { return c.protocol }

func (c *codec) Bytes() (received, sent uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes, c.bytes
}

// responder is the client's side of one request.
type responder struct {
	answered chan struct{}
	stopped  chan struct{} // by StopRequest, or Reset
	reset    chan struct{}
	full     chan struct{} // data waits for it to be closed; nil: for nothing

	mu      sync.Mutex
	once    sync.Once
	heads   []httpmsg.Response
	body    []byte
	trailer httpmsg.Header
	ended   bool
	why     *httpmsg.ResetError // of Reset
	stopWhy *httpmsg.ResetError
	onReset func(*httpmsg.ResetError)
	fail    error // of writes
}

func newResponder() *responder {
	return &responder{answered: make(chan struct{}), stopped: make(chan struct{}), reset: make(chan struct{})}
}

func (w *responder) WriteResponse(r *httpmsg.Response, end bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := *r
	c.Header = r.Header.Clone()
	w.heads = append(w.heads, c)
	w.ended = w.ended || end
	return w.fail
}

func (w *responder) WriteData(p []byte, end bool) error {
	if w.full != nil { // the client takes nothing
		select {
		case <-w.full:
		case <-w.reset:
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.body = append(w.body, p...)
	w.ended = w.ended || end
	return w.fail
}

func (w *responder) WriteTrailer(h httpmsg.Header) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trailer, w.ended = h.Clone(), true
	return w.fail
}

func (w *responder) Flush() error { return nil }

func (w *responder) Reset(why *httpmsg.ResetError) {
	w.mu.Lock()
	if w.why == nil {
		w.why, w.fail = why, why
		close(w.reset)
	}
	w.mu.Unlock()
	w.StopRequest(why)
}

func (w *responder) StopRequest(why *httpmsg.ResetError) {
	w.once.Do(func() {
		w.stopWhy = why
		close(w.stopped)
	})
}

func (w *responder) OnReset(f func(*httpmsg.ResetError)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onReset = f
}

// goAway is what a client does that resets the request.
func (w *responder) goAway(why *httpmsg.ResetError) {
	w.mu.Lock()
	f := w.onReset
	w.fail = why
	w.mu.Unlock()
	w.StopRequest(why)
	if f != nil {
		f(why)
	}
}

// last is the head that counts.
func (w *responder) last(t testing.TB) httpmsg.Response {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.heads) == 0 {
		t.Fatal("no response was sent")
	}
	return w.heads[len(w.heads)-1]
}

// waiting is a request's body of which nothing comes.
type waiting struct{ w *responder }

func (b waiting) Next() ([]byte, error) {
	<-b.w.stopped
	return nil, b.w.stopWhy
}

func (waiting) Ready() bool             { return false }
func (waiting) Trailer() httpmsg.Header { return nil }

// pieces is a body that a test feeds; nil is its end.
type pieces chan []byte

func (p pieces) Next() ([]byte, error) {
	b := <-p
	if b == nil {
		return nil, io.EOF
	}
	return b, nil
}

func (pieces) Ready() bool             { return false }
func (pieces) Trailer() httpmsg.Header { return nil }

// entries is an access log.
type entries struct {
	mu   sync.Mutex
	list []entry
}

type entry struct {
	kind           filter.AccessLogType
	flags, details string
	code           int
	received, sent uint64
	remote         string
}

func (e *entries) Log(i *filter.Info, t filter.AccessLogType) {
	e.mu.Lock()
	defer e.mu.Unlock()
	remote := ""
	if i.Remote != nil {
		remote = i.Remote.String()
	}
	e.list = append(e.list, entry{t, i.Flags.String(), i.Rest().Details, i.HTTP().Code, i.Received, i.Sent, remote})
}

func (e *entries) NewAccessLog(*filter.Env) (filter.AccessLog, error) { return e, nil }

func (e *entries) last(t testing.TB) entry {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.list) == 0 {
		t.Fatal("no log entry was written")
	}
	return e.list[len(e.list)-1]
}

// rig is a connection manager with one connection.
type rig struct {
	t     testing.TB
	sv    *service
	stats scope
	log   *entries
	codec *codec
	conn  *filter.Conn
	host  *host
}

// terminal is a terminal filter that a test writes.
type terminal filter.HTTPHandlerFunc

func (f terminal) NewHTTPHandler(*filter.HTTPEnv) (filter.HTTPHandler, error) {
	return filter.HTTPHandlerFunc(f), nil
}

const anyRoute = `{"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
	{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]}`

func unmarshal(a *anypb.Any) (proto.Message, error) { return a.UnmarshalNew() }

func table(t testing.TB, text string) *route.Table {
	t.Helper()
	var m routev3.RouteConfiguration
	if err := protojson.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	report := &extension.Report{}
	out, ok := route.Compile(extension.NewScope(report, &extension.Registry{}, unmarshal), &m, route.Options{})
	if !ok {
		t.Fatalf("%+v", report.Issues)
	}
	return out
}

// start serves a connection with a configuration in which the test may change
// everything; what is not set is as in an empty message.
func start(t testing.TB, c *Config, h filter.HTTPHandlerFunc) *rig {
	t.Helper()
	c.StatPrefix = "test"
	if c.Routes == nil {
		c.Routes = table(t, anyRoute)
	}
	if c.Response.serverName == "" {
		c.Response.serverName = "envoy"
	}
	c.Filters = append(c.Filters, httpFilter{name: "last", terminal: terminal(h)})
	r := &rig{t: t, stats: newScope(), log: &entries{}, host: &host{ended: make(chan struct{})}}
	c.Logs.factories = append(c.Logs.factories, r.log)
	x, err := c.NewTerminal(&filter.Env{Stats: r.stats, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r.sv = x.(*service)
	r.sv.machine = func() string { return "192.0.2.9" }
	made := make(chan *codec, 1)
	r.sv.codec = func(kind Codec, c *conn) httpmsg.Server {
		k := &codec{h: c, protocol: httpmsg.HTTP11, requests: make(chan exchange), done: make(chan struct{})}
		if kind == HTTP2 {
			k.protocol = httpmsg.HTTP2
		}
		made <- k
		return k
	}
	if c.Codec == Auto {
		c.Codec = HTTP1
		r.sv.config.Codec = HTTP1
	}
	r.conn = &filter.Conn{Stream: noStream{}}
	r.conn.Init(r.host)
	r.conn.Info.Start = time.Now()
	r.conn.Info.Remote = addr("192.0.2.1:4321")
	r.conn.Info.Local = addr("192.0.2.2:80")
	go r.sv.ServeConn(r.conn)
	r.codec = <-made
	t.Cleanup(func() { r.close() })
	return r
}

func (r *rig) close() {
	r.codec.Close(&httpmsg.ResetError{Reason: httpmsg.ConnectionTermination})
	<-r.host.ended
}

// begin hands a request to the connection manager.
func (r *rig) begin(q *httpmsg.Request, body func(*responder) httpmsg.Body) *responder {
	if q.Protocol == 0 {
		q.Protocol = r.codec.protocol
	}
	w := newResponder()
	if body != nil {
		q.Body = body(w)
	}
	r.codec.requests <- exchange{r: q, w: w}
	return w
}

// do has a request answered.
func (r *rig) do(q *httpmsg.Request) (*responder, httpmsg.Response) {
	r.t.Helper()
	w := r.begin(q, nil)
	<-w.answered
	return w, w.last(r.t)
}

func get(path string, header ...string) *httpmsg.Request {
	q := &httpmsg.Request{Method: "GET", Authority: "host", Path: path}
	for i := 0; i < len(header); i += 2 {
		q.Header.Add(header[i], header[i+1])
	}
	return q
}
