package accesslog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// ErrFull is why a line was dropped: too many bytes wait for the disk.
var ErrFull = errors.New("access log buffer is full")

// A file is one access log file. Its goroutine, run, is the only one that touches
// out, disk, rest, next and lost once it has begun.
type file struct {
	all  *Files
	path string
	wake chan struct{} // a request, or enough bytes, for run
	done chan struct{} // closed when run has ended

	out  io.Writer
	disk *os.File // nil: a standard stream
	rest []byte   // what the disk refused
	next []byte   // empty: memory for the lines that come while run writes
	lost error

	mu      sync.Mutex
	buf     []byte // lines that run has not taken yet
	held    int    // bytes of buf and of what run has not written yet
	running bool
	failing bool // the disk refused; only the timer tries again
	reopen  bool
	closing bool
	waiting []chan struct{} // closed after the next turn
}

// Write takes a line, or drops it whole: with ErrFull when too much waits, with
// os.ErrClosed after Close. It keeps no p and never blocks on the disk.
func (f *file) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closing:
		f.all.stats.dropped.Add(1)
		return 0, os.ErrClosed
	case f.held+len(p) > f.all.opts.BufferBytes:
		f.all.stats.dropped.Add(1)
		return 0, ErrFull
	}
	f.buf = append(f.buf, p...)
	f.held += len(p)
	f.all.stats.buffered.Add(1)
	f.all.stats.waiting.Add(int64(len(p)))
	if !f.running {
		f.start()
	} else if len(f.buf) >= f.all.opts.FlushBytes && !f.failing {
		f.poke()
	}
	return len(p), nil
}

// request changes what run shall do and wakes it; false when it has ended.
func (f *file) request(change func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		return false
	}
	change()
	if !f.running {
		f.start()
	}
	f.poke()
	return true
}

// start begins run; f.mu is held. Files.Close waits for its end.
func (f *file) start() {
	f.running = true
	go f.run()
}

func (f *file) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *file) run() {
	defer close(f.done)
	tick := time.NewTicker(f.all.opts.FlushEvery)
	defer tick.Stop()
	for !f.turn() {
		select {
		case <-f.wake:
		case <-tick.C:
			f.all.stats.byTimer.Add(1)
		}
	}
	f.finish()
}

// turn does what is asked for and reports whether that was the last time.
func (f *file) turn() (last bool) {
	f.mu.Lock()
	batch, reopen, waiting := f.buf, f.reopen, f.waiting
	f.buf, f.reopen, f.waiting, last = f.next, false, nil, f.closing
	f.mu.Unlock()

	if reopen && f.disk != nil {
		f.openAgain()
	}
	written := f.write(batch)

	f.mu.Lock()
	f.held -= written
	f.failing = len(f.rest) > 0
	f.mu.Unlock()
	f.next = nil
	if cap(batch) <= 4*f.all.opts.FlushBytes {
		f.next = batch[:0]
	}
	for _, c := range waiting {
		close(c)
	}
	return last
}

// write writes what the disk refused before, then batch, and returns the number of
// bytes that went out.
func (f *file) write(batch []byte) int {
	todo := batch
	if len(f.rest) > 0 {
		todo = append(f.rest, batch...)
	}
	f.rest = nil
	if len(todo) == 0 {
		return 0
	}
	n, err := f.out.Write(todo)
	f.all.stats.waiting.Add(-int64(n))
	if err == nil {
		f.all.stats.completed.Add(1)
		f.lost = nil
		return n
	}
	f.all.stats.failed.Add(1)
	f.rest = append([]byte(nil), todo[n:]...)
	if f.lost == nil {
		f.all.opts.Log.Warn("access log cannot be written and waits", "path", f.path, "error", err)
	}
	f.lost = fmt.Errorf("access log %s: %d bytes lost: %w", f.path, len(f.rest), err)
	return n
}

// openAgain opens the path anew. What waits goes to the new file, as in Envoy.
func (f *file) openAgain() {
	disk, err := openDisk(f.path)
	if err != nil {
		f.all.stats.reopenFailed.Add(1)
		f.all.opts.Log.Warn("access log cannot be opened again; going on in the old file", "path", f.path, "error", err)
		return
	}
	f.disk.Close() // every write to it has returned; nothing is kept back
	f.out, f.disk = disk, disk
}

func (f *file) finish() {
	f.all.stats.waiting.Add(-int64(len(f.rest)))
	if f.disk == nil {
		return
	}
	if err := f.disk.Close(); err != nil && f.lost == nil {
		f.lost = fmt.Errorf("access log %s: %w", f.path, err)
	}
}
