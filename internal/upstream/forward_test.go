package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/dns/testdns"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/state"
)

func forwarding() *plan.Cluster {
	p := cluster("c")
	p.Assignment = plan.Assignment{}
	p.Forward = &plan.Forward{Port: 80, Cache: &plan.DNSCache{
		Name: "cache", Refresh: time.Minute, LeastRefresh: time.Second, HostTTL: time.Minute, MaxHosts: 10, MaxPending: 10,
	}}
	return p
}

// What a connection or request is for: filter state of its own, of its connection, then the
// name in it.
func TestForwardWanted(t *testing.T) {
	text := func(s string) filter.Entry { return filter.Entry{Name: state.DynamicHostKey, Object: state.Text(s)} }
	port := func(n uint32) filter.Entry { return filter.Entry{Name: state.DynamicPortKey, Object: state.Uint32(n)} }
	for what, x := range map[string]struct {
		request, conn []filter.Entry
		authority     string // "": it is a connection
		sni, want     string
	}{
		"nothing":               {want: ""},
		"a request":             {authority: "a", sni: "s", want: "a:80"},
		"with a port":           {authority: "a:1", want: "a:1"},
		"a connection":          {sni: "s", want: "s:80"},
		"state of a request":    {authority: "a", request: []filter.Entry{text("b")}, conn: []filter.Entry{text("c")}, want: "b:80"},
		"state of a connection": {authority: "a", conn: []filter.Entry{text("c:2")}, want: "c:2"},
		"a port in the state":   {authority: "a", conn: []filter.Entry{port(9)}, want: "a:9"},
		"a port that is none":   {authority: "a", conn: []filter.Entry{port(65536)}, want: "a:80"},
		"state without TLS":     {conn: []filter.Entry{text("c"), port(9)}, want: "c:9"},
	} {
		t.Run(what, func(t *testing.T) {
			conn := &filter.Info{}
			for _, e := range x.conn {
				conn.State.Set(e)
			}
			if x.sni != "" {
				conn.More().Inspected.ServerName = x.sni
			}
			i := conn
			if x.authority != "" {
				i = &filter.Info{}
				i.More().HTTP = &filter.HTTPInfo{Conn: conn, Request: &httpmsg.Request{Authority: x.authority}}
				for _, e := range x.request {
					i.State.Set(e)
				}
			}
			f := &forwarded{plan: &plan.Forward{Port: 80}}
			if got := f.wanted(i); got != x.want {
				t.Errorf("got %q, want %q", got, x.want)
			}
		})
	}
}

// Hosts come with the names that are asked for, are others when their addresses are, and go
// when nobody asks any more; so do those of another cluster with the same cache.
func TestForwardHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testdns.Directory{TTL: time.Second, Addrs: map[string][]string{"a": {"10.0.0.1"}, "none": {}}}
		s := NewSet(Options{Stats: nowhere{}, Lookup: d.Lookup})
		defer s.Close()
		other := forwarding()
		other.Name = "other"
		if err := s.Apply([]*plan.Cluster{forwarding(), other}); err != nil {
			t.Fatal(err)
		}
		c, _ := s.Cluster("c")
		f := c.(*Cluster).origin.(*forwarded)
		o, _ := s.Cluster("other")
		i := &filter.Info{}
		i.More().HTTP = &filter.HTTPInfo{Request: &httpmsg.Request{Authority: "a"}}
		ask := func() error { return c.(*Cluster).resolveRequest(&filter.StreamRequest{Info: i, Waiting: never}) }
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		first := f.choose(i)
		if first == nil || first.Addr.String() != "10.0.0.1:80" || len(o.(*Cluster).all()) != 1 {
			t.Fatalf("%v, and the other cluster has %v", first, o.(*Cluster).all())
		}
		d.Set(func() { d.Addrs["a"] = []string{"10.0.0.2"} })
		time.Sleep(2 * time.Second)
		if next := f.choose(i); next == first || next.Addr.String() != "10.0.0.2:80" {
			t.Errorf("still %v", next)
		}
		if _, total := c.(*Cluster).Members(); total != 1 {
			t.Errorf("%d members", total)
		}
		time.Sleep(2 * time.Minute)
		if f.choose(i) != nil || len(o.(*Cluster).all()) != 0 {
			t.Error("hosts stay that nobody asks for")
		}
		i.HTTP().Request.Authority = "none"
		if n, ok := ask().(*filter.NoHostError); !ok || n.Details != "dns_resolution_failure{cares_norecords:DNS_server_returned_answer_with_no_data}" {
			t.Errorf("%v for what has no address", ask())
		}
		i.HTTP().Request.Authority = ""
		if n, ok := ask().(*filter.NoHostError); !ok || n.Details != "empty_host_header" {
			t.Errorf("%v for nothing", ask())
		}
	})
}

func never() <-chan struct{} { return nil }
