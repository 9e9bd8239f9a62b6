package upstream

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/netconn"
)

// A script says what each address does: its port is the milliseconds until the
// answer, the third byte what that is.
const (
	answers = "192.0.2.1:%d"
	refuses = "192.0.3.1:%d"
)

// scripted dials by script, and counts streams that nobody closed.
type scripted struct {
	mu   sync.Mutex
	open int
}

func (s *scripted) dial(to net.Addr, deadline time.Time, waiting func() <-chan struct{}, _ netconn.DialOptions) (filter.Stream, error) {
	a := to.(filter.IPAddr)
	wait := time.Duration(a.Port()) * time.Millisecond
	if wait > 0 {
		cancel := waiting()
		select {
		case <-time.After(wait):
		case <-time.After(time.Until(deadline)):
			return nil, os.ErrDeadlineExceeded
		case <-cancel:
			return nil, filter.ErrCanceled
		}
	}
	if a.Addr().As4()[2] == 3 {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	return &stream{local: to, closed: func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
	}}, nil
}

func TestHappyEyeballs(t *testing.T) {
	at := func(form string, millis int) net.Addr { return ip(fmt.Sprintf(form, millis)) }
	bad, good := internal("refuses", ""), internal("in", "e")
	for name, x := range map[string]struct {
		addrs  []net.Addr
		want   int // index of the address reached; -1: none
		after  time.Duration
		total  int64 // connections begun
		waits  int
		cancel time.Duration
		err    error
	}{
		"the first, at once":          {[]net.Addr{at(answers, 0), at(answers, 0)}, 0, 0, 1, 0, 0, nil},
		"a refusal goes on at once":   {[]net.Addr{at(refuses, 0), at(answers, 0)}, 1, 0, 2, 0, 0, nil},
		"a late refusal, too":         {[]net.Addr{at(refuses, 100), at(answers, 0)}, 1, 100 * time.Millisecond, 2, 1, 0, nil},
		"silence is given 300 ms":     {[]net.Addr{at(answers, 9999), at(answers, 1)}, 1, 301 * time.Millisecond, 2, 1, 0, nil},
		"the first may still win":     {[]net.Addr{at(answers, 400), at(answers, 500)}, 0, 400 * time.Millisecond, 2, 1, 0, nil},
		"three in a row":              {[]net.Addr{at(answers, 9999), at(answers, 9998), at(answers, 1)}, 2, 601 * time.Millisecond, 3, 1, 0, nil},
		"all refused":                 {[]net.Addr{at(refuses, 0), at(refuses, 1), bad}, -1, time.Millisecond, 3, 1, 0, syscall.ECONNREFUSED},
		"refused one after another":   {[]net.Addr{at(refuses, 400), at(refuses, 400)}, -1, 700 * time.Millisecond, 2, 1, 0, syscall.ECONNREFUSED},
		"time is up for all":          {[]net.Addr{at(answers, 9999), at(answers, 9998)}, -1, 5 * time.Second, 2, 1, 0, filter.ErrConnectTimeout},
		"cancel":                      {[]net.Addr{at(answers, 9999), at(answers, 9998)}, -1, time.Second, 2, 1, time.Second, filter.ErrCanceled},
		"from internal to IP":         {[]net.Addr{bad, at(answers, 0)}, 1, 0, 2, 0, 0, nil},
		"from IP to internal":         {[]net.Addr{at(refuses, 0), good}, 1, 0, 2, 0, 0, nil},
		"from silent IP to internal":  {[]net.Addr{at(answers, 9999), good}, 1, 300 * time.Millisecond, 2, 1, 0, nil},
		"from internal to internal":   {[]net.Addr{bad, bad, good}, 2, 0, 3, 0, 0, nil},
		"internal alone, all refused": {[]net.Addr{bad, bad}, -1, 0, 2, 0, 0, inproc.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dialer := &scripted{}
				network := fakeNetwork(func(d *inproc.Dial) (filter.Stream, error) {
					if d.Addr.Listener == "refuses" {
						return nil, &inproc.RefusedError{Addr: d.Addr, Reason: inproc.ErrClosed}
					}
					d.Dialler.Accepted()
					return nil, nil
				})
				p := cluster("c", x.addrs[0])
				p.Assignment.Localities[0].Endpoints[0].Additional = x.addrs[1:]
				s, c := run(t, Options{Network: network, dial: dialer.dial}, p)
				h := newHop(t)
				r := h.request()
				r.Stream, r.Outer = &stream{}, &outer{}
				if x.cancel > 0 {
					time.AfterFunc(x.cancel, func() { close(h.cancel) })
				}
				begun := time.Now()
				err := s.get(t, "c").Connect(r)
				if took := time.Since(begun); took != x.after {
					t.Errorf("took %v, want %v", took, x.after)
				}
				if !errors.Is(err, x.err) || (err == nil) != (x.want >= 0) {
					t.Errorf("%v", err)
				}
				if x.want >= 0 {
					if h.seen.Remote != x.addrs[x.want] || h.seen.Host.Addr != x.addrs[0] {
						t.Errorf("reached %v as %v", h.seen.Remote, h.seen.Host.Addr)
					}
					if st := h.conn.Stream(); st != nil {
						st.Close()
					}
					h.conn.Closed(true)
				}
				if h.waits != x.waits {
					t.Errorf("Waiting was called %d times, want %d", h.waits, x.waits)
				}
				if dialer.open != 0 {
					t.Errorf("%d streams were left open", dialer.open)
				}
				got := c.of("c")
				fails := int64(0)
				if x.err != nil && !errors.Is(x.err, filter.ErrCanceled) {
					fails = 1
				}
				if got["upstream_cx_total"] != x.total || got["upstream_cx_connect_fail"] != fails || got["upstream_cx_destroy"] != 1 || got["upstream_cx_active"] != 0 {
					t.Errorf("%v", got)
				}
				if n := s.Status()[0].Hosts[0].Host.Total.Load(); n != uint64(x.total) {
					t.Errorf("cx_total of the host %d", n)
				}
			})
		})
	}
}

// With real sockets the loser's descriptors are closed.
func TestHappyEyeballsSockets(t *testing.T) {
	p := cluster("c", dead(t))
	to := echo(t, ip("[::1]:0"))
	p.Assignment.Localities[0].Endpoints[0].Additional = []net.Addr{dead(t), to}
	s, _ := run(t, Options{}, p)
	for range 50 {
		h := newHop(t)
		if err := s.get(t, "c").Connect(h.request()); err != nil {
			t.Fatal(err)
		}
		if h.seen.Remote != to || h.waits != 0 {
			t.Errorf("%+v, %d waits", h.seen, h.waits)
		}
		h.conn.Stream().Close()
		h.conn.Closed(true)
	}
	if got := s.Status()[0].Hosts[0].Host.Additional; !slices.Contains(got, to) {
		t.Error("the host forgot its addresses")
	}
}
