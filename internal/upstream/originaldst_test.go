package upstream

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/state"
)

func originally(o plan.OriginalDst) *plan.Cluster {
	p := cluster("c")
	p.Assignment, p.OriginalDst = plan.Assignment{}, &o
	if o.Cleanup == 0 {
		o.Cleanup = time.Hour
	}
	return p
}

// The order is that of Envoy 1.40 (LT-124).
func TestOriginalDestination(t *testing.T) {
	port := uint16(9)
	everything := plan.OriginalDst{Header: "to", Metadata: &plan.MetadataKey{Namespace: "m", Path: []string{"to"}}}
	address := func(s string) filter.Entry {
		return filter.Entry{Name: state.DestinationKey, Object: state.Address{AddrPort: netip.MustParseAddrPort(s)}}
	}
	type seen struct {
		requestState, connState string
		requestMeta, connMeta   any
		headers                 []string
		restored                string
	}
	for what, x := range map[string]struct {
		o       plan.OriginalDst
		seen    seen
		want    string // "": no host
		invalid int64
	}{
		"nothing":                     {everything, seen{}, "", 0},
		"the state of the request":    {everything, seen{"1.0.0.1:1", "1.0.0.2:1", "1.0.0.3:1", nil, []string{"1.0.0.4:1"}, "1.0.0.5:1"}, "1.0.0.1:1", 0},
		"the state of the connection": {everything, seen{"", "1.0.0.2:1", "1.0.0.3:1", nil, []string{"1.0.0.4:1"}, "1.0.0.5:1"}, "1.0.0.2:1", 0},
		"metadata":                    {everything, seen{"", "", "1.0.0.3:1", "1.0.0.9:1", []string{"1.0.0.4:1"}, "1.0.0.5:1"}, "1.0.0.3:1", 0},
		"metadata of the connection":  {everything, seen{"", "", 7.0, "1.0.0.9:1", nil, "1.0.0.5:1"}, "1.0.0.9:1", 0},
		"a list":                      {everything, seen{"", "", []any{"1.0.0.3:1", "1.0.0.4:1"}, nil, nil, ""}, "1.0.0.3:1", 0},
		"an empty list":               {everything, seen{"", "", []any{}, nil, nil, "1.0.0.5:1"}, "1.0.0.5:1", 0},
		"bad metadata":                {everything, seen{"", "", "name:1", "1.0.0.9:1", []string{"[::1]:1"}, "1.0.0.5:1"}, "[::1]:1", 1},
		"the first header":            {everything, seen{"", "", nil, nil, []string{"1.0.0.4:1", "1.0.0.5:1"}, ""}, "1.0.0.4:1", 0},
		"a bad header":                {everything, seen{"", "", nil, nil, []string{"1.0.0.4", "1.0.0.5:1"}, "1.0.0.6:1"}, "1.0.0.6:1", 1},
		"a list in a header":          {everything, seen{"", "", nil, nil, []string{"1.0.0.4:1,1.0.0.5:1"}, ""}, "", 1},
		"a header nobody asked for":   {plan.OriginalDst{}, seen{"", "", nil, nil, []string{"1.0.0.4:1"}, "1.0.0.6:1"}, "1.0.0.6:1", 0},
		"a port":                      {plan.OriginalDst{Port: &port}, seen{"", "", nil, nil, nil, "[::2]:1"}, "[::2]:9", 0},
	} {
		t.Run(what, func(t *testing.T) {
			s, counts := run(t, Options{}, originally(x.o))
			defer s.Close()
			conn := &filter.Info{Local: ip("127.0.0.1:1")}
			r := &httpmsg.Request{}
			info := &filter.Info{State: *conn.State.Child()}
			info.More().HTTP = &filter.HTTPInfo{Conn: conn, Request: r}
			for _, h := range x.seen.headers {
				r.Header.Add("to", h)
			}
			if a := x.seen.requestState; a != "" {
				info.State.Set(address(a))
			}
			if a := x.seen.connState; a != "" {
				conn.State.Set(address(a))
			}
			for in, v := range map[*filter.Info]any{info: x.seen.requestMeta, conn: x.seen.connMeta} {
				if v != nil {
					m, err := structpb.NewStruct(map[string]any{"to": v})
					if err != nil {
						t.Fatal(err)
					}
					in.Metadata = filter.Metadata{"m": m}
				}
			}
			if x.seen.restored != "" {
				conn.RestoreLocal(ip(x.seen.restored))
			}
			h := s.get(t, "c").(*Cluster).pickFor(&filter.StreamRequest{Info: info})
			if got := ""; h != nil {
				if got = h.Addr.String(); got != x.want || h.Hostname != "c"+x.want {
					t.Errorf("host %s", got)
				}
			} else if x.want != "" {
				t.Error("no host")
			}
			none := int64(0)
			if x.want == "" {
				none = 1
			}
			if got := counts.of("c"); got["original_dst_host_invalid"] != x.invalid || got["upstream_cx_none_healthy"] != none {
				t.Error(got)
			}
		})
	}
}

// A host is forgotten at the second sweep in which nobody uses it.
func TestOriginalHostsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, counts := run(t, Options{}, originally(plan.OriginalDst{Cleanup: time.Second}))
		c := s.get(t, "c").(*Cluster)
		ask := func(to string) *host {
			info := &filter.Info{Local: ip("127.0.0.1:1")}
			info.RestoreLocal(ip(to))
			return c.pick(info, lb.Request{})
		}
		a := ask("1.0.0.1:1")
		if ask("1.0.0.1:1") != a || ask("[::1]:1") == a {
			t.Error("an address is not a host")
		}
		a.Active.Add(1)
		total := func() int64 { return members(counts)["membership_total"] }
		wait := func() { time.Sleep(time.Second + time.Millisecond) }
		if wait(); total() != 2 || len(s.Status()[0].Hosts) != 2 {
			t.Error("forgotten though it had been asked for")
		}
		if wait(); total() != 1 || c.all()[0] != a {
			t.Error("not forgotten, or the one in use is")
		}
		a.Active.Add(^uint64(0))
		if wait(); total() != 0 || members(counts)["membership_change"] != 4 {
			t.Errorf("%d hosts, %d changes", total(), members(counts)["membership_change"])
		}
		if b := ask("1.0.0.1:1"); b == a || b == nil {
			t.Error("a host that was forgotten came back")
		}
		s.Close()
	})
}
