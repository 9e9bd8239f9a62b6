package pump

import (
	"io"
	"os"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
)

// A flow is one direction of a pair. Whoever runs it alone touches the plain fields: a
// goroutine of its own, which ends when there is nothing to be taken from a pipe, or
// then the goroutine of another flow (swift.go).
type flow struct {
	p        *pair
	src, dst *end
	from     filter.Direction
	class    uint8 // size of the next read
	paused   bool  // reading waits for dst to take what was read
	doomed   bool  // src was reset and dst has not moved since the last look
	sinking  bool  // dst takes no more: what is read is thrown away
	hasty    bool  // tryWrite does not wait

	held  piece  // what was read and is not yet written
	again func() // runs the flow in a goroutine; nil until it is needed
	back  *flow  // goes on when this one, which it has woken, has nothing to do

	alarm             time.Duration // write deadline of dst, in the group's time; 0: none
	tryRead, tryWrite func(fd uintptr) bool
	inErr, outErr     error // what they met
}

func (f *flow) init(p *pair, from filter.Direction, src, dst *end) {
	f.p, f.from, f.src, f.dst = p, from, src, dst
	if src.sock != nil {
		f.tryRead = f.readNow
	}
	if dst.sock != nil {
		f.tryWrite = f.writeNow
	}
	if w, ok := dst.stream.(interface {
		OnFull(full func(), late func() error)
	}); ok {
		w.OnFull(f.pause, f.look)
	}
}

// run moves the bytes of one direction until it has ended or the pair has, or until
// it sleeps; then it belongs to whoever wakes it.
func (f *flow) run() (stopped bool) {
	for {
		err := f.read()
		if err == errAsleep {
			return false
		}
		if f.sinking {
			f.free()
			if err == nil {
				continue
			}
			f.sunk(err)
			return true
		}
		if err == nil {
			err = f.awake(len(f.held.b))
		}
		if err != nil {
			f.free()
			f.sourceEnded(err)
			return true
		}
		if err = f.write(); err != nil && !f.destinationEnded(err) {
			return true
		}
	}
}

// awake runs the hook that waits for the first downstream bytes, of which n have come.
func (f *flow) awake(n int) error {
	if f.from == filter.FromUpstream || f.p.first == nil {
		return nil
	}
	first := f.p.first
	f.p.first = nil
	if err := first(); err != nil {
		f.p.kept(n)
		f.p.CloseLocal(f.p.hop, err.Error())
		return os.ErrDeadlineExceeded
	}
	return nil
}

// sourceEnded takes over when nothing more can be read from src and what was read is
// written.
func (f *flow) sourceEnded(err error) {
	err = ended(err)
	if err == io.EOF || err == errClosed || err == errGone {
		if f.awake(0) != nil {
			return
		}
	}
	f.p.mu.Lock()
	f.src.deaf = true
	f.src.fate.learn(err)
	how := f.src.fate // perhaps as seen by the flow that wrote to it
	f.p.mu.Unlock()
	switch {
	case how != alive:
		f.p.left(f.src, how)
	case err == io.EOF:
		f.passEOF()
	}
	// errGone: the other flow is on its way to destinationEnded.
}

// passEOF passes a half close on. Who comes second ends the pair; the first one has
// then sent its FIN, too, before finish.
func (f *flow) passEOF() {
	f.p.mu.Lock()
	f.src.eof, f.dst.shut = true, true
	second := f.dst.eof
	f.p.mu.Unlock()
	_ = f.dst.stream.CloseWrite()
	if second {
		f.p.left(f.src, closed)
		return
	}
	f.lurk()
}

// lurk waits, after its half close, for the peer of src to go away as a whole: a
// client that gave up while its host is silent would else be noticed by nobody.
func (f *flow) lurk() {
	switch {
	case f.src.pipe != nil:
		f.src.pipe.OnPeerGone(f.peerGone)
	case f.src.sock != nil:
		f.lurkAt(f.src.raw)
	case f.src.below != nil:
		if raw, err := f.src.below.SyscallConn(); err == nil {
			f.lurkAt(raw)
		}
	}
}

func (f *flow) lurkAt(raw syscall.RawConn) {
	err := raw.Read(func(fd uintptr) bool {
		e := netconn.Poll(fd)
		return e.Dead || e.Failed
	})
	if err == nil {
		f.peerGone(false)
	}
}

// peerGone ends the pair unless it has just ended in good order: after our own FIN
// the peer of src has every right to be gone.
func (f *flow) peerGone(wasReset bool) {
	f.p.mu.Lock()
	finished := f.src.shut
	f.p.mu.Unlock()
	switch {
	case wasReset:
		f.p.left(f.src, reset)
	case !finished:
		f.p.left(f.src, closed)
	}
}

// destinationEnded takes over when dst can no longer be written to. What its peer
// sent before is still to be delivered by the other flow, which then ends the pair.
// Meanwhile f goes on as a sink, if it reports so: what src sends is thrown away, so
// that its peer does not block on us while it has still to take what the other flow
// brings.
func (f *flow) destinationEnded(err error) (sink bool) {
	if err = ended(err); err == os.ErrDeadlineExceeded { // there is a verdict
		return false
	}
	if f.doomed { // given up: err is about src
		f.p.left(f.src, reset)
		return false
	}
	f.p.mu.Lock()
	if f.dst.fate == alive {
		f.dst.fate.learn(err)
	}
	how, nobody := f.dst.fate, f.dst.deaf
	f.p.mu.Unlock()
	if nobody {
		f.p.left(f.dst, how)
		return false
	}
	f.resume() // nobody waits for dst any more, however full it was
	f.sinking = true
	return true
}

// sunk ends a sink.
func (f *flow) sunk(err error) {
	f.p.mu.Lock()
	f.src.deaf = true
	helpless := f.src.fate != alive // the other flow was here, too
	f.src.fate.learn(err)
	how := f.dst.fate
	f.p.mu.Unlock()
	if helpless {
		f.p.left(f.dst, how)
	}
}
