package hcm

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestIdleOnce: what ends an idle connection is done without the lock, and the clock may
// look again before it is: the limit has struck once.
func TestIdleOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &Config{Limits: limits{idle: time.Minute, drain: 5 * time.Second}}, hello)
		c := r.codec.h.(*conn)
		c.mu.Lock()
		first, again := c.overdue(time.Minute), c.overdue(time.Minute+time.Millisecond)
		c.mu.Unlock()
		if first == nil || again != nil {
			t.Errorf("the limit struck: %v, and again: %v", first != nil, again != nil)
		}
		first()
		<-r.host.ended
		if n := r.stats.value("downstream_cx_idle_timeout"); n != 1 {
			t.Errorf("downstream_cx_idle_timeout = %d", n)
		}
	})
}
