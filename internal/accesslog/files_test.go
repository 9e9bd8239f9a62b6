package accesslog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/accesslog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stats is a filter.Scope that keeps numbers by name.
type stats struct {
	prefix string
	*numbers
}

type numbers struct {
	mu sync.Mutex
	n  map[string]int64
}

func newStats() stats { return stats{"", &numbers{n: make(map[string]int64)}} }

func (s stats) get(name string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n[name]
}

type number struct {
	name string
	*numbers
}

func (n number) add(d int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.n[n.name] += d
}

type counter struct{ number }

func (c counter) Add(n uint64) { c.add(int64(n)) }

type gauge struct{ number }

func (g gauge) Add(n int64) { g.add(n) }

func (s stats) Scope(p string) filter.Scope { return stats{s.prefix + p, s.numbers} }
func (s stats) Counter(name string) filter.Counter {
	return counter{number{s.prefix + name, s.numbers}}
}
func (s stats) Gauge(name string) filter.Gauge         { return gauge{number{s.prefix + name, s.numbers}} }
func (s stats) Histogram(name string) filter.Histogram { panic("no histogram is kept: " + name) }
func (s stats) Close()                                 {}

func open(t *testing.T, x *accesslog.Files, path string) filter.LogFile {
	t.Helper()
	f, err := x.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, f filter.LogFile, line string) {
	t.Helper()
	if _, err := io.WriteString(f, line); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestLosesNothing writes from many goroutines, opens the file anew again and again,
// and wants every line, whole and in the order of its writer.
func TestLosesNothing(t *testing.T) {
	const writers, each = 8, 2000
	path := filepath.Join(t.TempDir(), "log")
	s := newStats()
	x := accesslog.NewFiles(accesslog.Options{Stats: s, FlushBytes: 512})
	var all sync.WaitGroup
	for w := range writers {
		f := open(t, x, path)
		all.Go(func() {
			for i := range each {
				fmt.Fprintf(f, "writer %d line %d\n", w, i)
			}
		})
	}
	for range 20 {
		x.Reopen()
	}
	all.Wait()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(content(t, path), "\n"), "\n")
	var next [writers]int
	for _, l := range lines {
		var w, i int
		if _, err := fmt.Sscanf(l, "writer %d line %d", &w, &i); err != nil || next[w] != i {
			t.Fatalf("line %q: %v; the next of this writer is %d", l, err, next[w])
		}
		next[w]++
	}
	if len(lines) != writers*each {
		t.Errorf("%d lines of %d", len(lines), writers*each)
	}
	if b, held := s.get("filesystem.write_buffered"), s.get("filesystem.write_total_buffered"); b != writers*each || held != 0 {
		t.Errorf("write_buffered %d, write_total_buffered %d", b, held)
	}
	if s.get("filesystem.write_completed") == 0 || s.get("filesystem.write_failed") != 0 || s.get("filesystem.write_dropped") != 0 {
		t.Errorf("stats %v", s.n)
	}
}

// TestReopen renames the file, as log rotation does: what comes later is in a new
// file of the old name.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "log"), filepath.Join(dir, "log.1")
	x := accesslog.NewFiles(accesslog.Options{})
	defer x.Close()
	f := open(t, x, path)
	write(t, f, "before\n")
	x.Flush()
	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}
	write(t, f, "between\n")
	x.Flush()
	x.Reopen()
	write(t, f, "after\n")
	x.Flush()
	if got := content(t, old); got != "before\nbetween\n" {
		t.Errorf("old file %q", got)
	}
	if got := content(t, path); got != "after\n" {
		t.Errorf("new file %q", got)
	}
}

// TestReopenFails goes on in the old file, where Envoy would lose the lines.
func TestReopenFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := newStats()
	x := accesslog.NewFiles(accesslog.Options{Stats: s})
	defer x.Close()
	f := open(t, x, filepath.Join(dir, "log"))
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	x.Reopen()
	write(t, f, "line\n")
	x.Flush()
	if got := content(t, filepath.Join(dir+".old", "log")); got != "line\n" {
		t.Errorf("old file %q", got)
	}
	if n := s.get("filesystem.reopen_failed"); n != 1 {
		t.Errorf("reopen_failed %d", n)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	var out, errOut bytes.Buffer
	x := accesslog.NewFiles(accesslog.Options{Stdout: &out, Stderr: &errOut})
	if _, err := x.Open(filepath.Join(dir, "no", "such", "dir")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file in a missing directory: %v", err)
	}
	if _, err := x.Open(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: %v", err)
	}
	a, b := open(t, x, filepath.Join(dir, "a")), open(t, x, filepath.Join(dir, "a"))
	if a != b {
		t.Error("one path gave two files")
	}
	write(t, open(t, x, "-"), "1")
	write(t, open(t, x, accesslog.Stdout), "2")
	write(t, open(t, x, accesslog.Stderr), "3")
	x.Reopen() // does nothing to the standard streams
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if out.String() != "12" || errOut.String() != "3" {
		t.Errorf("stdout %q, stderr %q", out.String(), errOut.String())
	}
	if _, err := x.Open(filepath.Join(dir, "b")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("open after close: %v", err)
	}
	if _, err := a.Write([]byte("late\n")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if err := x.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// TestAppends keeps what an earlier process wrote.
func TestAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("earlier\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	x := accesslog.NewFiles(accesslog.Options{})
	write(t, open(t, x, path), "later\n")
	if err := x.Close(); err != nil || content(t, path) != "earlier\nlater\n" {
		t.Errorf("%q, %v", content(t, path), err)
	}
}

// disk is a standard stream that can be stuck or full.
type disk struct {
	mu   sync.Mutex
	data bytes.Buffer
	room int           // bytes that still fit; <0: no limit
	hold chan struct{} // not nil: each write waits for a value
}

func (d *disk) Write(p []byte) (int, error) {
	if d.hold != nil {
		<-d.hold
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.room >= 0 && len(p) > d.room {
		n, _ := d.data.Write(p[:d.room])
		d.room = 0
		return n, syscall.ENOSPC
	}
	d.room -= len(p)
	return d.data.Write(p)
}

func (d *disk) written() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.data.String()
}

func (d *disk) make(room int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = room
}

// TestFullDisk: what the disk refused goes out when there is room again, in order,
// also where a line was cut.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := &disk{room: 3}, newStats()
		x := accesslog.NewFiles(accesslog.Options{Stdout: d, Stats: s, FlushBytes: 1})
		f := open(t, x, "-")
		write(t, f, "first\n")
		synctest.Wait()
		write(t, f, "second\n")
		synctest.Wait()
		if n := s.get("filesystem.write_failed"); n != 1 {
			t.Errorf("write_failed %d: a disk that refused is only tried again by the timer", n)
		}
		if n := s.get("filesystem.write_total_buffered"); n != int64(len("first\nsecond\n")-3) {
			t.Errorf("write_total_buffered %d", n)
		}
		d.make(-1)
		time.Sleep(10 * time.Second) // virtual: the flush interval
		synctest.Wait()
		if got := d.written(); got != "first\nsecond\n" {
			t.Errorf("written %q", got)
		}
		if n := s.get("filesystem.flushed_by_timer"); n != 1 {
			t.Errorf("flushed_by_timer %d", n)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFullAtTheEnd says how much was lost.
func TestFullAtTheEnd(t *testing.T) {
	s := newStats()
	x := accesslog.NewFiles(accesslog.Options{Stdout: &disk{room: 2}, Stats: s})
	write(t, open(t, x, "-"), "line\n")
	err := x.Close()
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "access log /dev/stdout: 3 bytes lost") {
		t.Errorf("close: %v", err)
	}
	if n := s.get("filesystem.write_total_buffered"); n != 0 {
		t.Errorf("write_total_buffered %d after the end", n)
	}
}

// TestStuckDisk: memory is bounded, whole lines are dropped and counted, and nobody
// who writes waits.
func TestStuckDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := &disk{room: -1, hold: make(chan struct{})}, newStats()
		x := accesslog.NewFiles(accesslog.Options{Stdout: d, Stats: s, BufferBytes: 15})
		f := open(t, x, "-")
		write(t, f, "12345\n")
		synctest.Wait() // the writer is stuck with it
		write(t, f, "abcde\n")
		if _, err := f.Write([]byte("fghij\n")); !errors.Is(err, accesslog.ErrFull) {
			t.Errorf("beyond the bound: %v", err)
		}
		write(t, f, "k\n") // a shorter one still fits
		if n := s.get("filesystem.write_dropped"); n != 1 {
			t.Errorf("write_dropped %d", n)
		}
		close(d.hold)
		x.Flush()
		write(t, f, "again\n")
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		if got := d.written(); got != "12345\nabcde\nk\nagain\n" {
			t.Errorf("written %q", got)
		}
	})
}

// TestWhenLinesGoOut: the first at once, the others with the interval, or when there
// are enough.
func TestWhenLinesGoOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: -1}
		x := accesslog.NewFiles(accesslog.Options{Stdout: d, FlushEvery: time.Minute, FlushBytes: 10})
		f := open(t, x, "-")
		steps := []struct {
			do   func()
			want string
		}{
			{func() { write(t, f, "1") }, "1"},
			{func() { write(t, f, "2") }, "1"},
			{func() { time.Sleep(time.Minute) }, "12"},
			{func() { write(t, f, "345") }, "12"},
			{func() { write(t, f, "6789abc") }, "123456789abc"},
			{func() { write(t, f, "d") }, "123456789abc"},
			{x.Flush, "123456789abcd"},
		}
		for i, step := range steps {
			step.do()
			synctest.Wait()
			if got := d.written(); got != step.want {
				t.Errorf("step %d: written %q, want %q", i, got, step.want)
			}
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	x := accesslog.NewFiles(accesslog.Options{Stdout: io.Discard})
	defer x.Close()
	f, err := x.Open("-")
	if err != nil {
		b.Fatal(err)
	}
	line := bytes.Repeat([]byte("x"), 150)
	b.ReportAllocs()
	for b.Loop() {
		f.Write(line)
	}
}
