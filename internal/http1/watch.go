package http1

import (
	"sync"

	"github.com/ginnel/ginnel/httpmsg"
)

// A resetWatch tells one function of the end of an exchange. The function is called with
// the lock held, so that who takes it back knows that it is not running.
type resetWatch struct {
	mu     sync.Mutex
	active bool
	why    *httpmsg.ResetError // it has happened
	f      func(*httpmsg.ResetError)
}

func (w *resetWatch) begin() {
	w.mu.Lock()
	w.active, w.why, w.f = true, nil, nil
	w.mu.Unlock()
}

func (w *resetWatch) end() {
	w.mu.Lock()
	w.active, w.f = false, nil
	w.mu.Unlock()
}

func (w *resetWatch) set(f func(*httpmsg.ResetError)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.f = f
	w.call()
}

func (w *resetWatch) fire(why *httpmsg.ResetError) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.active && w.why == nil {
		w.why = why
		w.call()
	}
}

func (w *resetWatch) call() {
	if f := w.f; f != nil && w.why != nil {
		w.f = nil
		f(w.why)
	}
}
