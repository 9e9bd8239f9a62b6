package http2

import (
	"sync"

	"github.com/ginnel/ginnel/httpmsg"
)

// A watch tells that the peer has reset a stream, or gone away. Its fields are guarded by
// the connection's mu.
type watch struct {
	notify  func(*httpmsg.ResetError) // nil: nobody wants to know
	lost    *httpmsg.ResetError       // what there is to tell
	telling bool                      // notify is running, or about to
	quiet   sync.Cond                 // signalled when it is not any more
}

// OnReset implements httpmsg.Responder and httpmsg.Watched.
func (s *stream) OnReset(f func(*httpmsg.ResetError)) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	w := &s.watch
	if f == nil {
		w.takeBack()
		return
	}
	w.notify = f
	if w.lost != nil && !w.telling {
		w.telling = true
		go s.tell(w.lost)
	}
}

// takeBack lets nobody be told any more. It holds mu, but while it waits.
func (w *watch) takeBack() {
	w.notify = nil
	for w.telling {
		w.quiet.Wait()
	}
}

// note reports whether someone wants to know; tell must then be called. It holds mu.
func (w *watch) note(why *httpmsg.ResetError) bool {
	w.lost = why
	if w.notify == nil || w.telling {
		return false
	}
	w.telling = true
	return true
}

// tell calls who wants to know of a reset, and who asked for it meanwhile. It does not hold
// mu.
func (s *stream) tell(why *httpmsg.ResetError) {
	w := &s.watch
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for w.notify != nil {
		f := w.notify
		w.notify = nil
		s.c.mu.Unlock()
		f(why)
		s.c.mu.Lock()
	}
	w.telling = false
	w.quiet.Broadcast()
}
