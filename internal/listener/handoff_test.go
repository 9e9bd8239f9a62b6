package listener

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats/teststats"
)

func unbound(addr string, compat bool) *Listener {
	return &Listener{plan: &plan.Listener{Addresses: []plan.Address{{Addr: netip.MustParseAddrPort(addr), V4Compat: compat}}}}
}

// TestTable: the address itself, else all addresses of its family; an IPv6 listener that
// takes IPv4 stands in for it where there is no other. IPv4 written as IPv6 is IPv6.
func TestTable(t *testing.T) {
	var table Table
	all := map[string]*Listener{
		"exact": unbound("10.0.0.1:80", false), "any": unbound("0.0.0.0:80", false), "six": unbound("[::]:80", true),
		"compat": unbound("[::]:81", true), "narrow": unbound("[::]:82", false), "mapped": unbound("[::ffff:10.0.0.2]:80", true),
		"mapped6": unbound("[::ffff:10.0.0.3]:80", false), "exact6": unbound("[fd00::1]:80", false), "zone": unbound("[fe80::1%lo]:80", false),
	}
	for _, l := range all {
		table.add(l)
	}
	check := func(want map[string]string) {
		t.Helper()
		for addr, name := range want {
			if got := table.find(netip.MustParseAddrPort(addr)); got != all[name] {
				t.Errorf("%s: %v, want %q", addr, got, name)
			}
		}
	}
	check(map[string]string{
		"10.0.0.1:80": "exact", "10.0.0.9:80": "any", "[::ffff:10.0.0.1]:80": "six", "10.0.0.2:80": "mapped",
		"[::ffff:10.0.0.2]:80": "mapped", "[::ffff:10.0.0.3]:80": "mapped6", "10.0.0.3:80": "any",
		"10.0.0.1:81": "compat", "[fd00::9]:81": "compat", "10.0.0.1:82": "", "[fd00::9]:82": "narrow",
		"[fd00::1]:80": "exact6", "[fd00::2]:80": "six", "[fe80::1%eth0]:80": "zone", "10.0.0.1:9": "",
	})
	next := unbound("10.0.0.1:80", false)
	table.add(next)
	table.remove(all["exact"]) // its place is taken
	all["next"] = next
	table.remove(all["any"])
	check(map[string]string{"10.0.0.1:80": "next", "10.0.0.9:80": "six"})
	table.remove(next)
	table.remove(all["six"])
	check(map[string]string{"10.0.0.1:80": "", "[fd00::2]:80": ""})
}

// restoring is the listener filter that finds one address.
type restoring struct{ to filter.IPAddr }

func (r restoring) NewListenerFilter(*filter.Env) (filter.ListenerFilter, error) { return r, nil }
func (restoring) Peeks() bool                                                    { return false }
func (r restoring) Inspect(i *filter.Info, _ filter.Peeker) error {
	i.RestoreLocal(r.to)
	return nil
}

// serving ends each connection, after it has told of it.
type serving struct {
	name string
	told func(string, *filter.Conn)
}

func (s serving) NewTerminal(*filter.Env) (filter.Terminal, error) { return s, nil }
func (s serving) ServeConn(c *filter.Conn) error {
	c.Accept()
	s.told(s.name, c)
	c.End()
	return c.Stream.Close()
}

type noStream struct{ net.Conn }

func (noStream) CloseWrite() error { return nil }
func (noStream) Reset() error      { return nil }
func (noStream) Close() error      { return nil }
func (noStream) LocalAddr() net.Addr {
	return filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:1")}
}
func (noStream) RemoteAddr() net.Addr {
	return filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:2")}
}

// TestHandOffWhileTargetsCome: listeners of an address come and go while connections are
// handed to them: each connection is served by one that has not stopped, or stays; it is
// waited for where it is; and all counts come to nothing.
func TestHandOffWhileTargetsCome(t *testing.T) {
	var table Table
	counts := teststats.New()
	env := &filter.Env{Stats: counts, Log: slog.New(slog.DiscardHandler)}
	to := filter.IPAddr{AddrPort: netip.MustParseAddrPort("10.0.0.1:80")}
	var mu sync.Mutex
	served := make(map[string]int)
	told := func(name string, c *filter.Conn) {
		mu.Lock()
		defer mu.Unlock()
		served[c.Info.Listener.Name]++
		if name != c.Info.Listener.Name || c.Info.Local != to {
			t.Errorf("%s serves a connection of %s to %v", name, c.Info.Listener.Name, c.Info.Local)
		}
	}
	build := func(name, prefix string) *Listener {
		p := &plan.Listener{
			Info: filter.ListenerInfo{Name: name}, StatPrefix: prefix,
			Chains: []*plan.Chain{{Terminal: serving{name, told}}},
		}
		if name == "out" {
			p.UseOriginalDst, p.Filters = true, []filter.ListenerFilterFactory{restoring{to}}
		} else {
			p.Addresses = []plan.Address{{Addr: to.AddrPort}}
		}
		l, err := New(p, env, Options{Table: &table})
		if err != nil {
			t.Fatal(err)
		}
		l.Accept()
		return l
	}
	out := build("out", "out")
	const conns = 400
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range conns / 4 {
				c := out.fromSocket(noStream{})
				out.enter(c)
				_ = out.serve(c, out.now.Load())
			}
		})
	}
	for range 50 {
		l := build("target", "target")
		if table.find(to.AddrPort) != l {
			t.Error("the new listener is not found")
		}
		l.Stop()
		l.Wait()
		if n := l.Open(); n != 0 {
			t.Errorf("%d connections are open after Wait", n)
		}
	}
	all.Wait()
	out.Stop()
	out.Wait()
	if served["out"]+served["target"] != conns || out.Open() != 0 {
		t.Errorf("served %v, %d are open", served, out.Open())
	}
	for _, name := range []string{"out", "target"} {
		if n := counts.Value("listener." + name + ".downstream_cx_total"); n != int64(served[name]) {
			t.Errorf("%s counts %d connections of %d", name, n, served[name])
		}
		for _, gauge := range []string{"downstream_cx_active", "downstream_pre_cx_active"} {
			if n := counts.Value("listener." + name + "." + gauge); n != 0 {
				t.Errorf("%s: %s is %d", name, gauge, n)
			}
		}
	}
	if n := out.total.Load(); n != 0 {
		t.Errorf("%d connections are counted for all listeners", n)
	}
}
