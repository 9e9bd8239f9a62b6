package pump

import (
	"bytes"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// pipeChain is n pumps between n+1 pipes that queue limit bytes each way.
func pipeChain(t *testing.T, n, limit, bufferBytes int) (client, host filter.Stream, hops []*hop) {
	t.Helper()
	g, chunks := new(Group), pipe.ChunksInUse()
	c, down := pipe.New(pipe.Options{LimitBytes: limit})
	for range n {
		h := newHop(t)
		h.limits.BufferBytes = bufferBytes
		up, next := pipe.New(pipe.Options{LimitBytes: limit})
		g.Start(down, up, h, nil)
		hops = append(hops, h)
		down = next
	}
	t.Cleanup(func() {
		c.Close()
		down.Close()
		g.Wait()
		if n := pipe.ChunksInUse(); n != chunks {
			t.Errorf("%d chunks are lost", n-chunks)
		}
	})
	return c, down, hops
}

func flows(h *hop, from filter.Direction) (paused, resumed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.paused[from], h.resumed[from]
}

func TestIdlePipesHoldNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		client, host, _ := pipeChain(t, 5, 0, 0)
		for range 3 {
			write(t, client, "ping")
			get(t, host, "ping")
			write(t, host, "pong")
			get(t, client, "pong")
			synctest.Wait()
			if n := runtime.NumGoroutine() - before; n > 0 {
				t.Errorf("%d goroutines hold 5 idle pumps", n)
			}
		}
	})
}

// Bytes of both directions, through queues and buffers of all sizes, against readers
// that are slower or faster than what comes.
func TestPipesOfAllSizes(t *testing.T) {
	all := make([]byte, 1<<20)
	for i := range all {
		all[i] = byte(i ^ i>>8 ^ i>>16)
	}
	for _, limit := range []int{1, 1000, pipe.SmallChunkBytes, 50_000, pipe.LargeChunkBytes, 1 << 20} {
		for _, bufferBytes := range []int{0, 100, 10_000, pipe.LargeChunkBytes} {
			client, host, hops := pipeChain(t, 4, limit, bufferBytes)
			var wg sync.WaitGroup
			send := func(s filter.Stream, piece int) {
				for b := all; len(b) > 0; b = b[min(piece, len(b)):] {
					if _, err := s.Write(b[:min(piece, len(b))]); err != nil {
						t.Error(err)
						return
					}
				}
				s.CloseWrite()
			}
			receive := func(s filter.Stream) {
				if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, all) {
					t.Errorf("limit %d, buffer %d: %d of %d bytes arrived, or others: %v", limit, bufferBytes, len(got), len(all), err)
				}
			}
			wg.Go(func() { send(client, 7000) })
			wg.Go(func() { send(host, 300_000) })
			wg.Go(func() { receive(client) })
			wg.Go(func() { receive(host) })
			wg.Wait()
			for _, h := range hops {
				h.wait()
				if up, down := h.moved(); up != uint64(len(all)) || down != uint64(len(all)) {
					t.Errorf("a hop has counted %d and %d bytes", up, down)
				}
			}
		}
	}
}

// A reader that takes nothing stops the chain where it is, hop by hop, and lets it go
// on where it was.
func TestFullPipesPauseEveryHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, host, hops := pipeChain(t, 3, 1000, 0)
		sent := make([]byte, 100<<10)
		go func() {
			client.Write(sent)
			client.CloseWrite()
		}()
		synctest.Wait()
		for i, h := range hops {
			if p, r := flows(h, filter.FromDownstream); p != 1 || r != 0 {
				t.Errorf("hop %d: paused %d times, resumed %d", i, p, r)
			}
		}
		expect(t, host, string(sent), "EOF")
		for i, h := range hops {
			if p, r := flows(h, filter.FromDownstream); p != r {
				t.Errorf("hop %d: paused %d times, resumed %d", i, p, r)
			}
		}
	})
}
