package resource

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/filewatch"
)

// A file is the client of a file, which is read again when another one is moved into its
// place. One that is not there yet is waited for.
type file struct {
	hub    *Hub
	source *source
	path   string
	stop   context.CancelFunc
	ended  chan struct{} // closed when nothing runs any more

	// What it had last; guarded by hub.mu.
	has *Delivery // nil: nothing, or err
	err error
}

func newFile(h *Hub, s *source, at filter.ResourceSource) *file {
	f := &file{hub: h, source: s, path: at.Path, ended: make(chan struct{})}
	o := filewatch.Options{File: at.Path, Dir: at.WatchedDir, Moved: true, Log: h.log}
	o.Since = o.Look()
	f.read()
	if errors.Is(f.err, fs.ErrNotExist) {
		h.log.Warn("there is no "+at.Path+" yet: it is waited for", "logger", "config")
		f.err = nil
	}
	ctx, stop := context.WithCancel(h.ctx)
	f.stop = stop
	h.tasks.Go(func() {
		defer close(f.ended)
		filewatch.Watch(ctx, o, nil, f.changed)
	})
	return f
}

// read reads the file; hub.mu is held, or nobody else knows f.
func (f *file) read() {
	f.has, f.err = nil, nil
	if _, err := os.Stat(f.path); err != nil {
		f.err = err
		return
	}
	d, err := ReadFile(f.path)
	if err != nil {
		f.err = err
		return
	}
	f.has = &d
}

// ask implements client.
func (f *file) ask(filter.ResourceKind, string) (*Delivery, error) { return f.has, f.err }

// drop implements client: all of a file is read in any case.
func (f *file) drop(filter.ResourceKind, string) {}

// changed delivers the file once more.
func (f *file) changed() {
	f.hub.mu.Lock()
	f.read()
	d, err := f.has, f.err
	f.hub.mu.Unlock()
	if err != nil {
		f.hub.fail(f.source, err)
		return
	}
	f.hub.deliver(f.source, d)
}

// close implements client.
func (f *file) close() {
	f.stop()
	<-f.ended
}
