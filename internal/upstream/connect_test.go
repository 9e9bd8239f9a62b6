package upstream

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/plan"
)

// A cluster has the statistics of Envoy from the start, all of them.
func TestStatNames(t *testing.T) {
	text, err := os.ReadFile("testdata/stats.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if kind, name, _ := strings.Cut(strings.TrimSpace(line), " "); kind != "#" {
			want[name] = kind
		}
	}
	_, c := run(t, Options{}, cluster("c", ip("127.0.0.1:1")))
	got := make(map[string]string)
	for name, kind := range c.all.kinds {
		if n, ok := strings.CutPrefix(name, "cluster.c."); ok {
			got[n] = kind
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-Envoy +got):\n%s", d)
	}
}

// Bytes flow, the log knows where to, and the statistics are those that Envoy moved
// for the same connection.
func TestConnection(t *testing.T) {
	for name, a := range map[string]net.Addr{
		"IPv4": ip("127.0.0.1:0"), "IPv6": ip("[::1]:0"),
		"Unix": filter.UnixAddr{Path: filepath.Join(t.TempDir(), "s")}, "abstract": filter.UnixAddr{Path: "@" + t.Name()},
	} {
		t.Run(name, func(t *testing.T) {
			to := echo(t, a)
			s, c := run(t, Options{}, cluster("c", to))
			h := newHop(t)
			if err := s.get(t, "c").Connect(h.request()); err != nil {
				t.Fatal(err)
			}
			stream := h.conn.Stream()
			if _, err := stream.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 10)
			if n, err := stream.Read(buf); string(buf[:n]) != "hello" {
				t.Errorf("%q, %v", buf[:n], err)
			}
			up := h.seen
			if up.Host.Addr != to || up.Remote != to || h.info.UpAttempts != 1 || up.ID == 0 || up.Ready < up.Begun {
				t.Errorf("%+v", up)
			}
			want := stream.LocalAddr()
			if a.Network() == "unix" {
				want = nil // Envoy prints -
			}
			if up.Local != want {
				t.Errorf("local address %v, want %v", up.Local, want)
			}
			if h.waits != 0 {
				t.Error("waited for the loopback interface")
			}
			h.conn.Moved(5, 0)
			h.conn.Moved(0, 5)
			open := map[string]int64{
				"upstream_cx_total": 1, "upstream_cx_active": 1, "upstream_cx_connect_ms": 1,
				"upstream_cx_rx_bytes_total": 5, "upstream_cx_tx_bytes_total": 5,
				"upstream_rq_total": 1, "upstream_rq_active": 1, "upstream_rq_pending_total": 1,
			}
			wantCounts(t, "open", c.of("c"), open)
			stream.Close()
			h.conn.Closed(false)
			maps.DeleteFunc(open, func(name string, _ int64) bool { return strings.HasSuffix(name, "_active") })
			maps.Copy(open, map[string]int64{
				"upstream_cx_destroy": 1, "upstream_cx_destroy_remote": 1, "upstream_cx_length_ms": 1,
				"upstream_cx_destroy_with_active_rq": 1, "upstream_cx_destroy_remote_with_active_rq": 1,
			})
			wantCounts(t, "closed", c.of("c"), open)
			host := s.Status()[0].Hosts[0]
			if host.Host.Active.Load() != 0 || host.Host.Total.Load() != 1 || host.RequestsTotal != 1 || host.RequestsActive != 0 {
				t.Errorf("%+v", &host)
			}
		})
	}
}

// TestLocalAddressOfWhatNobodyPrints: a system call for nothing.
func TestLocalAddressOfWhatNobodyPrints(t *testing.T) {
	s, _ := run(t, Options{}, cluster("c", echo(t, ip("127.0.0.1:0"))))
	h := newHop(t)
	h.info.Shown = false
	if err := s.get(t, "c").Connect(h.request()); err != nil {
		t.Fatal(err)
	}
	defer h.conn.Stream().Close()
	if up := h.seen; up.Local != nil || up.Remote == nil {
		t.Errorf("connected from %v to %v", up.Local, up.Remote)
	}
	h.conn.Closed(true)
}

// The source address and keep-alive are for IP hosts; others do without.
func TestSource(t *testing.T) {
	for name, a := range map[string]net.Addr{"IP": ip("127.0.0.1:0"), "Unix": filter.UnixAddr{Path: "@" + t.Name()}} {
		p := cluster("c", echo(t, a))
		p.Bind = &plan.BindConfig{Sources: []plan.BindSource{{Addr: ip("127.0.0.9:0").(filter.IPAddr).AddrPort}}}
		p.Keepalive = &plan.Keepalive{Probes: 3, Time: time.Minute, Interval: time.Second}
		s, _ := run(t, Options{}, p)
		h := newHop(t)
		if err := s.get(t, "c").Connect(h.request()); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if local, ok := filter.IP(h.seen.Local); ok && local.Addr().String() != "127.0.0.9" {
			t.Errorf("%s: from %v", name, local)
		}
		h.conn.Stream().Close()
		h.conn.Closed(true)
	}
}

func TestClosedHere(t *testing.T) {
	s, c := run(t, Options{}, cluster("c", echo(t, ip("127.0.0.1:0"))))
	h := newHop(t)
	if err := s.get(t, "c").Connect(h.request()); err != nil {
		t.Fatal(err)
	}
	h.conn.Stream().Close()
	h.conn.Closed(true)
	got := c.of("c")
	for _, name := range []string{
		"upstream_cx_destroy", "upstream_cx_destroy_local",
		"upstream_cx_destroy_with_active_rq", "upstream_cx_destroy_local_with_active_rq",
	} {
		if got[name] != 1 {
			t.Errorf("%s is %d", name, got[name])
		}
	}
	if got["upstream_cx_destroy_remote"] != 0 {
		t.Error("the host closed it")
	}
}

func TestFlowControlCounts(t *testing.T) {
	s, c := run(t, Options{}, cluster("c", echo(t, ip("127.0.0.1:0"))))
	h := newHop(t)
	if err := s.get(t, "c").Connect(h.request()); err != nil {
		t.Fatal(err)
	}
	defer h.conn.Closed(true)
	defer h.conn.Stream().Close()
	h.conn.Flow(true)
	h.conn.Flow(false)
	h.conn.Flow(true)
	got := c.of("c")
	if got["upstream_flow_control_paused_reading_total"] != 2 || got["upstream_flow_control_resumed_reading_total"] != 1 {
		t.Error(got)
	}
}

// failedCounts is what Envoy moves for a connection that failed, by who gave up.
func failedCounts(side string, more ...string) map[string]int64 {
	m := map[string]int64{
		"upstream_cx_total": 1, "upstream_cx_connect_fail": 1, "upstream_cx_destroy": 1, "upstream_cx_length_ms": 1,
		"upstream_rq_pending_total": 1, "upstream_rq_pending_failure_eject": 1,
	}
	m["upstream_cx_destroy_"+side] = 1
	for _, name := range more {
		m[name] = 1
	}
	return m
}

func TestRefused(t *testing.T) {
	gone := dead(t)
	nowhere := filter.UnixAddr{Path: filepath.Join(t.TempDir(), "nope")}
	bound := cluster("c", gone)
	bound.Bind = &plan.BindConfig{Sources: []plan.BindSource{{Addr: ip("192.0.2.1:0").(filter.IPAddr).AddrPort}}}
	wrong := cluster("c", gone)
	wrong.Bind = &plan.BindConfig{Sources: []plan.BindSource{{Addr: ip("[::1]:0").(filter.IPAddr).AddrPort}}}
	for name, x := range map[string]struct {
		plan   *plan.Cluster
		reason string
		want   map[string]int64
	}{
		"TCP":  {cluster("c", gone), "delayed connect error: Connection refused", failedCounts("remote")},
		"Unix": {cluster("c", nowhere), "immediate connect error: No such file or directory|remote address:" + nowhere.Path, failedCounts("remote")},
		"source": {bound, "failed to bind to 192.0.2.1:0: Cannot assign requested address",
			failedCounts("local", "bind_errors")},
		"source of another family": {wrong, "failed to bind to [::1]:0: Address family not supported by protocol",
			failedCounts("local", "bind_errors")},
		"internal": {cluster("c", internal("in", "e")),
			"immediate connect error: Invalid argument|remote address:envoy://in/e", failedCounts("remote")},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := run(t, Options{Network: inproc.New(inproc.Options{})}, x.plan)
			h := newHop(t)
			err := s.get(t, "c").Connect(h.request())
			var ce *filter.ConnectError
			if !errors.As(err, &ce) || !strings.HasPrefix(err.Error(), x.reason) || h.info.Rest().UpFailure != err.Error() {
				t.Errorf("error %q, reason %q, want %q", err, h.info.Rest().UpFailure, x.reason)
			}
			if up := h.info.Up; up.Host == nil || up.Remote != nil || up.Local != nil || h.info.UpAttempts != 1 || up.ID != 0 {
				t.Errorf("%+v", up)
			}
			if h.waits != 0 {
				t.Error("a refusal that is known at once is no reason to wait")
			}
			wantCounts(t, "refused", c.of("c"), x.want)
			if n := s.Status()[0].Hosts[0].Host.ConnectFail.Load(); n != 1 {
				t.Errorf("cx_connect_fail %d", n)
			}
		})
	}
}

// blackhole is a dialer that never gets an answer.
func blackhole(_ net.Addr, deadline time.Time, waiting func() <-chan struct{}, _ netconn.DialOptions) (filter.Stream, error) {
	cancel := waiting()
	var late <-chan time.Time
	if !deadline.IsZero() {
		late = time.After(time.Until(deadline))
	}
	select {
	case <-late:
		return nil, os.ErrDeadlineExceeded
	case <-cancel:
		return nil, filter.ErrCanceled
	}
}

func TestTimeouts(t *testing.T) {
	for name, x := range map[string]struct {
		asker  time.Duration // 0: none
		cancel time.Duration // 0: never
		want   time.Duration
		err    error
		counts map[string]int64
		host   bool // logged as the upstream host
	}{
		"of the cluster": {0, 0, 5 * time.Second, filter.ErrConnectTimeout,
			failedCounts("local", "upstream_cx_connect_timeout"), true},
		"of the cluster first": {6 * time.Second, 0, 5 * time.Second, filter.ErrConnectTimeout,
			failedCounts("local", "upstream_cx_connect_timeout"), true},
		"of the asker": {time.Second, 0, time.Second, filter.ErrConnectTimeout, canceledCounts, false},
		"cancel":       {0, 2 * time.Second, 2 * time.Second, filter.ErrCanceled, canceledCounts, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c := run(t, Options{dial: blackhole}, cluster("c", ip("192.0.2.1:1")))
				h := newHop(t)
				r := h.request()
				if x.asker > 0 {
					h.deadline = time.Now().Add(x.asker)
				}
				if x.cancel > 0 {
					time.AfterFunc(x.cancel, func() { close(h.cancel) })
				}
				begun := time.Now()
				err := s.get(t, "c").Connect(r)
				if took := time.Since(begun); !errors.Is(err, x.err) || took != x.want {
					t.Errorf("%v after %v, want %v after %v", err, took, x.err, x.want)
				}
				if h.waits != 1 {
					t.Errorf("Waiting was called %d times", h.waits)
				}
				if h.info.Rest().UpFailure != "" {
					t.Errorf("reason %q; Envoy gives none", h.info.Rest().UpFailure)
				}
				if got := h.info.Up.Host != nil; got != x.host {
					t.Errorf("upstream host logged: %v", got)
				}
				wantCounts(t, name, c.of("c"), x.counts)
			})
		})
	}
}

var canceledCounts = map[string]int64{
	"upstream_cx_total": 1, "upstream_cx_destroy": 1, "upstream_cx_destroy_local": 1, "upstream_cx_length_ms": 1,
	"upstream_rq_pending_total": 1, "upstream_rq_cancelled": 1,
}

// A retry takes up the connection's log where the last attempt left it.
func TestRetryIsLogged(t *testing.T) {
	gone, to := dead(t), echo(t, ip("127.0.0.1:0"))
	s, _ := run(t, Options{}, cluster("c", gone, to))
	x, h := s.get(t, "c"), newHop(t)
	err := x.Connect(h.request())
	if err == nil { // the rotation began with the one that lives
		h.conn.Stream().Close()
		h.conn.Closed(true)
		h = newHop(t)
		err = x.Connect(h.request())
	}
	if err == nil {
		t.Fatal("both hosts live")
	}
	if err := x.Connect(h.request()); err != nil {
		t.Fatal(err)
	}
	defer h.conn.Closed(true)
	defer h.conn.Stream().Close()
	var tried []string
	for _, host := range h.info.Rest().UpTried {
		tried = append(tried, host.Addr.String())
	}
	if want := []string{gone.String(), to.String()}; !slices.Equal(tried, want) {
		t.Errorf("tried %v, want %v", tried, want)
	}
	if h.info.UpAttempts != 2 || h.info.Up.Host.Addr != to {
		t.Errorf("%+v", h.info.Up)
	}
	// Envoy keeps the reason of the failed attempt.
	if got := h.info.Rest().UpFailure; got != "delayed connect error: Connection refused" {
		t.Error(got)
	}
}

func TestAttemptsExceeded(t *testing.T) {
	s, c := run(t, Options{}, cluster("c"))
	s.get(t, "c").AttemptsExceeded()
	wantCounts(t, "exceeded", c.of("c"), map[string]int64{"upstream_cx_connect_attempts_exceeded": 1})
}

// Many connections at once: nothing is lost, nothing is left over.
func TestConcurrentConnections(t *testing.T) {
	p := cluster("c", echo(t, ip("127.0.0.1:0")), dead(t))
	p.LB.Policy = plan.LeastRequest
	p.Breakers[0].MaxConnections = 5
	s, c := run(t, Options{}, p)
	x := s.get(t, "c")
	done := make(chan [3]int)
	for range 8 {
		go func() {
			var n [3]int
			for range 100 {
				h := newHop(t)
				switch err := x.Connect(h.request()); {
				case err == nil:
					n[0]++
					h.conn.Stream().Close()
					h.conn.Closed(true)
				case errors.Is(err, filter.ErrOverflow):
					n[1]++
				default:
					n[2]++
				}
			}
			done <- n
		}()
	}
	var sum [3]int
	for range 8 {
		n := <-done
		for i := range n {
			sum[i] += n[i]
		}
	}
	got := c.of("c")
	for name, want := range map[string]int{
		"upstream_rq_total": sum[0], "upstream_cx_overflow": sum[1], "upstream_cx_connect_fail": sum[2],
		"upstream_cx_total": sum[0] + sum[2], "upstream_cx_destroy": sum[0] + sum[2],
		"upstream_cx_active": 0, "upstream_rq_active": 0, "upstream_rq_pending_active": 0,
		"circuit_breakers.default.cx_open": 0,
	} {
		if got[name] != int64(want) {
			t.Errorf("%s is %d, want %d", name, got[name], want)
		}
	}
	for _, st := range s.Status()[0].Hosts {
		if n := st.Host.Active.Load(); n != 0 {
			t.Error(fmt.Sprint(st.Host.Addr, " has ", n, " connections left"))
		}
	}
}
