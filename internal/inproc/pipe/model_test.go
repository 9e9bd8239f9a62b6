package pipe_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// The model: a direction is a count of bytes written and read, of a stream whose
// bytes follow from their place, and what is known of its end. One read and one
// write may be under way in each direction. After every step all that can run
// has run, so that what is still waiting must have a reason to.

type modelHalf struct {
	limit, written, read int // read <= written
	fin, reset           bool
	rclosed, wclosed     bool
	rexpired, wexpired   bool
	reading, writing     *call
}

// call is a read or a write under way or just ended.
type call struct {
	size   int // of the buffer; 0: until the end of the chunk, or no bytes at all
	before int // of written, when the write began
	over   int // how far the write may exceed the limit
	done   chan struct{}
	p      []byte // bytes read
	n      int
	err    error
}

func (c *call) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func streamByte(i int) byte { return byte(i ^ i>>7 ^ i>>15) }

func streamBytes(from, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = streamByte(from + i)
	}
	return p
}

func (h *modelHalf) queued() int { return h.written - h.read }

// readErr and writeErr say, independent of the order of the code's checks, what
// a call has to return when it cannot go on; nil: it waits, or succeeds.
func (h *modelHalf) readErr() error {
	switch {
	case h.rclosed:
		return net.ErrClosed
	case h.rexpired:
		return os.ErrDeadlineExceeded
	case h.queued() > 0:
		return nil
	case h.reset:
		return syscall.ECONNRESET
	case h.fin:
		return io.EOF
	}
	return nil
}

func (h *modelHalf) writeErr() error {
	switch {
	case h.wclosed:
		return net.ErrClosed
	case h.wexpired:
		return os.ErrDeadlineExceeded
	case h.reset:
		return syscall.ECONNRESET
	case h.fin || h.rclosed:
		return syscall.EPIPE
	}
	return nil
}

type model struct {
	*rapid.T
	conn   [2]*pipe.Conn
	half   [2]modelHalf // half[i] is written by conn[i]
	gone   [2][]bool    // what OnPeerGone told
	wanted [2][]bool
}

func newModel(t *rapid.T) *model {
	limits := rapid.SampledFrom([]int{1, 100, 1 << 10, 5000, 64 << 10, 100_000})
	m := &model{T: t}
	m.half[0].limit, m.half[1].limit = limits.Draw(t, "toServer"), limits.Draw(t, "toClient")
	m.conn[0], m.conn[1] = pipe.New(pipe.Options{
		ToServerLimitBytes: m.half[0].limit,
		ToClientLimitBytes: m.half[1].limit,
	})
	for i, c := range m.conn {
		c.OnPeerGone(func(reset bool) { m.gone[i] = append(m.gone[i], reset) })
	}
	return m
}

func (m *model) startWrite(i int, chunk bool, size int) {
	h, c := &m.half[i], m.conn[i]
	if h.writing != nil {
		return
	}
	w := &call{size: size, before: h.written, over: 16 << 10, done: make(chan struct{})}
	if chunk {
		w.over = pipe.LargeChunkBytes
	}
	h.writing = w
	data := streamBytes(h.written, size)
	go func() {
		defer close(w.done)
		if !chunk {
			w.n, w.err = c.Write(data)
			return
		}
		k := pipe.NewChunk(size)
		k.Extend(copy(k.Room(), data))
		if w.err = c.WriteChunk(k); w.err == nil {
			w.n = size
		}
	}()
}

func (m *model) startRead(i int, how string, size int) {
	h, c := &m.half[1-i], m.conn[i]
	if h.reading != nil {
		return
	}
	r := &call{done: make(chan struct{})}
	h.reading = r
	go func() {
		defer close(r.done)
		switch how {
		case "Read":
			r.size, r.p = size, make([]byte, size)
			r.n, r.err = c.Read(r.p)
		case "ReadChunk":
			var k *pipe.Chunk
			if k, r.err = c.ReadChunk(); r.err == nil {
				r.p = append(r.p, k.Bytes()...)
				r.n = k.Len()
				k.Free()
			}
		}
	}()
}

func (m *model) end(i int, how string) {
	out, in := &m.half[i], &m.half[1-i]
	switch how {
	case "CloseWrite":
		m.conn[i].CloseWrite()
		out.fin = true
		return
	case "Close":
		m.conn[i].Close()
	case "Reset":
		m.conn[i].Reset()
	}
	if out.wclosed {
		return
	}
	out.fin, out.wclosed, in.rclosed = true, true, true
	in.read = in.written
	if how == "Reset" {
		out.reset, in.reset = true, true
	}
	if !in.wclosed {
		m.wanted[1-i] = append(m.wanted[1-i], how == "Reset")
	}
}

func (m *model) setDeadline(i int, how string) {
	out, in := &m.half[i], &m.half[1-i]
	switch how {
	case "past":
		m.conn[i].SetDeadline(past)
		out.wexpired, in.rexpired = true, true
	case "none":
		m.conn[i].SetDeadline(time.Time{})
		out.wexpired, in.rexpired = false, false
	case "passes": // and calls that wait see it come
		m.conn[i].SetDeadline(time.Now().Add(time.Second))
		out.wexpired, in.rexpired = false, false
		synctest.Wait()
		m.settle()
		time.Sleep(2 * time.Second)
		out.wexpired, in.rexpired = true, true
	}
}

// settle lets everything run, and holds what happened against the model.
func (m *model) settle() {
	synctest.Wait()
	for i := range m.half {
		m.settleHalf(i)
		if m.conn[i].PeerClosed() != m.half[1-i].wclosed {
			m.Fatalf("end %d: PeerClosed is wrong", i)
		}
		if len(m.gone[i]) != len(m.wanted[i]) || len(m.gone[i]) == 1 && m.gone[i][0] != m.wanted[i][0] {
			m.Fatalf("end %d: OnPeerGone told %v, want %v", i, m.gone[i], m.wanted[i])
		}
	}
}

func (m *model) settleHalf(i int) {
	h := &m.half[i]
	got, w := 0, h.writing
	r := h.reading
	if r != nil && r.ended() {
		got = r.n
	}
	_, queued := m.conn[i].Buffered()
	if !h.rclosed {
		h.accept(m, i, queued+got, got)
	} else if queued != 0 {
		m.Fatalf("half %d: %d bytes queued for a closed end", i, queued)
	}
	if r != nil {
		m.checkRead(i, r, got)
	}
	if w != nil {
		m.checkWrite(i, w, queued)
	}
}

// accept learns how much the write under way has queued from how many bytes are
// available: there still, or got by a read.
func (h *modelHalf) accept(m *model, i, available, got int) {
	added := available - h.queued()
	if added < 0 || added > 0 && (h.writing == nil || h.written+added > h.writing.before+h.writing.size) {
		m.Fatalf("half %d: %d bytes there, %d were, writing %v", i, available, h.queued(), h.writing)
	}
	if added > 0 && available-got >= h.limit+h.writing.over {
		m.Fatalf("half %d: %d bytes queued, limit %d", i, available-got, h.limit)
	}
	h.written += added
}

func (m *model) checkRead(i int, r *call, got int) {
	h := &m.half[i]
	want := h.readErr()
	if !r.ended() {
		if want != nil || h.queued() > 0 {
			m.Fatalf("half %d: read waits, with %d bytes queued, want %v", i, h.queued(), want)
		}
		return
	}
	h.reading = nil
	if r.err != nil {
		if !errors.Is(r.err, want) || r.n != 0 {
			m.Fatalf("half %d: read = %d, %v, want %v", i, r.n, r.err, want)
		}
		return
	}
	if got == 0 || want != nil {
		m.Fatalf("half %d: read = %d, want %v", i, got, want)
	}
	for j, b := range r.p[:got] {
		if b != streamByte(h.read+j) {
			m.Fatalf("half %d: byte %d is wrong", i, h.read+j)
		}
	}
	h.read += got
}

func (m *model) checkWrite(i int, w *call, queued int) {
	h := &m.half[i]
	want := h.writeErr()
	if !w.ended() {
		if want != nil || queued <= h.limit/2 {
			m.Fatalf("half %d: write waits, with %d bytes queued, want %v", i, queued, want)
		}
		return
	}
	h.writing = nil
	if w.err == nil && w.n == w.size {
		return
	}
	if !errors.Is(w.err, want) || want == nil {
		m.Fatalf("half %d: write = %d of %d, %v, want %v", i, w.n, w.size, w.err, want)
	}
	if !h.rclosed && w.before+w.n != h.written {
		m.Fatalf("half %d: write = %d, but %d were queued", i, w.n, h.written-w.before)
	}
	h.written = w.before + w.n
	h.read = min(h.read, h.written)
	if h.rclosed {
		h.read = h.written
	}
}

func (m *model) step() {
	i := rapid.IntRange(0, 1).Draw(m.T, "end")
	size := rapid.OneOf(rapid.IntRange(1, 50), rapid.IntRange(1, 9000), rapid.IntRange(1, 150_000))
	switch op := rapid.IntRange(0, 19).Draw(m.T, "op"); op {
	case 0, 1, 2, 3, 4, 5:
		m.startWrite(i, false, size.Draw(m.T, "write"))
	case 6, 7, 8:
		m.startWrite(i, true, min(size.Draw(m.T, "writeChunk"), pipe.LargeChunkBytes))
	case 9, 10, 11, 12:
		m.startRead(i, "Read", size.Draw(m.T, "read"))
	case 13, 14, 15:
		m.startRead(i, "ReadChunk", 0)
	case 16, 17, 18:
		m.setDeadline(i, rapid.SampledFrom([]string{"past", "none", "none", "passes"}).Draw(m.T, "deadline"))
	case 19:
		m.end(i, rapid.SampledFrom([]string{"CloseWrite", "CloseWrite", "Close", "Reset"}).Draw(m.T, "how"))
	}
	m.settle()
}

func checkModel(t *rapid.T) {
	rapid.SyncTest(t, func(t *rapid.T) {
		before := pipe.ChunksInUse()
		m := newModel(t)
		defer func() { // also after a failure, or the bubble would wait for ever
			m.conn[0].Close()
			m.conn[1].Close()
			synctest.Wait()
		}()
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			m.step()
		}
		m.end(0, "Close")
		m.settle()
		m.end(1, "Close")
		m.settle()
		if n := pipe.ChunksInUse() - before; n != 0 {
			t.Fatalf("%d chunks leaked", n)
		}
	})
}

func TestModel(t *testing.T) { rapid.Check(t, checkModel) }

// FuzzModel wants -fuzzminimizetime=1x: inputs are long, and minimising them
// takes nearly all of the time else.
func FuzzModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(checkModel)) }
