package upstream

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/transport"
)

// text is a filter-state object with a text.
type text string

func (t text) Serialize() (string, bool) { return string(t), true }

// opaque has none.
type opaque struct{ n int }

func (*opaque) Serialize() (string, bool) { return "", false }

func value(t *testing.T, fields map[string]any) *structpb.Struct {
	s, err := structpb.NewStruct(fields)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// meta makes metadata in which each namespace says where it comes from.
func meta(t *testing.T, from string, namespaces ...string) *corev3.Metadata {
	m := &corev3.Metadata{FilterMetadata: make(map[string]*structpb.Struct)}
	for _, ns := range namespaces {
		m.FilterMetadata[ns] = value(t, map[string]any{"from": from})
	}
	return m
}

func passing(inner extension.UpstreamTransport, sources ...extension.MetadataSource) plan.Transport {
	return plan.Transport{Name: "default", Socket: &transport.Internal{Inner: inner, Sources: sources}}
}

// changing is a socket that changes bytes.
type changing struct{ extension.UpstreamTransport }

func (changing) Transparent() bool { return false }

// dials runs one Connect and returns the dials that it made.
func dials(t *testing.T, p *plan.Cluster, r func(*hop) *filter.ConnectRequest) ([]*inproc.Dial, map[string]int64, *hop) {
	var all []*inproc.Dial
	network := fakeNetwork(func(d *inproc.Dial) (filter.Stream, error) {
		all = append(all, d)
		return &stream{local: filter.InternalClient}, nil
	})
	s, c := run(t, Options{Network: network}, p)
	h := newHop(t)
	if err := s.get(t, p.Name).Connect(r(h)); err != nil {
		t.Fatal(err)
	}
	return all, c.of(p.Name), h
}

// sources reads "host:a cluster:b".
func sources(list string) (out []extension.MetadataSource) {
	kinds := map[string]extension.MetadataKind{
		"host": extension.HostMetadata, "cluster": extension.ClusterMetadata,
		"route": extension.RouteMetadata, "request": extension.RequestMetadata,
	}
	for f := range strings.FieldsSeq(list) {
		kind, name, _ := strings.Cut(f, ":")
		out = append(out, extension.MetadataSource{Kind: kinds[kind], Name: name})
	}
	return out
}

func TestPassthroughMetadata(t *testing.T) {
	for name, x := range map[string]struct {
		sources string
		want    map[string]string // namespace: where from
		missing int64
	}{
		"nothing":           {},
		"host and cluster":  {"host:a cluster:b", map[string]string{"a": "host", "b": "cluster"}, 0},
		"all four":          {"host:a cluster:b route:c request:d", map[string]string{"a": "host", "b": "cluster", "c": "route", "d": "request"}, 0},
		"the later wins":    {"cluster:both host:both", map[string]string{"both": "host"}, 0},
		"in either order":   {"host:both cluster:both", map[string]string{"both": "cluster"}, 0},
		"absent stays":      {"host:a cluster:a", map[string]string{"a": "host"}, 1},
		"all absent":        {"host:x cluster:x route:x request:x", nil, 4},
		"named twice":       {"host:x host:x", nil, 2},
		"other namespaces":  {"host:a", map[string]string{"a": "host"}, 0},
		"absent everywhere": {"request:a", nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := cluster("c", internal("in", "e"))
			p.Transport = passing(transport.Raw{}, sources(x.sources)...)
			p.Metadata = meta(t, "cluster", "b", "both")
			p.Assignment.Localities[0].Endpoints[0].Metadata = meta(t, "host", "a", "both", "unasked")
			all, counts, h := dials(t, p, func(h *hop) *filter.ConnectRequest {
				h.info.Metadata = filter.Metadata{"d": value(t, map[string]any{"from": "request"})}
				r := h.request()
				r.Route = meta(t, "route", "c")
				return r
			})
			h.conn.Closed(true)
			var got map[string]string
			for ns, v := range all[0].Passthrough.Metadata {
				if got == nil {
					got = make(map[string]string)
				}
				got[ns] = v.Fields["from"].GetStringValue()
			}
			if d := cmp.Diff(x.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if counts["internal_upstream.no_metadata"] != x.missing {
				t.Errorf("no_metadata %d, want %d", counts["internal_upstream.no_metadata"], x.missing)
			}
		})
	}
}

// Shared filter state passes by reference, and only over internal_upstream. It is
// logged whatever the cluster.
func TestPassthroughState(t *testing.T) {
	for name, x := range map[string]struct {
		to     net.Addr
		socket plan.Transport
		passes bool
	}{
		"internal_upstream": {internal("in", ""), passing(transport.Raw{}), true},
		"raw_buffer":        {internal("in", ""), plan.Transport{Socket: transport.Raw{}}, false},
		"none":              {internal("in", ""), plan.Transport{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := cluster("c", x.to)
			p.Transport = x.socket
			obj := &opaque{1}
			all, _, h := dials(t, p, func(h *hop) *filter.ConnectRequest {
				h.info.State.Set(filter.Entry{Name: "once", Object: obj, Sharing: filter.SharedOnce})
				h.info.State.Set(filter.Entry{Name: "own", Object: text("x")})
				h.info.State.Set(filter.Entry{Name: "all", Object: text("y"), Sharing: filter.SharedTransitive})
				return h.request()
			})
			h.conn.Closed(true)
			want := []filter.Entry{
				{Name: "all", Object: text("y"), Sharing: filter.SharedTransitive},
				{Name: "once", Object: obj, Sharing: filter.SharedOnce},
			}
			same := cmp.Comparer(func(a, b filter.Object) bool { return a == b })
			if d := cmp.Diff(want, h.info.Rest().UpState, same); d != "" {
				t.Errorf("logged (-want +got):\n%s", d)
			}
			if !x.passes {
				want = nil
			}
			if d := cmp.Diff(want, all[0].Passthrough.State, same); d != "" {
				t.Errorf("passed (-want +got):\n%s", d)
			}
		})
	}
}

// internal_upstream passes nothing to sockets, but counts what it would miss.
func TestInternalUpstreamOverASocket(t *testing.T) {
	p := cluster("c", echo(t, ip("127.0.0.1:0")))
	p.Transport = passing(transport.Raw{}, extension.MetadataSource{Kind: extension.HostMetadata, Name: "x"})
	s, c := run(t, Options{}, p)
	h := newHop(t)
	if err := s.get(t, "c").Connect(h.request()); err != nil {
		t.Fatal(err)
	}
	h.conn.Stream().Close()
	h.conn.Closed(true)
	if n := c.of("c")["internal_upstream.no_metadata"]; n != 1 {
		t.Errorf("no_metadata %d", n)
	}
}

func TestNoMetadataIsThereFromTheStart(t *testing.T) {
	p := cluster("c")
	p.Transport = passing(transport.Raw{})
	_, c := run(t, Options{}, p)
	if _, ok := c.all.kinds["cluster.c.internal_upstream.no_metadata"]; !ok {
		t.Error("no counter")
	}
}

// A stream is offered where the bytes stay as they are.
func TestOffer(t *testing.T) {
	for name, x := range map[string]struct {
		socket plan.Transport
		offer  bool
	}{
		"none":                  {plan.Transport{}, true},
		"raw_buffer":            {plan.Transport{Socket: transport.Raw{}}, true},
		"internal_upstream":     {passing(transport.Raw{}), true},
		"something in between":  {passing(changing{transport.Raw{}}), false},
		"something on its own":  {plan.Transport{Socket: changing{transport.Raw{}}}, false},
		"nested, and unchanged": {passing(passing(transport.Raw{}).Socket), true},
	} {
		p := cluster("c", internal("in", "e"))
		p.Transport = x.socket
		mine, me := &stream{}, &outer{}
		all, _, h := dials(t, p, func(h *hop) *filter.ConnectRequest {
			r := h.request()
			r.Stream, r.Outer = mine, me
			return r
		})
		h.conn.Closed(true)
		d := all[0]
		if got := d.Stream == filter.Stream(mine) && d.Outer == filter.Outer(me); got != x.offer || (d.Stream != nil) != x.offer {
			t.Errorf("%s: offered %v", name, got)
		}
		if d.From != h.info || d.Addr != internal("in", "e") {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// With a hand-over the hop is connected when the listener accepts, and may be over
// when Connect returns. The log says the same as with a pipe.
func TestHandOver(t *testing.T) {
	for _, way := range []string{"hand-over", "pipe"} {
		t.Run(way, func(t *testing.T) {
			var h *hop
			back := &stream{local: filter.InternalClient}
			network := fakeNetwork(func(d *inproc.Dial) (filter.Stream, error) {
				if way == "pipe" {
					d.Stream, d.Outer = &stream{}, nil // the listener's end, as the network does it
					d.Dialler.Accepted()
					return back, nil
				}
				d.Dialler.Accepted()
				if h.conn == nil {
					t.Error("not connected when the listener accepted")
				}
				h.conn.Closed(false)
				h.info = nil // over: Connect must not look
				return nil, nil
			})
			p := cluster("c", internal("in", "e"))
			p.Transport = passing(transport.Raw{})
			s, c := run(t, Options{Network: network}, p)
			h = newHop(t)
			r := h.request()
			r.Stream, r.Outer = &stream{}, &outer{}
			if err := s.get(t, "c").Connect(r); err != nil {
				t.Fatal(err)
			}
			if way == "pipe" {
				if h.conn.Stream() != filter.Stream(back) {
					t.Error("the hop has another stream")
				}
				h.conn.Closed(false)
			} else if h.conn.Stream() != nil {
				t.Error("the hop has a stream that was handed over")
			}
			if up := h.seen; up.Local != filter.InternalClient || up.Remote != internal("in", "e") || up.ID == 0 {
				t.Errorf("%+v", up)
			}
			if h.waits != 0 {
				t.Error("waited")
			}
			wantCounts(t, way, c.of("c"), map[string]int64{
				"upstream_cx_total": 1, "upstream_cx_connect_ms": 1, "upstream_cx_length_ms": 1,
				"upstream_rq_total": 1, "upstream_rq_pending_total": 1,
				"upstream_cx_destroy": 1, "upstream_cx_destroy_remote": 1,
				"upstream_cx_destroy_with_active_rq": 1, "upstream_cx_destroy_remote_with_active_rq": 1,
			})
		})
	}
}

// A Go network refuses with its reason; without a network every dial is refused.
func TestInternalRefusals(t *testing.T) {
	for name, x := range map[string]struct {
		network Network
		reason  error
	}{
		"no such listener": {inproc.New(inproc.Options{}), inproc.ErrNoListener},
		"no network":       {nil, errNoNetwork},
	} {
		s, _ := run(t, Options{Network: x.network}, cluster("c", internal("in", "")))
		h := newHop(t)
		if err := s.get(t, "c").Connect(h.request()); !errors.Is(err, x.reason) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a hop further in failed of is not what this one failed of.
func TestInnerFailureIsARefusal(t *testing.T) {
	for _, inner := range []error{
		filter.ErrNoHost, filter.ErrOverflow, filter.ErrPendingOverflow, filter.ErrCanceled, filter.ErrConnectTimeout,
		os.ErrDeadlineExceeded, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL),
	} {
		n := fakeNetwork(func(d *inproc.Dial) (filter.Stream, error) {
			return nil, &inproc.RefusedError{Addr: d.Addr, Reason: fmt.Errorf("inner: %w", inner)}
		})
		s, c := run(t, Options{Network: n}, cluster("c", internal("in", "")))
		err := s.get(t, "c").Connect(newHop(t).request())
		var failed *filter.ConnectError
		if !errors.As(err, &failed) || failed.Local || errors.Is(err, inner) {
			t.Errorf("%v: %v is not the refusal of a host", inner, err)
		}
		wantCounts(t, inner.Error(), c.of("c"), map[string]int64{
			"upstream_cx_total": 1, "upstream_cx_connect_fail": 1, "upstream_cx_length_ms": 1,
			"upstream_rq_pending_total": 1, "upstream_rq_pending_failure_eject": 1,
			"upstream_cx_destroy": 1, "upstream_cx_destroy_remote": 1,
		})
	}
}

// A listener that neither accepts nor refuses is given the time that any host has.
func TestSilentInternalListener(t *testing.T) {
	for name, x := range map[string]struct {
		asker  time.Duration // 0: none
		took   time.Duration
		counts map[string]int64
	}{
		"of the cluster": {0, 5 * time.Second, failedCounts("local", "upstream_cx_connect_timeout")},
		"of the asker":   {time.Second, time.Second, canceledCounts},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := inproc.New(inproc.Options{})
				n.Register("silent", silent{})
				s, c := run(t, Options{Network: n}, cluster("c", internal("silent", "")))
				h := newHop(t)
				r := h.request()
				if x.asker > 0 {
					h.deadline = time.Now().Add(x.asker)
				}
				begun := time.Now()
				err := s.get(t, "c").Connect(r)
				if took := time.Since(begun); !errors.Is(err, filter.ErrConnectTimeout) || took != x.took {
					t.Errorf("%v after %v", err, took)
				}
				if h.waits != 0 {
					t.Error("the hop counts as accepted, and the listener never was")
				}
				wantCounts(t, name, c.of("c"), x.counts)
				n.Wait()
			})
		})
	}
}

// silent is a listener that waits for its dialler to go away.
type silent struct{}

func (silent) TakesOver() bool  { return false }
func (silent) BufferBytes() int { return 0 }
func (silent) ServeInternal(d *inproc.Dial) error {
	d.Stream.Read(make([]byte, 1))
	return d.Stream.Close()
}

// A refusal that is called once more hits no other dial of the same attempt.
func TestRefusedTwice(t *testing.T) {
	n := inproc.New(inproc.Options{})
	first := make(chan *inproc.Dial, 1)
	n.Register("refuses", listener(func(d *inproc.Dial) error {
		first <- d
		return errors.New("no")
	}))
	n.Register("in", listener(func(d *inproc.Dial) error {
		(<-first).Refuse(errors.New("once more"))
		d.Accept()
		return d.Stream.Close()
	}))
	p := cluster("c", internal("refuses", ""))
	p.Assignment.Localities[0].Endpoints[0].Additional = []net.Addr{internal("in", "")}
	s, _ := run(t, Options{Network: n}, p)
	h := newHop(t)
	if err := s.get(t, "c").Connect(h.request()); err != nil {
		t.Fatal(err)
	}
	h.conn.Stream().Close()
	h.conn.Closed(true)
	n.Wait()
}

// A listener serves pipes.
type listener func(d *inproc.Dial) error

func (listener) TakesOver() bool                      { return false }
func (listener) BufferBytes() int                     { return 0 }
func (l listener) ServeInternal(d *inproc.Dial) error { return l(d) }

func TestTransportSocketMatches(t *testing.T) {
	label := func(kv ...any) *structpb.Struct {
		m := make(map[string]any)
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return value(t, m)
	}
	of := func(s *structpb.Struct) *corev3.Metadata {
		if s == nil {
			return nil
		}
		return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.transport_socket_match": s}}
	}
	for name, x := range map[string]struct {
		endpoint, locality *structpb.Struct
		matches            []*structpb.Struct
		want               string
	}{
		"none":                       {nil, nil, nil, "default"},
		"endpoint":                   {label("a", "b", "c", "d"), nil, []*structpb.Struct{label("a", "x"), label("a", "b")}, "m1"},
		"first of two":               {label("a", "b", "c", "d"), nil, []*structpb.Struct{label("c", "d"), label("a", "b")}, "m0"},
		"all fields":                 {label("a", "b"), nil, []*structpb.Struct{label("a", "b", "c", "d")}, "default"},
		"locality":                   {nil, label("a", "b", "c", "d"), []*structpb.Struct{label("a", "b")}, "m0"},
		"endpoint before locality":   {label("e", "p"), label("a", "b"), []*structpb.Struct{label("a", "b"), label("e", "p")}, "m1"},
		"empty matches all":          {nil, nil, []*structpb.Struct{label()}, "m0"},
		"empty matches all, labels":  {label("x", "y"), nil, []*structpb.Struct{label()}, "m0"},
		"other kinds of values":      {label("n", 1.0, "l", []any{"x"}), nil, []*structpb.Struct{label("n", "1"), label("n", 1.0, "l", []any{"x"})}, "m1"},
		"unset value is not present": {label("a", ""), nil, []*structpb.Struct{label("b", "")}, "default"},
	} {
		t.Run(name, func(t *testing.T) {
			p := cluster("c", ip("127.0.0.1:1"))
			p.Transport = plan.Transport{Name: "default", Socket: transport.Raw{}}
			for i, m := range x.matches {
				p.Transports = append(p.Transports, plan.TransportMatch{
					Transport: plan.Transport{Name: "m" + string(rune('0'+i)), Socket: transport.Raw{}}, Match: m,
				})
			}
			l := &p.Assignment.Localities[0]
			l.Metadata, l.Endpoints[0].Metadata = of(x.locality), of(x.endpoint)
			_, c := run(t, Options{}, p)
			for name := range map[string]bool{"default": true, "m0": len(x.matches) > 0, "m1": len(x.matches) > 1} {
				want := int64(0)
				if name == x.want {
					want = 1
				}
				if got := c.all.values["cluster.c."+name+".total_match_count"]; got != want {
					t.Errorf("%s.total_match_count is %d, want %d", name, got, want)
				}
			}
			for i := range x.matches {
				if c.all.kinds["cluster.c.m"+string(rune('0'+i))+".total_match_count"] == "" {
					t.Errorf("no counter for match %d", i)
				}
			}
		})
	}
}

// acceptor is a listener that takes what comes.
type acceptor struct {
	handOver bool
	fail     error
}

func (a *acceptor) TakesOver() bool { return a.handOver }

func (*acceptor) BufferBytes() int { return 0 }

func (a *acceptor) ServeInternal(d *inproc.Dial) error {
	if a.fail != nil {
		return a.fail
	}
	d.Accept()
	if d.Outer == nil {
		defer d.Stream.Close()
		buf := make([]byte, 10)
		n, _ := d.Stream.Read(buf)
		d.Stream.Write(buf[:n])
	}
	return nil
}

// The real network, by both ways.
func TestInprocNetwork(t *testing.T) {
	for _, force := range []bool{true, false} {
		n := inproc.New(inproc.Options{ForcePipes: force})
		defer n.Register("in", &acceptor{handOver: true}).Unregister()
		defer n.Register("refuses", &acceptor{handOver: true, fail: errors.New("no chain")}).Unregister()
		two := cluster("two", internal("refuses", ""))
		two.Assignment.Localities[0].Endpoints[0].Additional = []net.Addr{internal("in", "2")}
		s, c := run(t, Options{Network: n}, cluster("c", internal("in", "e")), cluster("bad", internal("refuses", "")), two)
		for name, remote := range map[string]net.Addr{"c": internal("in", "e"), "two": internal("in", "2")} {
			h := newHop(t)
			r := h.request()
			r.Stream, r.Outer = &stream{}, &outer{}
			if err := s.get(t, name).Connect(r); err != nil {
				t.Fatal(err)
			}
			if h.seen.Local != filter.InternalClient || h.seen.Remote != remote {
				t.Errorf("%+v", h.seen)
			}
			pipe := h.conn.Stream()
			if (pipe != nil) != force {
				t.Fatalf("pipes forced: %v, stream %v", force, pipe)
			}
			if pipe != nil {
				pipe.SetDeadline(time.Now().Add(10 * time.Second))
				pipe.Write([]byte("hi"))
				buf := make([]byte, 10)
				if n, err := pipe.Read(buf); string(buf[:n]) != "hi" {
					t.Errorf("%q, %v", buf[:n], err)
				}
				pipe.Close()
			}
			h.conn.Closed(true)
		}
		h := newHop(t)
		r := h.request()
		r.Stream, r.Outer = &stream{}, &outer{}
		if err := s.get(t, "bad").Connect(r); err == nil || h.conn != nil {
			t.Errorf("%v", err)
		}
		wantCounts(t, "refused", c.of("bad"), failedCounts("remote"))
		n.Wait()
	}
}
