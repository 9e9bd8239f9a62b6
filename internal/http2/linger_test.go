package http2

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// TestDelayedClose: a client that has not closed its side in time, or not taken what it
// was told, is counted.
func TestDelayedClose(t *testing.T) {
	for name, of := range map[string]struct {
		delay  time.Duration
		client func(*peer)
		took   time.Duration
		struck int
	}{
		"closes":      {time.Minute, func(p *peer) { p.next(); time.Sleep(time.Second); p.nc.Close() }, time.Second, 0},
		"stays":       {time.Minute, func(*peer) {}, time.Minute, 1},
		"sends":       {time.Minute, func(p *peer) { time.Sleep(time.Second); p.get(3) }, time.Minute, 1},
		"reads never": {time.Minute, func(p *peer) { p.nc.Write(make([]byte, 1)) }, time.Minute, 1},
		"no delay":    {-1, func(*peer) {}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				struck := 0
				o := &ServerOptions{Options: Options{DelayedClose: of.delay, DelayedCloseStruck: func() { struck++ }}}
				pipes := pipe.Options{}
				if name == "reads never" {
					pipes.ToClientLimitBytes = 1 // the first write is taken, no other
				}
				_, p, served := serve(t, pipes, o, &handler{answer: readThenAnswer})
				_ = p.nc.SetDeadline(time.Time{})
				synctest.Wait()
				begun := time.Now()
				_ = p.fr.WriteData(7, true, nil) // on a stream that was never opened
				of.client(p)
				if <-served == nil {
					t.Error("ended in order")
				}
				if took := time.Since(begun); took != of.took || struck != of.struck {
					t.Errorf("took %v, counted %d times", took, struck)
				}
				_ = p.nc.Close()
			})
		})
	}
}
