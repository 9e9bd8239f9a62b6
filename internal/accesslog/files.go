package accesslog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// Options of Files.
type Options struct {
	FlushEvery  time.Duration // 0: 10 s (Envoy: --file-flush-interval-msec)
	FlushBytes  int           // waiting bytes that are written at once; 0: 64 KiB (Envoy: --file-flush-min-size-kb)
	BufferBytes int           // most bytes that wait for one file; 0: 16 MiB
	Stats       filter.Scope  // of the server; nil: none are kept
	Log         *slog.Logger  // nil: discard

	Stdout, Stderr io.Writer // nil: those of the process
}

// Stdout and Stderr are the paths of the standard streams; "-" is Stdout too.
const (
	Stdout = "/dev/stdout"
	Stderr = "/dev/stderr"
)

// Files are the access log files of a proxy. They implement filter.LogFiles.
//
// What is written waits in memory until there is enough of it, or for the flush
// interval; the first line of a file goes out at once. What a disk refuses is tried
// again, in order. When a disk is stuck or full for so long that BufferBytes wait,
// whole new lines are dropped and counted (filesystem.write_dropped, ginnel's own):
// a connection never waits for its log. Envoy instead buffers without a bound, and
// loses what a disk refuses.
type Files struct {
	opts  Options
	stats fileStats

	mu     sync.Mutex
	open   map[string]*file
	closed bool
}

// NewFiles returns Files without a file.
func NewFiles(o Options) *Files {
	o.FlushEvery = cmp.Or(o.FlushEvery, 10*time.Second)
	o.FlushBytes = cmp.Or(o.FlushBytes, 64<<10)
	o.BufferBytes = cmp.Or(o.BufferBytes, 16<<20)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	return &Files{opts: o, stats: newFileStats(o.Stats), open: make(map[string]*file)}
}

// Open opens a file for appending, and creates it if need be. The same path gives
// the same file. The file stays open until Close.
func (x *Files) Open(path string) (filter.LogFile, error) {
	if path == "-" {
		path = Stdout
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, fmt.Errorf("open %s: %w", path, os.ErrClosed)
	}
	if f := x.open[path]; f != nil {
		return f, nil
	}
	f := &file{all: x, path: path, wake: make(chan struct{}, 1), done: make(chan struct{})}
	switch path {
	case Stdout:
		f.out = x.opts.Stdout
	case Stderr:
		f.out = x.opts.Stderr
	default:
		disk, err := openDisk(path)
		if err != nil {
			return nil, fmt.Errorf("unable to open file '%s': %w", path, errors.Unwrap(err))
		}
		f.out, f.disk = disk, disk
	}
	x.open[path] = f
	return f, nil
}

func openDisk(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
}

// Reopen makes every file but the standard streams be opened anew, after its path
// was renamed. It does not wait. A file that cannot be opened again goes on in the
// old one (filesystem.reopen_failed).
func (x *Files) Reopen() {
	for _, f := range x.snapshot() {
		f.request(func() { f.reopen = true })
	}
}

// Flush returns when everything written before has gone to the disks, or was refused
// by them.
func (x *Files) Flush() {
	for _, f := range x.snapshot() {
		done := make(chan struct{})
		if f.request(func() { f.waiting = append(f.waiting, done) }) {
			<-done
		}
	}
}

// Close writes out what waits and closes the files. It returns when that is done,
// however long the disks take, with an error for what they refused. Lines that come
// later are dropped.
func (x *Files) Close() error {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	var errs []error
	for _, f := range x.snapshot() {
		if f.request(func() { f.closing = true }) {
			<-f.done
			errs = append(errs, f.lost)
		}
	}
	return errors.Join(errs...)
}

func (x *Files) snapshot() []*file {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]*file, 0, len(x.open))
	for _, f := range x.open {
		all = append(all, f)
	}
	return all
}

type fileStats struct {
	buffered, completed, failed, dropped, byTimer, reopenFailed filter.Counter

	waiting filter.Gauge
}

func newFileStats(s filter.Scope) fileStats {
	if s == nil {
		return fileStats{none{}, none{}, none{}, none{}, none{}, none{}, noGauge{}}
	}
	s = s.Scope("filesystem.")
	return fileStats{
		buffered:     s.Counter("write_buffered"),
		completed:    s.Counter("write_completed"),
		failed:       s.Counter("write_failed"),
		dropped:      s.Counter("write_dropped"),
		byTimer:      s.Counter("flushed_by_timer"),
		reopenFailed: s.Counter("reopen_failed"),
		waiting:      s.Gauge("write_total_buffered"),
	}
}

type none struct{}

func (none) Add(uint64) {}

type noGauge struct{}

func (noGauge) Add(int64) {}
