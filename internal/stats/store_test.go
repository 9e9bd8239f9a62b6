package stats_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/internal/stats"
)

func text(t *testing.T, s *stats.Store) string {
	t.Helper()
	var b strings.Builder
	if err := stats.WriteText(&b, s.Snapshot(), stats.BucketsDefault); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSameNameIsSameStat(t *testing.T) {
	s := stats.New(stats.Options{})
	a, b := s.Scope("listener.l."), s.Scope("listener.l")
	if a.Counter("x") != b.Counter("x") || a.Gauge("x") != b.Gauge("x") || a.Text("x") != b.Text("x") ||
		a.Histogram("x", stats.Bytes) != b.Histogram("x", stats.Milliseconds) {
		t.Error("two scopes of one prefix have different stats")
	}
	a.Scope("ssl.").Counter("handshake").Inc()
	a.Counter("ssl.handshake").Add(2)
	if got := text(t, s); !strings.Contains(got, "listener.l.ssl.handshake: 3\n") {
		t.Errorf("a name split in two ways is not one line with the sum:\n%s", got)
	}
}

func TestScopeNamesAreEnvoys(t *testing.T) {
	for prefix, want := range map[string]string{
		"listener.0.0.0.0:8080.":     "listener.0.0.0.0_8080.c",
		"listener.[::1]:80":          "listener.[__1]_80.c",
		"listener./path/sock":        "listener./path/sock.c",
		"cluster.a://b:/c:d/e..":     "cluster.a_b_c_d/e.c",
		"cluster..x.y..z":            "cluster..x.y..z.c",
		"cluster.p://q/:r":           "cluster.p_q/_r.c",
		"cluster.e....":              "cluster.e.c",
		"a\x00b":                     "a_b.c",
		".":                          "c",
		"":                           "c",
		"listener.envoy_internal_in": "listener.envoy_internal_in.c",
	} {
		s := stats.New(stats.Options{})
		s.Scope(prefix).Counter("c.").Inc()
		if got := text(t, s); got != want+": 1\n" {
			t.Errorf("%q: got %q, want %q", prefix, got, want)
		}
	}
}

func TestScopeLifetime(t *testing.T) {
	s := stats.New(stats.Options{})
	old := s.Scope("listener.l.")
	old.Counter("cx").Add(5)
	ssl := old.Scope("ssl.")
	ssl.Counter("hs").Inc()

	back := s.Scope("listener.l.") // comes back while the old one drains
	old.Close()
	old.Close()
	if got := text(t, s); got != "listener.l.cx: 5\n" {
		t.Errorf("after the old scope closed: %q", got)
	}
	back.Counter("cx").Inc()
	if got := text(t, s); got != "listener.l.cx: 6\n" {
		t.Errorf("the count did not continue: %q", got)
	}
	back.Close()
	if got := text(t, s); got != "" {
		t.Errorf("after the last scope closed: %q", got)
	}
	ssl.Counter("hs").Inc() // still allowed
	if got := s.Scope("listener.l.").Counter("cx").Value(); got != 0 {
		t.Errorf("a new scope begins at %d", got)
	}
	if late := old.Scope("x."); late.Counter("y") == nil || text(t, s) != "listener.l.cx: 0\n" {
		t.Error("a scope opened from a closed one is listed")
	}
}

func TestUsedOnlyKeepsWrittenZeros(t *testing.T) {
	s := stats.New(stats.Options{})
	sc := s.Scope("")
	sc.Counter("c.unused")
	sc.Counter("c.zero").Add(0)
	sc.Gauge("g.unused")
	sc.Gauge("g.zero").Set(0)
	sc.Text("t.unused")
	sc.Text("t.empty").Set("")
	sc.Histogram("h.unused", stats.Bytes)
	sc.Histogram("h.zero", stats.Bytes).Record(0)
	s.Flush()
	s.ResetCounters()
	got := get(s, "/stats?usedonly").Body.String()
	for _, name := range []string{"c.zero: 0\n", "g.zero: 0\n", "t.empty: \"\"\n", "h.zero: P0("} {
		if !strings.Contains(got, name) {
			t.Errorf("%q is missing:\n%s", name, got)
		}
	}
	if strings.Contains(got, "unused") {
		t.Errorf("unused stats are shown:\n%s", got)
	}
	if all := text(t, s); !strings.Contains(all, "h.unused: No recorded values\n") {
		t.Errorf("no line for an empty histogram:\n%s", all)
	}
}

func TestUnflushedHistogramIsZeros(t *testing.T) {
	s := stats.New(stats.Options{})
	s.Scope("").Histogram("h", stats.Bytes).Record(5)
	if got := text(t, s); got != "h: No recorded values\n" {
		t.Errorf("before the first flush: %q", got)
	}
	got := get(s, "/stats?format=json").Body.String()
	if !strings.Contains(got, `"values":[{"cumulative":0,"interval":0},`) {
		t.Errorf("before the first flush: %s", got)
	}
}

func TestFlushOnAdmin(t *testing.T) {
	s := stats.New(stats.Options{FlushOnAdmin: true})
	h := s.Scope("").Histogram("h", stats.Bytes)
	h.Record(5)
	if got := get(s, "/stats").Body.String(); !strings.HasPrefix(got, "h: P0(5.05,5.05)") {
		t.Errorf("first answer: %s", got)
	}
	if got := get(s, "/stats").Body.String(); !strings.HasPrefix(got, "h: P0(nan,5.05)") {
		t.Errorf("second answer: %s", got)
	}
}

func TestResetCountersLeavesGauges(t *testing.T) {
	s := stats.New(stats.Options{})
	sc := s.Scope("a.")
	sc.Counter("c").Add(3)
	sc.Gauge("g").Add(7)
	sc.Gauge("g").Sub(3)
	s.ResetCounters()
	if got := text(t, s); got != "a.c: 0\na.g: 4\n" {
		t.Errorf("got %q", got)
	}
}

func TestOnReadSettlesBeforeEveryRead(t *testing.T) {
	s := stats.New(stats.Options{})
	c := s.Scope("").Counter("bytes")
	remove := s.OnRead(func() { c.Add(10) })
	if got := text(t, s); got != "bytes: 10\n" {
		t.Errorf("snapshot: %q", got)
	}
	if got := get(s, "/stats/prometheus").Body.String(); !strings.Contains(got, "envoy_bytes{} 20\n") {
		t.Errorf("prometheus: %q", got)
	}
	remove()
	if got := text(t, s); got != "bytes: 20\n" {
		t.Errorf("after remove: %q", got)
	}
}

func TestRejectedStatsWorkUnlisted(t *testing.T) {
	s := stats.New(stats.Options{Rejects: func(name string) bool { return strings.HasPrefix(name, "no.") }})
	c := s.Scope("no.").Counter("c")
	c.Inc()
	s.Scope("no.").Histogram("h", stats.Percent).Record(1)
	s.Scope("yes.").Counter("c").Inc()
	if got := text(t, s); got != "yes.c: 1\n" || c.Value() != 1 {
		t.Errorf("got %q, value %d", got, c.Value())
	}
}

func TestExtremeSamples(t *testing.T) {
	s := stats.New(stats.Options{})
	h := s.Scope("").Histogram("h", stats.Bytes)
	for _, v := range []uint64{0, 1, 9, 10, 99, 100, math.MaxInt64, math.MaxUint64} {
		h.Record(v)
	}
	s.Flush()
	d := s.Snapshot().Histograms[0].Cumulative
	if d.Count() != 8 || d.CountAtMost(0) != 1 || d.CountAtMost(10) != 4 || d.CountAtMost(100) != 6 {
		t.Errorf("count %d, at most 0: %d, 10: %d, 100: %d", d.Count(), d.CountAtMost(0), d.CountAtMost(10), d.CountAtMost(100))
	}
	if q := d.Quantiles([]float64{1})[0]; q < 9.2e18 || q > 9.3e18 {
		t.Errorf("largest sample %g", q)
	}
}

func TestRecordDuration(t *testing.T) {
	s := stats.New(stats.Options{})
	sc := s.Scope("")
	sc.Histogram("ms", stats.Milliseconds).RecordDuration(70 * time.Millisecond)
	sc.Histogram("us", stats.Microseconds).RecordDuration(70 * time.Millisecond)
	sc.Histogram("neg", stats.Milliseconds).RecordDuration(-time.Second)
	s.Flush()
	got := get(s, "/stats?histogram_buckets=detailed").Body.String()
	for _, want := range []string{"ms:\n  totals=70,1:1", "us:\n  totals=70000,1000:1", "neg:\n  totals=0,0:1"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestConcurrentUse writes from several goroutines while others read, open and
// close; nothing may be lost.
func TestConcurrentUse(t *testing.T) {
	s := stats.New(stats.Options{})
	keep := s.Scope("a.")
	const writers, each = 4, 2000
	var wg, readers sync.WaitGroup
	done := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				s.Flush()
				get(s, "/stats/prometheus")
				get(s, "/stats?format=json&histogram_buckets=detailed")
			}
		}
	})
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				sc := s.Scope("a.")
				sc.Counter("c").Inc()
				sc.Gauge("g").Inc()
				sc.Histogram("h", stats.Bytes).Record(uint64(i * i))
				sc.Scope(fmt.Sprintf("w%d.", w)).Text("t").Set("x")
				sc.Gauge("g").Dec()
				sc.Close()
			}
		})
	}
	wg.Wait()
	close(done)
	readers.Wait()
	s.Flush()
	snap := s.Snapshot()
	if c, g := keep.Counter("c").Value(), keep.Gauge("g").Value(); c != writers*each || g != 0 {
		t.Errorf("counter %d, gauge %d", c, g)
	}
	if n := snap.Histograms[0].Cumulative.Count(); n != writers*each {
		t.Errorf("histogram has %d samples", n)
	}
	if len(snap.Texts) != 0 {
		t.Errorf("%d closed child scopes are listed", len(snap.Texts))
	}
}

func TestWritingAllocatesNothing(t *testing.T) {
	sc := stats.New(stats.Options{}).Scope("")
	c, g, h := sc.Counter("c"), sc.Gauge("g"), sc.Histogram("h", stats.Bytes)
	h.Record(77)
	for what, f := range map[string]func(){
		"Counter.Add": func() { c.Add(3) }, "Gauge.Set": func() { g.Set(3) }, "Histogram.Record": func() { h.Record(42) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

func bigStore() *stats.Store {
	s := stats.New(stats.Options{})
	for i := range 200 {
		sc := s.Scope(fmt.Sprintf("cluster.backend_%d.", i))
		for j := range 100 {
			sc.Counter(fmt.Sprintf("upstream_cx_number_%d", j)).Add(uint64(i * j))
		}
	}
	return s
}

type discard struct{ n int }

func (d *discard) Write(p []byte) (int, error) { d.n += len(p); return len(p), nil }

func BenchmarkCounterInc(b *testing.B) {
	c := stats.New(stats.Options{}).Scope("").Counter("c")
	for b.Loop() {
		c.Inc()
	}
}

func BenchmarkHistogramRecord(b *testing.B) {
	h := stats.New(stats.Options{}).Scope("").Histogram("h", stats.Bytes)
	v := uint64(0)
	for b.Loop() {
		h.Record(v & 0xfffff)
		v += 977
	}
}

func BenchmarkText20k(b *testing.B) {
	s := bigStore()
	b.ReportAllocs()
	for b.Loop() {
		_ = stats.WriteText(&discard{}, s.Snapshot(), stats.BucketsDefault)
	}
}

func BenchmarkPrometheus20k(b *testing.B) {
	s := bigStore()
	b.ReportAllocs()
	for b.Loop() {
		_ = stats.WritePrometheus(&discard{}, s.Snapshot(), stats.BucketsDefault, false)
	}
}
