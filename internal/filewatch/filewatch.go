// Package filewatch tells when a file has become another one: it was written, or another
// file, or a symbolic link on the way to it, was moved into its place.
package filewatch

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Options of a watch. File is required.
type Options struct {
	File string
	More []string // further files of which a change counts as well
	// Dir is looked at in place of the file: the file counts as another one when anything
	// is moved into this folder (Envoy's watched_directory). "": it is not.
	Dir string
	// Moved tells only of a file that takes another one's place, not of one that is
	// written where it stands, as Envoy: what is being written may be read by halves.
	Moved bool
	// Settle is how long a file must not have changed before it is told; 0: 100 ms. A single
	// file that is Moved is told after this time though others have taken its place meanwhile.
	Settle time.Duration
	// Again is how often to look without having been told of anything, for file systems
	// that tell nothing; 0: 5 s.
	Again time.Duration
	// Since is what Look returned before the file was read: changes from then on count.
	// nil: from the call of Watch on.
	Since *State
	// Log is told, once in all, that the system does not tell of changes; nil: nobody is.
	Log *slog.Logger
}

// A State is the files, and a watched folder, at some moment.
type State struct {
	files []state // File and More
	dir   state
}

// Look returns the state now.
func (o *Options) Look() *State {
	s := &State{files: []state{look(o.File)}}
	for _, f := range o.More {
		s.files = append(s.files, look(f))
	}
	if o.Dir != "" {
		s.dir = look(o.Dir)
	}
	return s
}

func (s *State) same(as *State) bool {
	return slices.EqualFunc(s.files, as.files, state.same) && s.dir.same(as.dir)
}

// Watch calls changed after each change, until ctx ends. Changes
// in quick succession are one. started, unless nil, is called once changes are noticed.
func Watch(ctx context.Context, o Options, started, changed func()) {
	if o.Settle == 0 {
		o.Settle = 100 * time.Millisecond
	}
	if o.Again == 0 {
		o.Again = 5 * time.Second
	}
	if o.Since == nil {
		o.Since = o.Look()
	}
	w := &watch{o: o, seen: o.Since, told: make(chan struct{}, 1)}
	defer w.begin()()
	if started != nil {
		started()
	}
	w.run(ctx, changed)
}

// A watch is one file that is watched.
type watch struct {
	o        Options
	seen     *State        // when it was told last
	told     chan struct{} // that it may have changed; of size 1, never closed
	notifier *notifier     // nil: nothing is told
	folders  []*folder     // that the notifier tells of, which guards them
}

// begin has the folders watched on the way to the file.
func (w *watch) begin() (stop func()) {
	if w.notifier = process.join(w.o.Log); w.notifier == nil {
		return func() {} // what is looked at again and again remains
	}
	w.follow()
	return func() {
		w.notifier.follow(w, nil)
		process.leave()
	}
}

// follow watches the folders of the files and of the links that lead to it, which may have
// changed. What cannot be watched is looked at again and again.
func (w *watch) follow() {
	if w.notifier == nil {
		return
	}
	var folders []string
	add := func(path string) {
		if real, err := realPath(path); err == nil && !slices.Contains(folders, real) {
			folders = append(folders, real)
		}
	}
	if w.o.Dir != "" {
		add(w.o.Dir)
	}
	foldersOf(w.o.File, add)
	for _, f := range w.o.More {
		foldersOf(f, add)
	}
	w.notifier.follow(w, folders)
}

func foldersOf(path string, add func(path string)) {
	file := path
	for range 40 { // as many links as the kernel follows
		add(filepath.Dir(path))
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		add(filepath.Dir(real))
	}
}

// realPath returns the one path of a folder without links: the system tells of it by one.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

func (w *watch) run(ctx context.Context, changed func()) {
	again := time.NewTicker(w.o.Again)
	defer again.Stop()
	var settled <-chan time.Time // nil: nothing has changed
	var last *State              // when it was looked at last
	check := func() {
		if now := w.o.Look(); settled == nil && w.differs(now) {
			last = now
			settled = time.After(w.o.Settle)
		}
	}
	for check(); ; check() {
		select {
		case <-ctx.Done():
			return
		case <-w.told:
		case <-again.C:
		case <-settled:
			settled = nil
			if now := w.o.Look(); w.whole() || now.same(last) {
				w.seen = now
				changed()
				w.follow()
			}
		}
	}
}

// whole reports whether what there is need not stay for a while before it is told: a file
// that was moved into place is as it should be, however soon the next one comes.
func (w *watch) whole() bool { return w.o.Moved && w.o.Dir == "" && len(w.o.More) == 0 }

// differs reports whether there is something to tell.
func (w *watch) differs(now *State) bool {
	if w.o.Dir != "" {
		return !now.dir.same(w.seen.dir)
	}
	for i, f := range now.files {
		if w.changed(w.seen.files[i], f) {
			return true
		}
	}
	return false
}

func (w *watch) changed(was, is state) bool {
	switch {
	case is.info == nil: // it has gone, and another one may come
		return false
	case w.o.Moved:
		return !is.sameFile(was)
	}
	return !is.same(was)
}

// A state is a file at some moment.
type state struct {
	info fs.FileInfo // nil: there is none
	// born is when the file was made, zero where the system does not tell: a number of a
	// file that was removed is that of the next one at once on some file systems (ext4).
	born time.Time
}

func look(path string) state {
	info, err := os.Stat(path)
	if err != nil {
		return state{}
	}
	return state{info, born(path)}
}

func (s state) same(as state) bool {
	if s.info == nil || as.info == nil {
		return s.info == nil && as.info == nil
	}
	return s.sameFile(as) && s.info.Size() == as.info.Size() && s.info.ModTime().Equal(as.info.ModTime())
}

// sameFile reports whether both are one file, whatever is in it.
func (s state) sameFile(as state) bool {
	return s.info != nil && as.info != nil && os.SameFile(s.info, as.info) && s.born.Equal(as.born)
}
