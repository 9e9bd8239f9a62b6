package pump

// A queue is the wires that have more to do than one turn allows.
type queue struct {
	first, last *wire
	len         int
}

func (q *queue) put(w *wire) {
	if w.queued {
		return
	}
	w.queued = true
	if q.last == nil {
		q.first = w
	} else {
		q.last.following = w
	}
	q.last = w
	q.len++
}

func (q *queue) take() *wire {
	w := q.first
	if w == nil {
		return nil
	}
	if q.first = w.following; q.first == nil {
		q.last = nil
	}
	w.following, w.queued = nil, false
	q.len--
	return w
}
