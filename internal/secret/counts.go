package secret

import (
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/ginnel/ginnel/internal/stats"
)

// counts are the statistics of one secret, under Envoy's names.
type counts struct {
	scope                                                *stats.Scope
	attempts, successes, failures, rejections, rotations *stats.Counter
	time, version                                        *stats.Gauge
	text                                                 *stats.Text
}

func newCounts(s *stats.Scope) *counts {
	s.Counter("init_fetch_timeout") // a file is there at once
	s.Histogram("update_duration", stats.Milliseconds)
	return &counts{
		scope:    s,
		attempts: s.Counter("update_attempt"), successes: s.Counter("update_success"),
		failures: s.Counter("update_failure"), rejections: s.Counter("update_rejected"),
		rotations: s.Counter("key_rotation_failed"),
		time:      s.Gauge("update_time"), version: s.Gauge("version"), text: s.Text("version_text"),
	}
}

func (c *counts) success(version string, at time.Time) {
	c.successes.Add(1)
	c.time.Set(uint64(at.UnixMilli()))
	c.version.Set(xxhash.Sum64String(version))
	c.text.Set(version)
}

func (c *counts) close() { c.scope.Close() }

func compare(a, b State) int { return strings.Compare(a.Name, b.Name) }
