package dnscache

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/dns/testdns"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats"
)

// A witness is a Watcher.
type witness struct {
	cache *Cache
	seen  []string
}

func (w *witness) Found(h *Host) {
	text := h.Name
	for _, a := range h.Addrs() {
		text += " " + a.String()
	}
	w.seen = append(w.seen, text)
}
func (w *witness) Gone(h *Host) { w.seen = append(w.seen, h.Name+" gone") }

// told returns what it was told since the last time.
func (w *witness) told() []string {
	w.cache.mu.Lock()
	defer w.cache.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

func start(t *testing.T, d *testdns.Directory, change func(*plan.DNSCache)) (*Cache, *witness, *stats.Store) {
	t.Helper()
	p := &plan.DNSCache{
		Name: "c", Refresh: time.Minute, LeastRefresh: 5 * time.Second, HostTTL: 5 * time.Minute,
		QueryTimeout: 5 * time.Second, MaxHosts: 1024, MaxPending: 1024,
	}
	if change != nil {
		change(p)
	}
	store := stats.New(stats.Options{})
	all := New(scope{store.Scope("")}, func(plan.NameServers) Lookup { return d.Lookup })
	t.Cleanup(all.Close)
	c := all.Get(p)
	w := &witness{cache: c}
	c.Watch(w)
	return c, w, store
}

// scope makes the store's scopes those of package filter.
type scope struct{ in *stats.Scope }

func (s scope) Scope(prefix string) filter.Scope   { return scope{s.in.Scope(prefix)} }
func (s scope) Counter(name string) filter.Counter { return s.in.Counter(name) }
func (s scope) Gauge(name string) filter.Gauge     { return up{s.in.Gauge(name)} }
func (s scope) Histogram(name string) filter.Histogram {
	return s.in.Histogram(name, stats.Unspecified)
}

func (s scope) Close() { s.in.Close() }

type up struct{ *stats.Gauge }

func (g up) Add(n int64) { g.Gauge.Add(uint64(n)) }

// gauge returns a gauge, if it is listed.
func gauge(s *stats.Store, name string) (uint64, bool) {
	for _, g := range s.Snapshot().Gauges {
		if g.Name == name {
			return g.Value, true
		}
	}
	return 0, false
}

// patient waits for as long as it takes.
func patient() Wait { return Wait{Begins: func() <-chan struct{} { return nil }} }

func TestResolve(t *testing.T) {
	for _, test := range []struct {
		name, asked string
		change      func(*plan.DNSCache)
		found       []string
		details     string
	}{
		{name: "all addresses", asked: "a:80", found: []string{"a:80 10.0.0.1:80 [2001:db8::1]:80"}},
		{name: "no such name", asked: "none:80", details: "cares_norecords:Domain name not found"},
		{name: "no address", asked: "empty:80", details: "cares_norecords:DNS server returned answer with no data"},
		{name: "an IPv6 address of IPv4 alone", asked: "[::1]:80", change: func(p *plan.DNSCache) { p.Family = plan.V4Only },
			details: "cares_failure:Misformatted domain name"},
		{name: "some filtered", asked: "a:80", change: func(p *plan.DNSCache) { p.Filtered = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} },
			found: []string{"a:80 [2001:db8::1]:80"}},
		{name: "others filtered", asked: "a:80", change: func(p *plan.DNSCache) {
			p.Filtered, p.FilteredOther = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, true
		}, found: []string{"a:80 10.0.0.1:80"}},
		{name: "all filtered", asked: "a:80", change: func(p *plan.DNSCache) {
			p.Filtered = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
		}, details: "address_denied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &testdns.Directory{Addrs: map[string][]string{"a": {"10.0.0.1", "2001:db8::1"}, "empty": {}}}
			c, w, _ := start(t, d, test.change)
			_, err := c.Resolve(test.asked, patient())
			var failed *FailedError
			switch {
			case test.details == "" && err != nil:
				t.Errorf("got %v", err)
			case test.details != "" && (!errors.As(err, &failed) || failed.Details != test.details):
				t.Errorf("got %v, want %s", err, test.details)
			}
			if diff := cmp.Diff(test.found, w.told()); diff != "" {
				t.Errorf("the watcher was told otherwise: %s", diff)
			}
		})
	}
}

// A host is looked up when its answer is over, however short that was, and forgotten when
// nobody asks for it any more.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testdns.Directory{TTL: 30 * time.Second, Addrs: map[string][]string{"a": {"10.0.0.1"}}}
		c, w, _ := start(t, d, nil)
		defer c.close()
		if _, err := c.Resolve("a:80", patient()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(29 * time.Second)
		if n := d.Since(); n != 1 {
			t.Errorf("asked %d times before the answer was over", n)
		}
		d.Set(func() { d.TTL, d.Addrs["a"] = time.Second, []string{"10.0.0.2"} })
		time.Sleep(5 * time.Second) // at 34
		if n := d.Since(); n != 1 {
			t.Errorf("asked %d times in 4 seconds", n)
		}
		w.told()
		d.Set(func() { d.Down = true })
		time.Sleep(40 * time.Second) // failures have the usual rate: 35, 95
		if n := d.Since(); n != 1 {
			t.Errorf("asked %d times while it failed", n)
		}
		if h, err := c.Resolve("a:80", patient()); err != nil || h.Addr().String() != "10.0.0.2:80" {
			t.Errorf("%v, %v after a failure", h, err)
		}
		// At 74 it was asked for last; at 395 it is over.
		time.Sleep(300 * time.Second)
		if got := w.told(); got != nil {
			t.Errorf("told %q too early", got)
		}
		time.Sleep(60 * time.Second)
		if diff := cmp.Diff([]string{"a:80 gone"}, w.told()); diff != "" {
			t.Error(diff)
		}
		d.Since()
		time.Sleep(time.Hour)
		if n := d.Since(); n != 0 {
			t.Errorf("asked %d times for what is forgotten", n)
		}
	})
}

// The same addresses in another order are no change.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testdns.Directory{TTL: 10 * time.Second, Addrs: map[string][]string{"a": {"10.0.0.1", "10.0.0.2"}}}
		c, w, _ := start(t, d, nil)
		defer c.close()
		if _, err := c.Resolve("a:80", patient()); err != nil {
			t.Fatal(err)
		}
		w.told()
		d.Set(func() { d.Addrs["a"] = []string{"10.0.0.2", "10.0.0.1"} })
		time.Sleep(time.Minute)
		if got := w.told(); got != nil {
			t.Errorf("told of %q", got)
		}
	})
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testdns.Directory{Down: true}
		c, _, _ := start(t, d, func(p *plan.DNSCache) { p.FailBase, p.FailMax = time.Second, time.Second })
		defer c.close()
		c.Resolve("a:80", patient())
		time.Sleep(51 * time.Second)
		if n := d.Since(); n != 11 { // no faster than dns_min_refresh_rate
			t.Errorf("asked %d times", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := &testdns.Directory{Down: true}
		c, _, _ := start(t, d, func(p *plan.DNSCache) { p.ForgetFailed = true })
		defer c.close()
		c.Resolve("a:80", patient())
		time.Sleep(4 * time.Minute)
		if n := d.Since(); n != 1 {
			t.Errorf("asked %d times where failures are to be forgotten", n)
		}
		d.Set(func() { d.Down, d.Addrs = false, map[string][]string{"a": {"10.0.0.1"}} })
		if _, err := c.Resolve("a:80", patient()); err != nil {
			t.Errorf("not looked up again: %v", err)
		}
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testdns.Directory{Addrs: map[string][]string{"a": {"10.0.0.1"}}}
		c, _, _ := start(t, d, func(p *plan.DNSCache) { p.MaxHosts, p.MaxPending, p.QueryTimeout = 2, 1, time.Minute })
		defer c.close()
		c.Resolve("a:80", patient())
		d.Set(func() { d.Slow = time.Hour })
		cancel := make(chan struct{})
		result := make(chan error)
		go func() {
			_, err := c.Resolve("slow:80", Wait{Begins: func() <-chan struct{} { return cancel }})
			result <- err
		}()
		synctest.Wait()
		if _, err := c.Resolve("a:80", patient()); err != ErrPending {
			t.Errorf("%v while another lookup is waited for", err)
		}
		close(cancel)
		if err := <-result; err != filter.ErrCanceled {
			t.Errorf("who gave up got %v", err)
		}
		if _, err := c.Resolve("a:80", patient()); err != nil {
			t.Error(err)
		}
		if _, err := c.Resolve("b:80", patient()); err != ErrFull {
			t.Errorf("%v for the third host", err)
		}
		if _, err := c.Resolve("slow:80", Wait{Begins: patient().Begins, Until: time.Now().Add(time.Second)}); err != filter.ErrCanceled {
			t.Errorf("%v after the time was over", err)
		}
		var failed *FailedError
		if _, err := c.Resolve("slow:80", patient()); !errors.As(err, &failed) || failed.Details != "resolve_timeout" {
			t.Errorf("%v for what is not answered", err)
		}
	})
}

// Whoever waits when the proxy ends is let go, and nothing runs on.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testdns.Directory{Slow: time.Hour}
		c, _, _ := start(t, d, nil)
		result := make(chan error)
		go func() {
			_, err := c.Resolve("a:80", patient())
			result <- err
		}()
		synctest.Wait()
		c.close()
		if err := <-result; err != filter.ErrCanceled {
			t.Errorf("got %v", err)
		}
		if _, err := c.Resolve("b:80", patient()); err != filter.ErrCanceled {
			t.Errorf("got %v after the end", err)
		}
	})
}

// Statistics are listed while there is something to tell of.
func TestShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testdns.Directory{TTL: time.Second, Addrs: map[string][]string{"a": {"10.0.0.1"}, "pre": {"10.0.0.2"}}}
		c, w, store := start(t, d, func(p *plan.DNSCache) {
			p.HostTTL, p.Preresolve = 10*time.Second, []string{"pre:1"}
		})
		defer c.close()
		shown := func() bool { _, ok := gauge(store, "dns_cache.c.num_hosts"); return ok }
		synctest.Wait()
		if n, _ := gauge(store, "dns_cache.c.num_hosts"); n != 1 {
			t.Errorf("%d hosts at the start", n)
		}
		c.Resolve("a:80", patient())
		c.Unwatch(w)
		if !shown() {
			t.Error("no statistics while there are hosts")
		}
		time.Sleep(time.Minute)
		if shown() {
			t.Error("statistics of a cache that nobody uses")
		}
		c.Resolve("a:80", patient())
		if n, _ := gauge(store, "dns_cache.c.num_hosts"); n != 1 {
			t.Errorf("%d hosts afterwards", n)
		}
	})
}

func TestName(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"a", "a:80"}, {"a:1", "a:1"}, {"a:", "a::80"}, {"a:x", "a:x:80"}, {"a:65536", "a:65536:80"},
		{"[::1]", "[::1]:80"}, {"[::1]:1", "[::1]:1"}, {"10.0.0.1:1", "10.0.0.1:1"}, {"A.b", "A.b:80"},
	} {
		if got := Name(test.in, 80); got != test.want {
			t.Errorf("%s is %s, want %s", test.in, got, test.want)
		}
	}
}
