package discovery

import (
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/ginnel/ginnel/internal/stats"
)

// counts are a source's statistics under Envoy's names. What happens before show is
// counted, too. Guarded by Config.mu.
type counts struct {
	attempts, successes, failures, rejections uint64
	version                                   string
	updated                                   time.Time

	attemptStat, successStat, failureStat, rejectedStat *stats.Counter
	timeStat, versionStat                               *stats.Gauge
	text                                                *stats.Text
}

// show makes the statistics.
func (c *counts) show(store *stats.Store, k Kind) {
	s := store.Scope([...]string{"cluster_manager.cds.", "listener_manager.lds."}[k])
	c.attemptStat, c.successStat = s.Counter("update_attempt"), s.Counter("update_success")
	c.failureStat, c.rejectedStat = s.Counter("update_failure"), s.Counter("update_rejected")
	s.Counter("init_fetch_timeout")
	s.Histogram("update_duration", stats.Milliseconds)
	c.timeStat, c.versionStat, c.text = s.Gauge("update_time"), s.Gauge("version"), s.Text("version_text")
	c.attemptStat.Add(c.attempts)
	c.successStat.Add(c.successes)
	c.failureStat.Add(c.failures)
	c.rejectedStat.Add(c.rejections)
	if c.successes > 0 {
		c.tell()
	}
}

func (c *counts) tell() {
	c.timeStat.Set(uint64(c.updated.UnixMilli()))
	c.versionStat.Set(xxhash.Sum64String(c.version))
	c.text.Set(c.version)
}

func (c *counts) attempt()  { add(&c.attempts, c.attemptStat) }
func (c *counts) failed()   { add(&c.failures, c.failureStat) }
func (c *counts) rejected() { add(&c.rejections, c.rejectedStat) }

// success counts a delivery of which nothing was rejected.
func (c *counts) success(version string) {
	add(&c.successes, c.successStat)
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
