package dns_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/ginnel/ginnel/internal/dns"
	"github.com/ginnel/ginnel/internal/plan"
)

// server answers on a port of its own, over UDP and TCP.
func server(t *testing.T, h mdns.HandlerFunc) netip.AddrPort {
	t.Helper()
	var p net.PacketConn
	var l net.Listener
	for range 20 { // until a port is free for both
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if p, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			break
		}
		l.Close()
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	for _, s := range []*mdns.Server{{PacketConn: p, Handler: h}, {Listener: l, Handler: h}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		wg.Go(func() { s.ActivateAndServe() })
		<-up
		t.Cleanup(func() { s.Shutdown() })
	}
	return netip.MustParseAddrPort(p.LocalAddr().String())
}

// zone answers from records by name; a name that is not there does not exist.
func zone(records map[string][]string) mdns.HandlerFunc {
	return func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg).SetReply(q)
		all, ok := records[q.Question[0].Name]
		if !ok {
			m.Rcode = mdns.RcodeNameError
		}
		for _, text := range all {
			rr, err := mdns.NewRR(text)
			if err != nil {
				panic(err)
			}
			if k := rr.Header().Rrtype; k == q.Question[0].Qtype || k == mdns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
			}
		}
		w.WriteMsg(m)
	}
}

func TestLookup(t *testing.T) {
	at := server(t, zone(map[string][]string{
		"both.test.":  {"both.test. 30 A 10.0.0.1", "both.test. 20 AAAA 2001:db8::1", "both.test. 40 A 10.0.0.2"},
		"four.test.":  {"four.test. 30 A 10.0.0.4"},
		"six.test.":   {"six.test. 30 AAAA 2001:db8::6"},
		"alias.test.": {"alias.test. 3 CNAME four.test.", "four.test. 30 A 10.0.0.4"},
		"empty.test.": nil,
	}))
	r := dns.New(plan.NameServers{Servers: []netip.AddrPort{at}, NoSearch: true})
	for _, x := range []struct {
		name   string
		family plan.NameFamily
		want   string
	}{
		{"both.test", plan.AutoFamily, "[2001:db8::1] 20s"},
		{"both.test", plan.V4Preferred, "[10.0.0.1 10.0.0.2] 30s"},
		{"both.test", plan.V4Only, "[10.0.0.1 10.0.0.2] 30s"},
		{"both.test", plan.V6Only, "[2001:db8::1] 20s"},
		{"both.test", plan.AllFamilies, "[10.0.0.1 10.0.0.2 2001:db8::1] 20s"},
		{"four.test", plan.AutoFamily, "[10.0.0.4] 30s"},
		{"four.test.", plan.AllFamilies, "[10.0.0.4] 30s"},
		{"four.test", plan.V6Only, "[] 0s"},
		{"six.test", plan.V4Preferred, "[2001:db8::6] 30s"},
		{"six.test", plan.AllFamilies, "[2001:db8::6] 30s"},
		{"alias.test", plan.V4Only, "[10.0.0.4] 3s"},
		{"empty.test", plan.AutoFamily, "[] 0s"},
		{"none.test", plan.AllFamilies, "[] 0s"},
		{"127.0.0.9", plan.AutoFamily, "[127.0.0.9] 0s"},
		{"::9", plan.V4Only, "[::9] 0s"},
		{"localhost", plan.V4Only, "[127.0.0.1] 0s"}, // of the hosts file
	} {
		a, err := r.Lookup(t.Context(), x.name, x.family)
		if got := fmt.Sprint(a.Addrs, " ", a.TTL); err != nil || got != x.want {
			t.Errorf("%s, family %d: %s %v, want %s", x.name, x.family, got, err, x.want)
		}
	}
}

// What does not fit is asked for over TCP.
func TestTruncated(t *testing.T) {
	at := server(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg).SetReply(q)
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncated = true
		} else {
			for i := range 100 {
				rr, _ := mdns.NewRR(fmt.Sprintf("%s 1 A 10.0.0.%d", q.Question[0].Name, i))
				m.Answer = append(m.Answer, rr)
			}
		}
		w.WriteMsg(m)
	})
	for _, tcp := range []bool{false, true} {
		r := dns.New(plan.NameServers{Servers: []netip.AddrPort{at}, NoSearch: true, TCP: tcp})
		if a, err := r.Lookup(t.Context(), "many.test", plan.V4Only); err != nil || len(a.Addrs) != 100 {
			t.Errorf("tcp %t: %d addresses, %v", tcp, len(a.Addrs), err)
		}
	}
}

// Another server is asked where one fails; an error says that nobody knew.
func TestServers(t *testing.T) {
	var asked atomic.Int64
	bad := server(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
		asked.Add(1)
		w.WriteMsg(new(mdns.Msg).SetRcode(q, mdns.RcodeServerFailure))
	})
	good := server(t, zone(map[string][]string{"a.test.": {"a.test. 1 A 10.0.0.1"}}))
	for name, x := range map[string]struct {
		config plan.NameServers
		ok     bool
		asked  int64
	}{
		"the second": {plan.NameServers{Servers: []netip.AddrPort{bad, good}}, true, 1},
		"the first":  {plan.NameServers{Servers: []netip.AddrPort{good, bad}}, true, 0},
		"neither":    {plan.NameServers{Servers: []netip.AddrPort{bad}, Tries: 3}, false, 3},
	} {
		asked.Store(0)
		x.config.NoSearch = true
		a, err := dns.New(x.config).Lookup(t.Context(), "a.test", plan.V4Only)
		if (err == nil) != x.ok || x.ok && !slices.Equal(a.Addrs, []netip.Addr{netip.MustParseAddr("10.0.0.1")}) || asked.Load() != x.asked {
			t.Errorf("%s: %v %v, asked %d times", name, a, err, asked.Load())
		}
	}
}

// That there is nothing is known only if both families were answered.
func TestOneFamilyFails(t *testing.T) {
	records := zone(map[string][]string{"four.test.": {"four.test. 30 A 10.0.0.4"}, "empty.test.": nil})
	for _, fails := range []uint16{mdns.TypeA, mdns.TypeAAAA} {
		at := server(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
			if q.Question[0].Qtype == fails {
				w.WriteMsg(new(mdns.Msg).SetRcode(q, mdns.RcodeServerFailure))
				return
			}
			records(w, q)
		})
		r := dns.New(plan.NameServers{Servers: []netip.AddrPort{at}, NoSearch: true, Tries: 1})
		for _, f := range []plan.NameFamily{plan.AutoFamily, plan.V4Preferred, plan.AllFamilies} {
			for _, name := range []string{"empty.test", "none.test"} {
				if a, err := r.Lookup(t.Context(), name, f); err == nil {
					t.Errorf("%s, family %d, type %d fails: %v", name, f, fails, a)
				}
			}
			a, err := r.Lookup(t.Context(), "four.test", f)
			if known := fails == mdns.TypeAAAA; known != (err == nil) || known && fmt.Sprint(a.Addrs, a.TTL) != "[10.0.0.4] 30s" {
				t.Errorf("family %d, type %d fails: %v %v", f, fails, a, err)
			}
		}
	}
}

// A server that does not know EDNS is asked once more, without it.
func TestWithoutEDNS(t *testing.T) {
	at := server(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg).SetReply(q)
		if q.IsEdns0() != nil {
			m.Rcode, m.Question = mdns.RcodeFormatError, nil
		} else {
			rr, _ := mdns.NewRR(q.Question[0].Name + " 1 A 10.0.0.1")
			m.Answer = []mdns.RR{rr}
		}
		w.WriteMsg(m)
	})
	r := dns.New(plan.NameServers{Servers: []netip.AddrPort{at}, NoSearch: true, Tries: 1})
	if a, err := r.Lookup(t.Context(), "a.test", plan.V4Only); err != nil || len(a.Addrs) != 1 {
		t.Errorf("%v %v", a, err)
	}
}

// What is no answer to the question is none.
func TestOtherQuestion(t *testing.T) {
	for name, change := range map[string]func(*mdns.Msg){
		"another name": func(m *mdns.Msg) { m.Question[0].Name = "b.test." },
		"another type": func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeAAAA },
		"no question":  func(m *mdns.Msg) { m.Question = nil },
		"a question":   func(m *mdns.Msg) { m.Response = false },
		"another class": func(m *mdns.Msg) {
			m.Answer[0].Header().Class = mdns.ClassCHAOS
		},
	} {
		at := server(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
			m := new(mdns.Msg).SetReply(q)
			rr, _ := mdns.NewRR("a.test. 1 A 10.0.0.1")
			m.Answer = []mdns.RR{rr}
			change(m)
			w.WriteMsg(m)
		})
		r := dns.New(plan.NameServers{Servers: []netip.AddrPort{at}, NoSearch: true, Tries: 1})
		if a, err := r.Lookup(t.Context(), "a.test", plan.V4Only); len(a.Addrs) > 0 || err == nil && name != "another class" {
			t.Errorf("%s: %v %v", name, a, err)
		}
	}
}

func TestCanceled(t *testing.T) {
	at := server(t, func(mdns.ResponseWriter, *mdns.Msg) {})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := dns.New(plan.NameServers{Servers: []netip.AddrPort{at}, NoSearch: true}).Lookup(ctx, "a.test", plan.V4Only); err == nil {
		t.Error("an answer from nobody")
	}
}
