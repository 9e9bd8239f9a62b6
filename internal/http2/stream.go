package http2

import (
	"io"
	"sync"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
)

// A stream is what both sides have in common: a message comes in, another one goes out.
// It is the Body of the first and the Writer of the second. Its fields are guarded by
// the connection's mu, but for those that say otherwise.
type stream struct {
	c        *conn
	id       uint32    // 0: nothing was sent on it yet
	answer   *answer   // of a server
	exchange *exchange // of a client

	listed   bool                // in c.streams
	received bool                // END_STREAM has come
	sent     bool                // END_STREAM is queued
	over     *httpmsg.ResetError // how the stream ended, if not in order
	unsent   *httpmsg.ResetError // why nothing more can be sent, though what has come is whole
	stopped  *httpmsg.ResetError // why what comes is dropped

	length  int64 // what content-length says is still to come; <0: it says nothing
	credit  int64 // what the peer takes beyond its initial window; below 0: less than that
	recv    int64 // what the peer may still send
	due     uint32
	pieces  pieces
	reading *piece // what Next returned
	trailer httpmsg.Header
	lines   httpmsg.Header // of the head that came; the slice is used again

	readable sync.Cond
	writable sync.Cond
	next     *stream // in the line
	inLine   bool
	called   bool // out of the line, to send
	blocked  bool // the stream's own window is used up

	watch watch
	wire  httpmsg.Wire
}

func (s *stream) init(c *conn) {
	s.c = c
	s.readable.L, s.writable.L, s.watch.quiet.L = &c.mu, &c.mu, &c.mu
	s.length = -1
	// A peer need not have seen SETTINGS yet that allow less than every stream begins with.
	s.recv = int64(max(c.o.StreamWindow, initialWindow))
}

// open lists the stream. It holds mu.
func (s *stream) open(id uint32) {
	s.id, s.listed = id, true
	s.c.streams[id] = s
	s.c.opened++
	s.c.o.Stats.active(1)
}

// leave takes the stream off the list once both directions have ended. It holds mu.
func (s *stream) leave(how closeKind) {
	if !s.listed {
		return
	}
	s.listed = false
	delete(s.c.streams, s.id)
	s.c.closed.add(s.id, how)
	if how == closedByUs && !s.received {
		s.c.stray += max(s.recv, 0)
	}
	s.c.scheduling.forget(&s.c.o)
	s.c.o.Stats.active(-1)
	s.c.side.left(s)
}

// leaveDone does so if they have ended in order. It holds mu.
func (s *stream) leaveDone() {
	if s.sent && s.received {
		s.leave(closedDone)
	}
}

// fail ends both directions, and wakes who waits; what has come before can still be read.
// It reports whether there is someone to tell. It holds mu.
func (s *stream) fail(why *httpmsg.ResetError) (tell bool) {
	if s.over != nil {
		return false
	}
	s.over = why
	s.leave(closedByPeer)
	s.wakeAll()
	return s.watch.note(why)
}

func (s *stream) wakeAll() {
	s.c.line.remove(s)
	s.c.drained.Broadcast()
	s.c.slots.Broadcast()
	s.readable.Broadcast()
	s.writable.Broadcast()
}

// reset ends the stream with RST_STREAM, if it is open; what has come before can still be
// read. It holds mu.
func (s *stream) reset(why *httpmsg.ResetError, code xhttp2.ErrCode) {
	if s.over != nil {
		return
	}
	if s.listed {
		s.c.sendReset(s.id, code)
		s.leave(closedByUs)
	}
	s.over = why
	s.wakeAll()
}

// Reset implements httpmsg.Writer. What the peer sent before it ended the stream without
// order is dropped, too.
func (s *stream) Reset(why *httpmsg.ResetError) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if !s.listed && s.id != 0 && s.over == nil {
		return // it is over in order
	}
	s.reset(why, codeOf(why))
	s.drop()
}

// drop forgets what has come and was not read. It holds mu.
func (s *stream) drop() {
	s.dropPieces()
	if x := s.exchange; x != nil {
		x.ready, x.informs = false, nil
	}
}

// sendReset queues a RST_STREAM. It holds mu.
func (c *conn) sendReset(id uint32, code xhttp2.ErrCode) {
	c.out = appendShort(c.queue(), xhttp2.FrameRSTStream, id, uint32(code))
	c.controls[0]++
	c.o.Stats.count(statTxReset)
	c.flush()
}

// Next implements httpmsg.Body.
func (s *stream) Next() ([]byte, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.giveBack()
	for {
		switch {
		case s.stopped != nil:
			return nil, s.stopped
		case s.pieces.first != nil:
			s.reading = s.pieces.pop()
			if s.received && s.over == nil && s.pieces.first == nil {
				return s.reading.bytes(), io.EOF
			}
			return s.reading.bytes(), nil
		case s.over != nil:
			return nil, s.over
		case s.received:
			return nil, io.EOF
		}
		s.readable.Wait()
	}
}

// Ready implements httpmsg.Body.
func (s *stream) Ready() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.pieces.first != nil || s.received || s.over != nil || s.stopped != nil
}

// Trailer implements httpmsg.Body.
func (s *stream) Trailer() httpmsg.Header {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if !s.received || s.pieces.first != nil {
		return nil
	}
	return s.trailer
}

// giveBack returns the piece that was read, and the window that it took. It holds mu.
func (s *stream) giveBack() {
	if s.reading == nil {
		return
	}
	n := s.reading.w
	s.c.free(s.reading)
	s.reading = nil
	s.consumed(n)
}

// consumed gives n bytes back to the peer's windows. It holds mu.
func (s *stream) consumed(n int) {
	s.c.consumed(n)
	if s.received || !s.listed {
		return
	}
	if s.due += uint32(n); s.due >= s.c.o.StreamWindow/2 {
		s.recv += int64(s.due)
		s.c.out = appendShort(s.c.queue(), xhttp2.FrameWindowUpdate, s.id, s.due)
		s.due = 0
		s.c.flush()
	}
}

// consumed gives n bytes back to the connection's window. It holds mu.
func (c *conn) consumed(n int) {
	if c.due += uint32(n); c.due >= c.o.ConnectionWindow/2 {
		c.recv += int64(c.due)
		c.out = appendShort(c.queue(), xhttp2.FrameWindowUpdate, 0, c.due)
		c.due = 0
		c.flush()
	}
}

// dropPieces drops what has come and not been read; what is being read stays. It holds mu.
func (s *stream) dropPieces() {
	n := 0
	for s.pieces.first != nil {
		k := s.pieces.pop()
		n += k.w
		s.c.free(k)
	}
	if n > 0 {
		s.c.consumed(n)
	}
}

// deliver takes bytes that came, which are the input's. It holds mu.
func (s *stream) deliver(p []byte) {
	if s.stopped != nil || s.over != nil {
		s.consumed(len(p))
		return
	}
	c := s.c
	if c.in.chunk != nil && len(p) >= leastLent && c.lent < maxLent {
		c.lent++
		s.pieces.push(lentPiece(c.in.chunk, p))
		s.readable.Signal()
		return
	}
	if s.pieces.append(p, s.recv) {
		s.readable.Signal()
	}
}

// free gives a piece back. It holds mu.
func (c *conn) free(k *piece) {
	if k.chunk != nil {
		c.lent--
	}
	k.free()
}

// endReceived takes END_STREAM. It holds mu.
func (s *stream) endReceived() {
	s.received = true
	s.readable.Signal()
	s.leaveDone()
}

// recycle readies the stream to be used again, when nobody holds it any more. It holds mu.
func (s *stream) recycle() {
	s.giveBack()
	s.dropPieces()
	lines, trailer := s.lines, s.trailer
	clear(lines[:cap(lines)])
	clear(trailer[:cap(trailer)])
	*s = stream{lines: lines[:0], trailer: trailer[:0]}
}

// A closeKind is how a stream ended.
type closeKind uint8

const (
	closedUnknown closeKind = iota // or never opened
	closedDone                     // END_STREAM both ways
	closedByPeer                   // by its RST_STREAM
	closedByUs                     // by RST_STREAM: frames of before are still under way
)

// closedStreams remembers how the last streams ended: entries are identifiers with the kind
// above them, in sets by the identifier, the newest first. Identifiers come in order, so
// that sets fill evenly.
type closedStreams struct{ sets [][4]uint64 }

// maxClosedSets is how many sets there are at most.
const maxClosedSets = 256

func (l *closedStreams) set(id uint32) *[4]uint64 {
	return &l.sets[id>>1&uint32(len(l.sets)-1)]
}

func (l *closedStreams) add(id uint32, how closeKind) {
	if l.sets == nil {
		l.sets = make([][4]uint64, 4)
	}
	for l.set(id)[3] != 0 && len(l.sets) < maxClosedSets {
		l.grow()
	}
	l.put(uint64(how)<<32 | uint64(id))
}

func (l *closedStreams) put(e uint64) {
	s := l.set(uint32(e))
	copy(s[1:], s[:])
	s[0] = e
}

func (l *closedStreams) grow() {
	old := l.sets
	l.sets = make([][4]uint64, 2*len(old))
	for i := range old {
		for j := range old[i] {
			if e := old[i][len(old[i])-1-j]; e != 0 {
				l.put(e)
			}
		}
	}
}

func (l *closedStreams) how(id uint32) closeKind {
	if l.sets == nil {
		return closedUnknown
	}
	for _, e := range l.set(id) {
		if uint32(e) == id {
			return closeKind(e >> 32)
		}
	}
	return closedUnknown
}
