package filewatch

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// process is where all watches of the process get their notifier. There is one, whoever
// watches: what is short (128 inotify instances on Linux) is counted for all processes of a
// user together. It holds nothing while there are no watches.
var process = shared{open: fsnotify.NewWatcher}

// A shared is a notifier that lives while it is used.
type shared struct {
	open func() (*fsnotify.Watcher, error)

	mu       sync.Mutex
	notifier *notifier // nil: nobody uses it
	users    int
	failed   bool // there was no watcher, which has been logged
}

// join returns the notifier, which the caller leaves in the end; nil: there is none.
func (s *shared) join(log *slog.Logger) *notifier {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.notifier == nil {
		watcher, err := s.open()
		if err != nil {
			if !s.failed && log != nil {
				s.failed = true
				log.Warn("files are looked at again and again, since the system does not tell of changes: "+err.Error(), "logger", "config")
			}
			return nil
		}
		s.notifier, s.failed = newNotifier(watcher), false
	}
	s.users++
	return s.notifier
}

// leave ends the notifier with the last of its users.
func (s *shared) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 {
		s.notifier.close()
		s.notifier = nil
	}
}

// A notifier tells watches of what happens in folders.
type notifier struct {
	watcher *fsnotify.Watcher
	ended   chan struct{} // closed when run has ended

	// changing is held while the watcher is changed, and run never waits for it: the watcher
	// waits for run with a lock held that its Add and Remove need.
	changing sync.Mutex
	failed   bool // a folder could not be watched, which has been logged

	mu      sync.Mutex         // held for a moment, and never while the watcher is called
	folders map[string]*folder // by path; changed with both locks held
}

// A folder is one that is watched, for all who want to be told of it.
type folder struct {
	path    string      // without links
	info    fs.FileInfo // what it was when it was added last
	watches map[*watch]struct{}
}

func newNotifier(watcher *fsnotify.Watcher) *notifier {
	n := &notifier{watcher: watcher, ended: make(chan struct{}), folders: map[string]*folder{}}
	go n.run()
	return n
}

func (n *notifier) close() {
	n.watcher.Close()
	<-n.ended
}

func (n *notifier) run() {
	defer close(n.ended)
	for {
		select {
		case e, ok := <-n.watcher.Events:
			if !ok {
				return
			}
			n.tell(e.Name)
		case _, ok := <-n.watcher.Errors:
			if !ok {
				return
			}
			n.tellAll() // events may have been lost
		}
	}
}

// tell tells of a change of a folder, or of what is in it.
func (n *notifier) tell(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range []string{path, filepath.Dir(path)} {
		if f := n.folders[p]; f != nil {
			f.tell()
		}
	}
}

func (n *notifier) tellAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.folders {
		f.tell()
	}
}

func (f *folder) tell() {
	for w := range f.watches {
		select {
		case w.told <- struct{}{}:
		default: // it is going to look
		}
	}
}

// follow has w told of these folders, and of no others.
func (n *notifier) follow(w *watch, paths []string) {
	n.changing.Lock()
	defer n.changing.Unlock()
	var folders []*folder
	for _, p := range paths {
		f, err := n.add(w, p)
		if f != nil {
			folders = append(folders, f)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !n.failed && w.o.Log != nil {
			n.failed = true
			w.o.Log.Warn("files in "+p+" are looked at again and again, since it cannot be watched: "+err.Error(), "logger", "config")
		}
	}
	for _, f := range w.folders {
		if !slices.Contains(folders, f) {
			n.drop(w, f)
		}
	}
	w.folders = folders
}

// add has w told of the folder. One that w has been told of already is added all the same:
// the system forgets a folder that is removed, though another one has its path now.
func (n *notifier) add(w *watch, path string) (*folder, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	f := n.find(path, info)
	another := !os.SameFile(f.info, info)
	n.mu.Lock()
	f.info = info
	f.watches[w] = struct{}{}
	n.folders[f.path] = f
	n.mu.Unlock()
	if another {
		_ = n.watcher.Remove(f.path) // it may have gone already
		defer n.tell(f.path)         // of what the others have not been told of meanwhile
	}
	return f, n.watcher.Add(f.path)
}

// find returns the folder, a new one where it is not watched. One of two paths (of a folder
// that is mounted twice) is watched by the first, as the system tells of it once.
func (n *notifier) find(path string, info fs.FileInfo) *folder {
	if f := n.folders[path]; f != nil {
		return f
	}
	for _, f := range n.folders {
		if !os.SameFile(f.info, info) {
			continue
		}
		// One that was removed may have left its number to this one.
		if now, err := os.Stat(f.path); err == nil && os.SameFile(now, info) {
			return f
		}
	}
	return &folder{path: path, info: info, watches: map[*watch]struct{}{}}
}

// drop has w no longer told of the folder.
func (n *notifier) drop(w *watch, f *folder) {
	n.mu.Lock()
	delete(f.watches, w)
	unused := len(f.watches) == 0
	if unused {
		delete(n.folders, f.path)
	}
	n.mu.Unlock()
	if unused {
		_ = n.watcher.Remove(f.path) // it may have gone already
	}
}
