package pipe_test

import (
	"io"
	"net"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// rivals are what the benchmarks compare; the ratio is the figure that matters.
var rivals = []struct {
	name string
	new  func() (a, b net.Conn)
}{
	{"pipe", func() (a, b net.Conn) { return pipe.New(pipe.Options{}) }},
	{"net.Pipe", func() (a, b net.Conn) { return net.Pipe() }},
}

// BenchmarkPingPong: one byte there and back; an op is a round trip.
func BenchmarkPingPong(b *testing.B) {
	for _, r := range rivals {
		b.Run(r.name, func(b *testing.B) {
			x, y := r.new()
			var wg sync.WaitGroup
			wg.Go(func() {
				p := make([]byte, 1)
				for {
					if _, err := y.Read(p); err != nil {
						return
					}
					y.Write(p)
				}
			})
			p := make([]byte, 1)
			b.ReportAllocs()
			for b.Loop() {
				x.Write(p)
				x.Read(p)
			}
			x.Close()
			wg.Wait()
			y.Close()
		})
	}
}

// BenchmarkStream: Write into Read with a 64 KiB buffer.
func BenchmarkStream(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 64 << 10} {
		for _, r := range rivals {
			b.Run(strconv.Itoa(size>>10)+"K/"+r.name, func(b *testing.B) {
				x, y := r.new()
				var wg sync.WaitGroup
				wg.Go(func() {
					p := make([]byte, 64<<10)
					for {
						if _, err := y.Read(p); err != nil {
							return
						}
					}
				})
				p := make([]byte, size)
				for i := range p { // pages never written to would all be the one zero page
					p[i] = byte(i)
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					x.Write(p)
				}
				x.Close()
				wg.Wait()
				y.Close()
			})
		}
	}
}

// BenchmarkHandOff: whole chunks change owner.
func BenchmarkHandOff(b *testing.B) {
	x, y := pipe.New(pipe.Options{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			k, err := y.ReadChunk()
			if err != nil {
				return
			}
			k.Free()
		}
	})
	b.SetBytes(pipe.LargeChunkBytes)
	b.ReportAllocs()
	for b.Loop() {
		k := pipe.NewChunk(pipe.LargeChunkBytes)
		k.Extend(pipe.LargeChunkBytes)
		x.WriteChunk(k)
	}
	x.Close()
	wg.Wait()
	y.Close()
}

// BenchmarkLife: make a pair, one byte through it, close both ends.
func BenchmarkLife(b *testing.B) {
	for _, r := range rivals {
		b.Run(r.name, func(b *testing.B) {
			p := make([]byte, 1)
			b.ReportAllocs()
			for b.Loop() {
				x, y := r.new()
				go x.Write([]byte{1})
				io.ReadFull(y, p)
				x.Close()
				y.Close()
			}
		})
	}
}

// BenchmarkIdle: what a pair keeps while idle after traffic.
func BenchmarkIdle(b *testing.B) {
	for _, r := range rivals {
		b.Run(r.name, func(b *testing.B) {
			p := make([]byte, 1)
			conns := make([]net.Conn, 0, 2*b.N)
			before := heapBytes()
			b.ResetTimer()
			for range b.N {
				x, y := r.new()
				if _, ok := x.(*pipe.Conn); ok { // net.Pipe would need a goroutine
					x.Write(p)
					y.Read(p)
				}
				conns = append(conns, x, y)
			}
			b.StopTimer()
			b.ReportMetric(float64(heapBytes()-before)/float64(b.N), "B/idle-pair")
			for _, c := range conns {
				c.Close()
			}
		})
	}
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC() // the first one only moves what is in sync.Pools aside
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
