package stats

import "sync/atomic"

// meta is what every stat carries beside its value.
type meta struct {
	used   atomic.Bool
	tagged atomic.Pointer[tagged] // nil: tags were never asked for
}

// touch marks the stat as used. The load keeps the cache line shared.
func (m *meta) touch() {
	if !m.used.Load() {
		m.used.Store(true)
	}
}

// Used reports whether the stat was ever written, be it with 0.
func (m *meta) Used() bool { return m.used.Load() }

// A Counter only grows. The zero value is a working counter that no store lists.
type Counter struct {
	v atomic.Uint64
	meta
}

// Inc adds 1.
func (c *Counter) Inc() { c.Add(1) }

// Add adds n.
func (c *Counter) Add(n uint64) {
	c.v.Add(n)
	c.touch()
}

// Value returns the count.
func (c *Counter) Value() uint64 { return c.v.Load() }

// Reset sets the count to 0; the counter stays used.
func (c *Counter) Reset() { c.v.Store(0) }

// A Gauge goes up and down. The zero value is a working gauge that no store
// lists.
type Gauge struct {
	v atomic.Uint64
	meta
}

// Inc adds 1.
func (g *Gauge) Inc() { g.Add(1) }

// Dec takes 1 away.
func (g *Gauge) Dec() { g.Sub(1) }

// Add adds n.
func (g *Gauge) Add(n uint64) {
	g.v.Add(n)
	g.touch()
}

// Sub takes n away, which must have been added before: gauges are unsigned, as
// Envoy's are.
func (g *Gauge) Sub(n uint64) {
	g.v.Add(-n)
	g.touch()
}

// Set replaces the value.
func (g *Gauge) Set(n uint64) {
	g.v.Store(n)
	g.touch()
}

// Value returns the current value.
func (g *Gauge) Value() uint64 { return g.v.Load() }

// A Text is a readout of a string, such as the version of a configuration. The
// zero value is a working one that no store lists.
type Text struct {
	v atomic.Pointer[string]
	meta
}

// Set replaces the text.
func (t *Text) Set(s string) {
	t.v.Store(&s)
	t.touch()
}

// Value returns the text.
func (t *Text) Value() string {
	if p := t.v.Load(); p != nil {
		return *p
	}
	return ""
}
