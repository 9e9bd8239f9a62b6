package resource

import (
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/ginnel/ginnel/internal/stats"
)

// Counts are a subscription's statistics under Envoy's names. What happens before Show is
// counted, too. The zero value is ready for use, by one goroutine at a time.
type Counts struct {
	Attempts, Successes, Failures, Rejections, Reloads uint64

	version           string
	updated, reloaded time.Time

	attempt, success, failure, rejected *stats.Counter
	time, hash                          *stats.Gauge
	text                                *stats.Text
	reloads                             *stats.Counter // nil: not counted
	reloadTime                          *stats.Gauge
}

// Show makes the statistics in a scope.
func (c *Counts) Show(s *stats.Scope) {
	c.attempt, c.success = s.Counter("update_attempt"), s.Counter("update_success")
	c.failure, c.rejected = s.Counter("update_failure"), s.Counter("update_rejected")
	s.Counter("init_fetch_timeout")
	s.Histogram("update_duration", stats.Milliseconds)
	c.time, c.hash, c.text = s.Gauge("update_time"), s.Gauge("version"), s.Text("version_text")
	c.attempt.Add(c.Attempts)
	c.success.Add(c.Successes)
	c.failure.Add(c.Failures)
	c.rejected.Add(c.Rejections)
	c.tell()
}

// ShowReloads makes the statistics of deliveries that changed something, which only some
// subscriptions have.
func (c *Counts) ShowReloads(s *stats.Scope) {
	c.reloads, c.reloadTime = s.Counter("config_reload"), s.Gauge("config_reload_time_ms")
	if c.reloads.Add(c.Reloads); c.Reloads > 0 {
		c.reloadTime.Set(uint64(c.reloaded.UnixMilli()))
	}
}

// Reloaded counts a delivery that changed something, beside what else it counts as.
func (c *Counts) Reloaded() {
	add(&c.Reloads, c.reloads)
	if c.reloaded = time.Now(); c.reloadTime != nil {
		c.reloadTime.Set(uint64(c.reloaded.UnixMilli()))
	}
}

func (c *Counts) tell() {
	if c.Successes > 0 {
		c.time.Set(uint64(c.updated.UnixMilli()))
		c.hash.Set(xxhash.Sum64String(c.version))
		c.text.Set(c.version)
	}
}

// Attempt counts that something came, or should have.
func (c *Counts) Attempt() { add(&c.Attempts, c.attempt) }

// Failed counts what was no delivery at all.
func (c *Counts) Failed() { add(&c.Failures, c.failure) }

// Rejected counts a delivery of which something was wrong.
func (c *Counts) Rejected() { add(&c.Rejections, c.rejected) }

// Success counts a delivery of which nothing was rejected.
func (c *Counts) Success(version string) {
	add(&c.Successes, c.success)
	c.version, c.updated = version, time.Now()
	if c.text != nil {
		c.tell()
	}
}

func add(n *uint64, s *stats.Counter) {
	*n++
	if s != nil {
		s.Add(1)
	}
}
