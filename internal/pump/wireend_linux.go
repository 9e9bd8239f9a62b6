package pump

import (
	"io"

	"github.com/ginnel/ginnel/filter"
)

// endOfSocket says what it means that a read has returned 0.
func (w *wire) endOfSocket(s *side) error {
	if s.has(shut) || !s.has(hungUp) { // our own FIN makes it hang up, too
		return io.EOF
	}
	return endOf(s.sock, s.sock.Poll())
}

// sourceEnded takes over when nothing more can be read from s and what was read is
// written.
func (w *wire) sourceEnded(d filter.Direction, err error) {
	s := &w.sides[d]
	if err != errReset && !w.awake(d, 0) {
		return
	}
	s.is |= deaf
	s.fate.learn(err)
	if err == errGone && s.fate == alive {
		s.fate = s.unsaid()
	}
	switch {
	case s.fate != alive:
		w.left(d, s.fate)
	case err == io.EOF:
		w.passEOF(d)
	}
}

// unsaid is the fate of a side whose error nobody was told of: a splice to it that had
// moved something kept it to itself, and the kernel tells it once.
func (s *side) unsaid() fate {
	if s.has(finished) {
		return closed
	}
	return reset
}

// passEOF passes a half close on. Who comes second ends the wire; else it is watched
// for its peer to go away as a whole: a client that gave up while its host is silent
// would else be noticed by nobody.
func (w *wire) passEOF(d filter.Direction) {
	s, o := &w.sides[d], &w.sides[1-d]
	s.is |= eof | lurking
	o.is |= shut
	if o.has(eof) { // the end of the wire sends the FIN
		w.left(d, closed)
		return
	}
	_ = o.sock.CloseWrite()
}

// lurk ends the wire when the peer of s is gone, unless it has just ended in good
// order: after our own FIN it has every right to be.
func (w *wire) lurk(d filter.Direction) {
	s := &w.sides[d]
	if s.has(shut) || !s.has(hungUp) {
		return
	}
	if e := s.sock.Poll(); e.Dead || e.Failed {
		w.left(d, closed)
	}
}

// destinationEnded takes over when the other side of s can no longer be written to.
// What its peer sent before is still to be delivered, and that direction then ends
// the wire.
func (w *wire) destinationEnded(d filter.Direction, err error) {
	s, o := &w.sides[d], &w.sides[1-d]
	if o.fate == alive {
		o.fate.learn(err)
	}
	if o.has(deaf) {
		w.left(1-d, o.fate)
		return
	}
	if s.cargo != nil {
		w.loop.release(s.cargo)
		s.cargo = nil
	}
	w.resume(d) // nobody waits for o any more, however full it was
	s.is |= sinking
	w.loop.queue.put(w) // for both directions
}

// sunk takes over when s, whose bytes were thrown away, has ended.
func (w *wire) sunk(d filter.Direction, err error) {
	s, o := &w.sides[d], &w.sides[1-d]
	s.is = s.is&^sinking | deaf
	helpless := s.fate != alive // it could not be written to either
	s.fate.learn(err)
	if helpless {
		w.left(1-d, o.fate)
	}
}

// left ends the wire because the peer of a side is gone, or was the last to end.
func (w *wire) left(d filter.Direction, how fate) {
	w.end(verdict{Ending: filter.Ending{Cause: causes[d][how]}})
}

var causes = [2][3]filter.Cause{
	filter.FromDownstream: {alive: filter.DownstreamClosed, closed: filter.DownstreamClosed, reset: filter.DownstreamReset},
	filter.FromUpstream:   {alive: filter.UpstreamClosed, closed: filter.UpstreamClosed, reset: filter.UpstreamReset},
}

// A finale is the end of a wire that takes a while.
type finale struct {
	verdict
	linger
	last   *side // that is still open
	resets bool  // it will be reset, not closed
}

// end ends the wire. The first verdict counts; later local ones cut its finale short.
func (w *wire) end(v verdict) {
	switch w.phase {
	case fresh: // begin will see to it
		if w.finale == nil {
			w.finale = &finale{verdict: v}
			w.phase = delivering
		}
	case moving:
		w.close(v)
	case delivering:
		if w.finale.last != nil && local(v.Cause) {
			w.finish()
		}
	}
}

// close closes both sockets as the verdict says: the one whose peer has ended at
// once, the other when what is on its way to it has left. A socket that is closed
// while its peer goes on sending is reset, and what was not acknowledged is lost; so
// is, with a reset, all that was not sent.
func (w *wire) close(v verdict) {
	w.phase = delivering
	for d := range w.sides {
		if s := &w.sides[d]; s.cargo != nil {
			w.loop.release(s.cargo)
			s.cargo = nil
		}
	}
	w.finale = &finale{verdict: v}
	f := w.finale
	d := filter.FromDownstream
	switch v.Cause {
	case filter.UpstreamClosed, filter.UpstreamReset:
		d = filter.FromUpstream
	}
	first, last := &w.sides[d], &w.sides[1-d]
	f.resets = v.Cause == filter.DownstreamReset || v.Cause == filter.UpstreamReset
	f.last = last
	first.close()
	if local(v.Cause) || last.sock.Unix() || last.has(eof) && !f.resets {
		w.finish()
		return
	}
	if !f.resets {
		_ = last.sock.CloseWrite()
	}
	if w.delivered() {
		w.finish()
		return
	}
	if d == filter.FromDownstream {
		w.beginFlush()
	}
	f.linger = newLinger(last.sock)
	w.arm()
}

// close closes the socket after what was written to it.
func (s *side) close() {
	if s.has(eof) {
		_ = s.sock.CloseAfterEOF()
	} else {
		_ = s.sock.Close()
	}
}

// delivered reports whether all that was written to the last side has left, or never
// will.
func (w *wire) delivered() bool {
	s := w.finale.last
	if w.finale.resets {
		return drained(s.sock, s.has(eof) && s.has(shut))
	}
	return delivered(s.sock)
}

// lookAgain goes on with a finale as long as the bytes that were not sent get fewer.
func (w *wire) lookAgain() {
	if f := w.finale; w.delivered() || f.stuck(f.last.sock, w.group.flushTimeout()) {
		w.finish()
	}
}

// finish closes what is still open and tells the hops.
func (w *wire) finish() {
	if w.finale.resets {
		_ = w.finale.last.sock.Reset()
	} else {
		w.finale.last.close()
	}
	w.phase = over
	w.resume(filter.FromDownstream) // what was paused is told in pairs
	w.resume(filter.FromUpstream)
	w.endFlush()
	w.loop.drop(w)
	w.group.active.Add(-1)
	w.group.loops.released(w.loop)
	w.conclude(w.finale.verdict)
	w.group.running.done()
}

// arm sets the timer for whatever is due first.
func (w *wire) arm() {
	due, _, _ := w.expiry()
	for d := range w.sides {
		if a := w.sides[d].alarm; a > 0 && w.phase == moving {
			due = min(due, a)
		}
	}
	if w.phase == delivering {
		due = min(due, w.loop.now+w.finale.pause)
	}
	if due != never {
		w.loop.wheel.set(w, due)
	}
}

// expire is called when the timer fires. Bytes do not touch the timer; whether it is
// time shows here.
func (w *wire) expire() {
	if at, by, cause := w.expiry(); at <= w.loop.now {
		w.end(w.struck(by, cause))
	} else if w.phase == delivering {
		w.lookAgain()
	} else {
		for d := range w.sides {
			w.look(filter.Direction(d))
		}
	}
	if w.phase != over {
		w.arm()
	}
}

// setAlarm makes sure that somebody looks around if the other side of s stays full.
func (w *wire) setAlarm(s *side) {
	s.alarm = w.loop.now + w.group.flushTimeout()
	if t := w.timer.due; t == 0 || s.alarm < t {
		w.loop.wheel.set(w, s.alarm)
	}
}

// look is for a direction that may have waited long for room: nobody reads s
// meanwhile, so nobody would notice that its peer has reset the connection. Then it
// waits only as long as the other side makes progress.
func (w *wire) look(d filter.Direction) {
	s := &w.sides[d]
	if w.phase != moving || s.alarm == 0 || s.alarm > w.loop.now {
		return
	}
	s.alarm = 0
	if !s.has(paused) {
		return
	}
	if s.has(doomed) {
		w.left(d, reset)
		return
	}
	if s.fate == reset || s.sock.Poll().Failed {
		s.is |= doomed
	}
	w.lookForFlush(d)
	w.setAlarm(s)
}

// lookForFlush tells the hops when a direction is all that is left of a connection
// whose client is gone.
func (w *wire) lookForFlush(d filter.Direction) {
	s, o := &w.sides[d], &w.sides[1-d]
	if d == filter.FromUpstream || w.flushing || !s.has(eager) {
		return
	}
	e := s.sock.Poll()
	if e.Dead || e.FIN && (o.has(eof) || o.has(deaf)) { // our own FIN was sent
		w.beginFlush()
	}
}
