package hcm

import (
	"log/slog"
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
