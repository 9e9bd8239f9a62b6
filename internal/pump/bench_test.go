package pump

import (
	"io"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
	"golang.org/x/sys/unix"
)

// quiet is a hop that only counts.
type quiet struct {
	outer filter.Outer
	done  chan struct{}
}

func (q *quiet) Outer() filter.Outer         { return q.outer }
func (q *quiet) Limits() filter.Limits       { return filter.Limits{Idle: time.Hour, BufferBytes: 1 << 20} }
func (q *quiet) Serves(filter.Pump)          {}
func (q *quiet) Moved(up, down uint64)       {}
func (q *quiet) Flow(filter.Direction, bool) {}
func (q *quiet) Ended(filter.Ending)         { q.done <- struct{}{} }
func newQuiet() *quiet                       { return &quiet{done: make(chan struct{}, 1)} }
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// copies is what the pump is measured against.
func copies(down, up filter.Stream) (wait func()) {
	var wg sync.WaitGroup
	d, u := netConn(down), netConn(up)
	wg.Go(func() { io.Copy(u, d); up.CloseWrite() })
	wg.Go(func() { io.Copy(d, u); down.CloseWrite() })
	return func() { wg.Wait(); down.Close(); up.Close() }
}

// netConn hides all but Read and Write, so that io.Copy copies through its buffer.
func netConn(s filter.Stream) io.ReadWriter { return struct{ io.ReadWriter }{s} }

func pumped(down, up filter.Stream) (wait func()) { return pumpedIn(new(Group), down, up) }

func pumpedByLoop(down, up filter.Stream) (wait func()) {
	return pumpedIn(&Group{Loops: 1}, down, up)
}

func pumpedIn(g *Group, down, up filter.Stream) (wait func()) {
	q := newQuiet()
	g.Start(down, up, q, nil)
	return func() { <-q.done; g.Wait() }
}

func eachPump(b *testing.B, f func(b *testing.B, down, up string, run func(down, up filter.Stream) func())) {
	b.Run("io.Copy/socket-socket", func(b *testing.B) { f(b, "socket", "socket", copies) })
	for _, down := range kinds {
		for _, up := range kinds {
			b.Run("pump/"+down+"-"+up, func(b *testing.B) { f(b, down, up, pumped) })
		}
	}
	b.Run("pump/"+looped, func(b *testing.B) { f(b, looped, looped, pumpedByLoop) })
}

// BenchmarkBulk includes the sender and the receiver in its CPU time.
func BenchmarkBulk(b *testing.B) {
	eachPump(b, func(b *testing.B, down, up string, run func(down, up filter.Stream) func()) {
		d, client := open(b, down)
		u, host := open(b, up)
		wait := run(d, u)
		piece := make([]byte, 256<<10)
		b.SetBytes(int64(len(piece)))
		before := cpu()
		var wg sync.WaitGroup
		wg.Go(func() {
			buf := make([]byte, 256<<10)
			for {
				if _, err := host.Read(buf); err != nil {
					break
				}
			}
			host.Close()
		})
		for b.Loop() {
			client.Write(piece)
		}
		client.CloseWrite()
		wg.Wait()
		b.ReportMetric((cpu()-before).Seconds()/(float64(b.N)*float64(len(piece))/1e9), "CPU-s/GB")
		client.Close()
		wait()
	})
}

func BenchmarkPingPong(b *testing.B) {
	eachPump(b, func(b *testing.B, down, up string, run func(down, up filter.Stream) func()) {
		d, client := open(b, down)
		u, host := open(b, up)
		wait := run(d, u)
		var wg sync.WaitGroup
		wg.Go(func() {
			buf := make([]byte, 64)
			for {
				n, err := host.Read(buf)
				if err != nil {
					break
				}
				host.Write(buf[:n])
			}
			host.Close()
		})
		buf := make([]byte, 1)
		b.ReportAllocs()
		before := cpu()
		for b.Loop() {
			client.Write(buf)
			client.Read(buf)
		}
		b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N), "CPU-ns/op")
		client.CloseWrite()
		wg.Wait()
		client.Close()
		wait()
	})
}

// BenchmarkConnection is what a pump costs from Start to Ended, without the streams.
func BenchmarkConnection(b *testing.B) {
	for _, kind := range append([]string{looped}, kinds...) {
		b.Run(kind, func(b *testing.B) {
			g, q := &Group{Loops: loopsFor(kind, kind)}, newQuiet()
			defer g.Wait()
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				d, client := open(b, kind)
				u, host := open(b, kind)
				for _, s := range []filter.Stream{d, u} { // as after set-up
					if s, ok := s.(*netconn.Socket); ok {
						s.SetDeadline(time.Time{})
					}
				}
				client.CloseWrite()
				host.CloseWrite()
				b.StartTimer()
				g.Start(d, u, q, nil)
				<-q.done
				b.StopTimer()
				client.Close()
				host.Close()
				b.StartTimer()
			}
		})
	}
}
