package http1

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/ginnel/ginnel/httpmsg"
)

// A body is the incoming body of the message at hand; each side of a connection has one
// and uses it again. It implements httpmsg.Body.
//
// mu is for the end of an exchange only, when its owner wants the input back while
// somebody may still wait in Next.
type body struct {
	mu    sync.Mutex
	in    *input
	rules *rules
	kind  framing
	left  int64  // of the message, or of the chunk at hand
	piece []byte // found, and not returned yet
	state bodyState
	lead  chunkState

	done    atomic.Bool // the end was reached
	stopped atomic.Pointer[httpmsg.ResetError]
	err     error
	trailer httpmsg.Header
	block   block
	waste   int64 // bytes of chunk framing beyond what data excuse
	// failed makes an error of the input one of the exchange.
	failed func(error) *httpmsg.ResetError
	atEOF  func() // called at the end of a tunnel's direction; nil: nobody
}

type bodyState uint8

const (
	inData bodyState = iota
	atEnd
	broken
)

func (b *body) begin(f framed) {
	b.kind, b.left, b.piece, b.state, b.lead = f.kind, f.length, nil, inData, chunkLine
	b.err, b.trailer, b.waste = nil, nil, 0
	if b.stopped.Load() != nil {
		b.stopped.Store(nil)
	}
	set(&b.done, f.kind == noBody)
	if f.kind == noBody {
		b.state = atEnd
	}
}

// set stores v where it is another value: to store costs as much as a lock, and most of
// what is set for each message is as it was.
func set(at *atomic.Bool, v bool) {
	if at.Load() != v {
		at.Store(v)
	}
}

// Next implements httpmsg.Body.
func (b *body) Next() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if why := b.stopped.Load(); why != nil {
		return nil, why
	}
	for {
		if b.advance() {
			return b.result()
		}
		if err := b.in.fill(); err != nil {
			if why := b.stopped.Load(); why != nil {
				return nil, why
			}
			b.endOfInput(err)
		}
	}
}

// Ready implements httpmsg.Body.
func (b *body) Ready() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stopped.Load() != nil || b.advance()
}

// Trailer implements httpmsg.Body.
func (b *body) Trailer() httpmsg.Header {
	if !b.done.Load() {
		return nil
	}
	return b.trailer
}

// advance goes on as far as the bytes that are there allow. It reports whether there is
// a result for Next.
func (b *body) advance() bool {
	if b.piece != nil || b.state != inData {
		return true
	}
	switch b.kind {
	case byLength:
		b.takeLeft()
		if b.left == 0 {
			b.finish()
		}
	case byChunks:
		b.advanceChunks()
	default:
		b.piece = b.in.unread()
		b.in.consume(len(b.piece))
	}
	if len(b.piece) == 0 {
		b.piece = nil
	}
	return b.piece != nil || b.state != inData
}

// takeLeft takes what there is of the message or chunk.
func (b *body) takeLeft() {
	p := b.in.unread()
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	b.in.consume(len(p))
	b.left -= int64(len(p))
	b.piece = p
}

func (b *body) finish() {
	b.state = atEnd
	b.done.Store(true)
}

func (b *body) result() ([]byte, error) {
	p := b.piece
	b.piece = nil
	switch b.state {
	case broken:
		if p == nil {
			return nil, b.err
		}
	case atEnd:
		return p, io.EOF
	}
	return p, nil
}

// endOfInput takes the error of the input, which is the end of what ends so.
func (b *body) endOfInput(err error) {
	if err == io.EOF && (b.kind == byClose || b.kind == raw) {
		b.finish()
		if b.kind == raw && b.atEOF != nil {
			b.atEOF()
		}
		return
	}
	b.fail(b.failed(err))
}

func (b *body) fail(err error) {
	b.state, b.err = broken, err
}

func (b *body) refuse(r *refusal) { b.fail(r.why()) }

// stop has Next return why from now on, and waits until it has. What Next returned
// before is no longer valid.
func (b *body) stop(why *httpmsg.ResetError) {
	b.stopped.CompareAndSwap(nil, why)
	if b.mu.TryLock() {
		b.mu.Unlock()
		return
	}
	b.in.deadline(past)
	b.mu.Lock()
	b.in.deadline(never)
	b.mu.Unlock()
}

// here reports whether the rest of the message is already there, so that it costs
// nothing to skip it.
func (b *body) here() bool {
	if b.done.Load() {
		return true
	}
	if !b.mu.TryLock() {
		return false // somebody waits for it in Next
	}
	defer b.mu.Unlock()
	return b.stopped.Load() == nil && b.kind == byLength && b.state == inData && b.left <= int64(b.in.buffered())
}

// skip drops what is there of the body. It reports whether that was all of it.
func (b *body) skip() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.state == inData {
		b.piece = nil
		if !b.advance() {
			break
		}
	}
	b.piece = nil
	return b.state == atEnd
}
