// Package tunnel is the bytes of an HTTP exchange as a connection: what a CONNECT, or a
// POST in its place, carries once it was accepted.
//
// Half close, full close and reset stay three different things:
//
//	the connection   the exchange
//	CloseWrite       END_STREAM; what comes back is still delivered
//	Close            END_STREAM behind what was written. HTTP knows no "and I read no
//	                 more": a reset says so when more comes, or the tunnel stays open for
//	                 no reason. It is not sent at once, for it would overtake the bytes.
//	Reset            reset at once
//
// And back: END_STREAM is io.EOF, a reset, or the end of the connection under the
// exchange, is a reset.
package tunnel

import (
	"io"
	"sync"
	"time"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// How long a tunnel that was closed, but not by the far side, stays: where the far side
// cannot have bytes left to take, and otherwise. Linux gives sockets as long as the second.
const (
	settled   = 50 * time.Millisecond
	unsettled = time.Minute
)

// An Exchange is the side of an exchange that a tunnel runs in.
type Exchange struct {
	Writer httpmsg.Writer
	Body   httpmsg.Body
	// Ended is called when nothing of the exchange is used any more, with the trailers
	// that came (nil: none).
	Ended func(trailer httpmsg.Header)
}

// Open returns the connection that x carries, which the caller owns; the tunnel owns x.
// Each direction holds about bufferBytes; 0: 1 MiB.
func Open(x Exchange, bufferBytes int) *pipe.Conn {
	near, far := pipe.New(pipe.Options{LimitBytes: bufferBytes})
	t := &tunnel{x: x, far: far}
	far.OnPeerGone(t.gone)
	go t.run()
	return near
}

type tunnel struct {
	x   Exchange
	far *pipe.Conn // its other end is the caller's

	mu       sync.Mutex
	unheard  bool // the far side was sent bytes, and has sent none since
	sent     bool // END_STREAM
	received bool // END_STREAM
	closed   bool // the caller has closed its end
	lost     bool // the far side takes nothing any more
	linger   *time.Timer

	life sync.Mutex // of the exchange, for those who may come too late
	over bool       // it is not the tunnel's any more
}

var canceled = &httpmsg.ResetError{Reason: httpmsg.LocalReset, Code: 8 /* CANCEL */}

// run owns the exchange; it ends when both directions have.
func (t *tunnel) run() {
	w, watched := t.x.Writer.(httpmsg.Watched)
	if watched {
		w.OnReset(t.reset)
	}
	var sender sync.WaitGroup
	sender.Go(t.send)
	ended := t.receive()
	if !ended {
		_ = t.far.Reset()
	}
	sender.Wait()
	if watched {
		w.OnReset(nil)
	}
	t.mu.Lock()
	if t.linger != nil {
		t.linger.Stop()
	}
	t.mu.Unlock()
	_ = t.far.Close()
	t.life.Lock()
	t.over = true
	t.life.Unlock()
	var trailer httpmsg.Header
	if ended {
		trailer = t.x.Body.Trailer()
	}
	t.x.Ended(trailer)
}

// send passes on what the caller writes, until it ends or the exchange does.
func (t *tunnel) send() {
	for {
		k, err := t.far.ReadChunk()
		if err != nil {
			t.finish(err)
			return
		}
		t.mu.Lock()
		t.unheard = true
		t.mu.Unlock()
		err = t.x.Writer.WriteData(k.Bytes(), false)
		k.Free()
		if waiting, _ := t.far.Buffered(); err == nil && waiting == 0 {
			err = t.x.Writer.Flush()
		}
		if err != nil {
			t.refused()
			return
		}
	}
}

// refused tells the caller that its writes reach nobody. If the whole exchange has been
// reset, receive is told, too.
func (t *tunnel) refused() {
	t.mu.Lock()
	over := t.received
	t.lost = true
	t.mu.Unlock()
	if over {
		_ = t.far.Close() // what came before can still be read
	}
}

// reset is called when the far side has reset the exchange: who reads finds out behind
// what came before, who does not write would not.
func (t *tunnel) reset(*httpmsg.ResetError) { t.refused() }

// finish ends the sending direction as the caller has ended its.
func (t *tunnel) finish(err error) {
	if err != io.EOF {
		t.x.Writer.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		return
	}
	if t.x.Writer.WriteData(nil, true) != nil {
		t.refused()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent = true
	t.await()
}

// cut resets the exchange for somebody whom run does not wait for.
func (t *tunnel) cut(why *httpmsg.ResetError) {
	t.life.Lock()
	defer t.life.Unlock()
	if !t.over {
		t.x.Writer.Reset(why)
	}
}

// gone is called when the caller has closed or reset its end.
func (t *tunnel) gone(reset bool) {
	if reset {
		t.cut(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.await()
}

// await begins the wait for the far side's end, with mu held, once nothing more will be
// sent or read.
func (t *tunnel) await() {
	if !t.sent || !t.closed || t.received || t.linger != nil {
		return
	}
	d := settled
	if t.unheard {
		d = unsettled
	}
	t.linger = time.AfterFunc(d, func() { t.cut(canceled) })
}

// receive passes on what the far side sends; false: it did not end in order.
func (t *tunnel) receive() (ended bool) {
	for {
		p, err := t.x.Body.Next()
		if len(p) > 0 && !t.deliver(p) {
			t.x.Writer.Reset(canceled)
			return false
		}
		if err == io.EOF {
			t.mu.Lock()
			t.received = true
			lost := t.lost
			t.mu.Unlock()
			_ = t.far.CloseWrite()
			if lost {
				_ = t.far.Close()
			}
			return true
		}
		if err != nil {
			return false
		}
	}
}

// deliver reports false when nobody reads any more.
func (t *tunnel) deliver(p []byte) bool {
	t.mu.Lock()
	t.unheard = false
	t.mu.Unlock()
	_, err := t.far.Write(p)
	return err == nil
}
