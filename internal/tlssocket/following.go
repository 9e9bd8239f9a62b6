package tlssocket

import "github.com/ginnel/ginnel/filter"

// A following is the watch of the one file that trust bundles are from, which may become
// another one, or none. Who has it locks it.
type following struct {
	from   filter.FileWatch // nil: nobody tells of files
	path   string           // "": no file is followed
	end    func()
	closed bool
}

// follow has changed called from now on for a file in place of the one before, unless it is the
// same; "" follows none.
func (f *following) follow(path string, changed func() error) {
	if path == f.path || f.closed || f.from == nil {
		return
	}
	f.stop()
	if f.path = path; path != "" {
		f.end = f.from.Watch(path, changed)
	}
}

func (f *following) stop() {
	if f.end != nil {
		f.end()
		f.end = nil
	}
}

// close ends the watch, and keeps another one from beginning.
func (f *following) close() {
	f.closed = true
	f.stop()
}
