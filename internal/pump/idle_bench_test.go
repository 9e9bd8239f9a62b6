package pump

import (
	"runtime"
	"testing"

	"github.com/ginnel/ginnel/filter"
)

// BenchmarkIdle is what a pump without event loops keeps while nothing happens, after
// one byte each way, without its streams.
func BenchmarkIdle(b *testing.B) {
	for _, down := range kinds {
		for _, up := range kinds {
			b.Run(down+"-"+up, func(b *testing.B) { benchmarkIdle(b, down, up) })
		}
	}
}

func benchmarkIdle(b *testing.B, down, up string) {
	type life struct {
		d, u, client, host filter.Stream
		q                  *quiet
	}
	n := min(b.N, 2000) // descriptors
	g, all := new(Group), make([]life, n)
	for i := range all {
		l := &all[i]
		l.d, l.client = open(b, down)
		l.u, l.host = open(b, up)
		l.q = newQuiet()
	}
	before := memory()
	for _, l := range all {
		g.Start(l.d, l.u, l.q, nil)
	}
	for _, l := range all {
		swap(b, l.client, l.host)
		swap(b, l.host, l.client)
	}
	after := memory()
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B-heap/pump")
	b.ReportMetric(float64(after.StackInuse-before.StackInuse)/float64(n), "B-stack/pump")
	for _, l := range all {
		l.client.Close()
		l.host.Close()
		<-l.q.done
	}
}

func swap(b *testing.B, from, to filter.Stream) {
	p := []byte{1}
	if _, err := from.Write(p); err != nil {
		b.Fatal(err)
	}
	if _, err := to.Read(p); err != nil {
		b.Fatal(err)
	}
}

func memory() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC() // the first one only moves what is in sync.Pools aside
	runtime.ReadMemStats(&m)
	return m
}
