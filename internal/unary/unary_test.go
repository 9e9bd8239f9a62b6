package unary_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/unary"
)

func compiled(t *testing.T, config string) (*unary.Service, []extension.Issue) {
	t.Helper()
	m := new(corev3.GrpcService)
	if err := protojson.Unmarshal([]byte(config), m); err != nil {
		t.Fatal(err)
	}
	report := new(extension.Report)
	return unary.Compile(extension.NewScope(report, nil, nil).At("s"), m, 200*time.Millisecond), report.Issues
}

func TestCompileErrors(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:               "s: target_specifier is required",
		`{"envoyGrpc":{}}`: "s.envoy_grpc.cluster_name: is required",
		`{"googleGrpc":{"targetUri":"x","statPrefix":"x"}}`:                               "s.google_grpc: not supported yet",
		`{"envoyGrpc":{"clusterName":"c","retryPolicy":{}}}`:                              "s.envoy_grpc.retry_policy: not supported yet",
		`{"envoyGrpc":{"clusterName":"c"},"initialMetadata":[{"key":"k","rawValue":""}]}`: "",
	} {
		_, issues := compiled(t, config)
		var all []string
		for _, i := range issues {
			all = append(all, i.Path+": "+i.Message)
		}
		if got := strings.Join(all, "\n"); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", config, got, want)
		}
	}
}

// A cluster answers the one exchange that is opened.
type cluster struct {
	filter.HTTPCluster
	refuses filter.Refusal
	err     error // of Open
	x       exchange
}

func (c *cluster) Refuses() filter.Refusal { return c.refuses }

func (c *cluster) Open(r *filter.StreamRequest) (filter.UpstreamStream, error) {
	if c.err != nil {
		return nil, c.err
	}
	c.x.reset = make(chan struct{})
	return &c.x, nil
}

type clusters map[string]filter.Cluster

func (c clusters) Cluster(name string) (filter.Cluster, bool) {
	x, ok := c[name]
	return x, ok
}

// An exchange keeps what it is asked, and answers.
type exchange struct {
	filter.UpstreamStream
	responses []*httpmsg.Response // nil: none comes
	request   httpmsg.Request
	sent      []byte
	reset     chan struct{}
	outcome   int
	failed    *httpmsg.ResetError
	released  bool
}

func (x *exchange) WriteRequest(r *httpmsg.Request, _ bool) error {
	x.request = *r
	return nil
}

func (x *exchange) WriteData(p []byte, _ bool) error {
	x.sent = append(x.sent, p...)
	return nil
}

func (x *exchange) ReadResponse() (*httpmsg.Response, error) {
	if len(x.responses) == 0 {
		<-x.reset
		return nil, &httpmsg.ResetError{Reason: httpmsg.LocalReset}
	}
	r := x.responses[0]
	x.responses = x.responses[1:]
	return r, nil
}

func (x *exchange) Flush() error              { return nil }
func (x *exchange) Reset(*httpmsg.ResetError) { close(x.reset) }
func (x *exchange) Release()                  { x.released = true }
func (x *exchange) Outcome(status int, failed *httpmsg.ResetError) {
	x.outcome, x.failed = status, failed
}

// A body comes in pieces, then fails or ends with its trailers.
type body struct {
	pieces  []string
	err     error // nil: io.EOF
	trailer httpmsg.Header
}

func (b *body) Next() ([]byte, error) {
	if len(b.pieces) > 0 {
		p := b.pieces[0]
		b.pieces = b.pieces[1:]
		return []byte(p), nil
	}
	if b.err != nil {
		return nil, b.err
	}
	return nil, io.EOF
}
func (b *body) Ready() bool             { return true }
func (b *body) Trailer() httpmsg.Header { return b.trailer }

func header(pairs ...string) (h httpmsg.Header) {
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

var fine = header("grpc-status", "0")

// TestAnswers: what is an answer, and what is said of one that is none.
func TestAnswers(t *testing.T) {
	message := "\x00\x00\x00\x00\x04\x0a\x02hi"
	for _, c := range []struct {
		name     string
		response *httpmsg.Response
		want     string // of the error; "": the answer is "hi"
	}{
		{"whole", &httpmsg.Response{Status: 200, Body: &body{[]string{message}, nil, fine}}, ""},
		{"in pieces", &httpmsg.Response{Status: 200, Body: &body{strings.Split(message, ""), nil, fine}}, ""},
		{"status among the headers", &httpmsg.Response{Status: 200, Header: fine, Body: &body{[]string{message}, nil, nil}}, ""},
		{"refused", &httpmsg.Response{Status: 200, Header: header("grpc-status", "7", "grpc-message", "no")}, `gRPC status "7": no`},
		{"refused behind a message", &httpmsg.Response{Status: 200, Body: &body{[]string{message}, nil, header("grpc-status", "13")}}, `gRPC status "13"`},
		{"HTTP", &httpmsg.Response{Status: 503, Header: fine}, "HTTP status 503"},
		{"no status", &httpmsg.Response{Status: 200, Body: &body{[]string{message}, nil, nil}}, `gRPC status ""`},
		{"no message", &httpmsg.Response{Status: 200, Header: fine}, "not one message"},
		{"cut off", &httpmsg.Response{Status: 200, Body: &body{[]string{message[:8]}, nil, fine}}, "not one message"},
		{"two", &httpmsg.Response{Status: 200, Body: &body{[]string{message, message}, nil, fine}}, "not one message"},
		{"compressed", &httpmsg.Response{Status: 200, Body: &body{[]string{"\x01" + message[1:]}, nil, fine}}, "not one message"},
		{"too long", &httpmsg.Response{Status: 200, Body: &body{[]string{message, strings.Repeat("x", 100)}, nil, fine}}, "too long"},
		{"broken off", &httpmsg.Response{Status: 200, Body: &body{[]string{message}, &httpmsg.ResetError{Reason: httpmsg.RemoteReset}, nil}}, "reset"},
		{"no protobuf", &httpmsg.Response{Status: 200, Body: &body{[]string{"\x00\x00\x00\x00\x01\xff"}, nil, fine}}, "proto"},
	} {
		t.Run(c.name, func(t *testing.T) {
			service, _ := compiled(t, `{"envoyGrpc":{"clusterName":"c","maxReceiveMessageLength":64}}`)
			x := &cluster{x: exchange{responses: []*httpmsg.Response{{Status: 103}, c.response}}}
			out := new(wrapperspb.StringValue)
			err := service.Call(t.Context(), &filter.Env{Clusters: clusters{"c": x}}, &filter.Info{}, "/p.S/M", wrapperspb.String("ask"), out)
			switch {
			case c.want == "" && (err != nil || out.Value != "hi"):
				t.Errorf("%q, %v", out.Value, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
			if !x.x.released {
				t.Error("the stream is not given back")
			}
			if x.x.outcome != 0 && x.x.outcome != c.response.Status {
				t.Errorf("outcome %d", x.x.outcome)
			}
		})
	}
}

// TestRequest: what a service is asked, as Envoy asks.
func TestRequest(t *testing.T) {
	for config, want := range map[string][]string{
		`{"envoyGrpc":{"clusterName":"c"}}`: {
			"c", "te: trailers", "content-type: application/grpc", "grpc-timeout: 200m", "x-envoy-expected-rq-timeout-ms: 200", "x-envoy-internal: true",
		},
		`{"envoyGrpc":{"clusterName":"c","authority":"a","skipEnvoyHeaders":true},"timeout":"0.0001s","initialMetadata":[{"key":"K","value":"v"}]}`: {
			"a", "te: trailers", "content-type: application/grpc", "grpc-timeout: 1m", "k: v",
		},
		`{"envoyGrpc":{"clusterName":"c"},"timeout":"0s"}`: {"c", "te: trailers", "content-type: application/grpc", "x-envoy-internal: true"},
	} {
		service, issues := compiled(t, config)
		if len(issues) > 0 {
			t.Fatal(issues)
		}
		x := &cluster{x: exchange{responses: []*httpmsg.Response{{Status: 200, Header: fine}}}}
		_ = service.Call(t.Context(), &filter.Env{Clusters: clusters{"c": x}}, &filter.Info{}, "/p.S/M", wrapperspb.String("ask"), new(wrapperspb.StringValue))
		r := x.x.request
		got := []string{r.Authority}
		for _, f := range r.Header {
			got = append(got, f.Name+": "+f.Value)
		}
		if r.Method != "POST" || r.Path != "/p.S/M" || !slices.Equal(got, want) || string(x.x.sent) != "\x00\x00\x00\x00\x05\x0a\x03ask" {
			t.Errorf("%s: %s %s %q, %q", config, r.Method, r.Path, got, x.x.sent)
		}
	}
}

// TestNobody: clusters that are not there, speak no HTTP or have no host.
func TestNobody(t *testing.T) {
	service, _ := compiled(t, `{"envoyGrpc":{"clusterName":"c"}}`)
	for _, c := range []struct {
		clusters clusters
		want     string
	}{
		{clusters{}, "no such cluster"},
		{clusters{"c": struct{ filter.Cluster }{}}, "does not speak HTTP"},
		{clusters{"c": &cluster{err: filter.ErrNoHost}}, filter.ErrNoHost.Error()},
		{clusters{"c": &cluster{refuses: filter.AllDropped}}, "takes no requests"},
	} {
		err := service.Call(t.Context(), &filter.Env{Clusters: c.clusters}, &filter.Info{}, "/p.S/M", wrapperspb.String(""), new(wrapperspb.StringValue))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestTooLate: a service that does not answer is given up at the timeout, or when nobody
// waits any more; the stream is reset then, and given back.
func TestTooLate(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration // who waits leaves; 0: never
		took  time.Duration
		want  error
	}{
		"timeout": {0, 200 * time.Millisecond, context.DeadlineExceeded},
		"left":    {50 * time.Millisecond, 50 * time.Millisecond, context.Canceled},
	} {
		synctest.Test(t, func(t *testing.T) {
			service, _ := compiled(t, `{"envoyGrpc":{"clusterName":"c"}}`)
			x := &cluster{}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.after > 0 {
				time.AfterFunc(c.after, cancel)
			}
			begun := time.Now()
			err := service.Call(ctx, &filter.Env{Clusters: clusters{"c": x}}, &filter.Info{}, "/p.S/M", wrapperspb.String(""), new(wrapperspb.StringValue))
			if took := time.Since(begun); !errors.Is(err, c.want) || took != c.took || !x.x.released {
				t.Errorf("%s: %v after %v, released %v", name, err, took, x.x.released)
			}
		})
	}
}
