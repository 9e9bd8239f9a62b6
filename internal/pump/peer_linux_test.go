package pump

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
	"golang.org/x/sys/unix"
)

// Bytes of a peer are a function of their place; urgent ones can be told from them.
const urgent = 0xff

func byteAt(i int) byte { return byte(i^i>>7^i>>13) & 0x7f }

// A peer plays a part.
type peer struct {
	part
	stream filter.Stream
	sock   *netconn.Socket // nil: it is a pipe
	over   *atomic.Bool    // the pump has ended

	sent, sentUrgent, got, gotUrgent atomic.Int64
	acked                            bool // when it ended, its bytes had arrived
	wrong                            error
	closing                          atomic.Bool
	readEnd                          string // how the reader ended
	resetWriter                      bool   // the kernel tells of a reset once: it was the writer
	readDone                         chan struct{}
	moved                            atomic.Int64 // changes with all that happens
}

func newPeer(p part, s filter.Stream, over *atomic.Bool) *peer {
	sock, _ := s.(*netconn.Socket)
	return &peer{part: p, stream: s, sock: sock, over: over, readDone: make(chan struct{})}
}

// read is the peer's reader.
func (p *peer) read() {
	defer close(p.readDone)
	for buf := make([]byte, p.most); ; {
		b := buf
		if p.reads != all {
			b = b[:min(len(b), p.reads-int(p.got.Load()))]
			if len(b) == 0 {
				p.readEnd = "stopped"
				return
			}
		}
		n, err := p.stream.Read(b)
		if p.closing.Load() { // which discards what the reader has not read
			p.readEnd = "closed"
			return
		}
		p.check(b[:n])
		p.moved.Add(1)
		if err != nil {
			switch {
			case err == io.EOF:
				p.readEnd = "EOF"
			default:
				p.readEnd = outcome(err)
			}
			return
		}
		for range p.pauses {
			runtime.Gosched()
		}
	}
}

func (p *peer) check(b []byte) {
	at := int(p.got.Load())
	for _, x := range b {
		switch {
		case x == urgent:
			p.gotUrgent.Add(1)
			continue
		case x != byteAt(at) && p.wrong == nil:
			p.wrong = fmt.Errorf("byte %d is %#x, not %#x", at, x, byteAt(at))
		}
		at++
	}
	p.got.Store(int64(at))
}

// play does the steps and the end. Afterwards the socket is closed, or its reader has
// stopped and it is left open.
func (p *peer) play() {
	for _, x := range p.steps {
		if !p.do(x) {
			break
		}
	}
	switch p.end {
	case "flushed close", "flushed reset":
		p.flush()
	}
	switch p.end {
	case "half", "half close", "half reset":
		p.stream.CloseWrite()
	}
	switch p.end {
	case "close", "flushed close", "half close":
		p.close()
	case "reset", "flushed reset", "half reset":
		p.reset()
	default:
		<-p.readDone
		if p.readEnd != "stopped" {
			p.close()
		}
	}
}

// close may be called at any time, also twice.
func (p *peer) close() {
	p.closing.Store(true)
	p.stream.Close()
}

func (p *peer) reset() {
	p.closing.Store(true)
	p.stream.Reset()
}

func (p *peer) do(x step) bool {
	switch x.op {
	case "urgent":
		n, err := p.send([]byte{urgent}, unix.MSG_OOB)
		p.sentUrgent.Add(int64(n))
		return err == nil
	case "await":
		for p.got.Load() < int64(x.n) && !p.over.Load() {
			select {
			case <-p.readDone:
				return true
			default:
				time.Sleep(20 * time.Microsecond)
			}
		}
		return true
	}
	for left := x.n; left > 0; {
		b := make([]byte, min(left, x.piece))
		at := int(p.sent.Load())
		for i := range b {
			b[i] = byteAt(at + i)
		}
		flags := 0
		if x.op == "hold" {
			flags = unix.MSG_MORE
		}
		n, err := p.send(b, flags)
		p.sent.Add(int64(n))
		p.moved.Add(1)
		if left -= n; err != nil {
			return false
		}
	}
	return true
}

// send writes all of b.
func (p *peer) send(b []byte, flags int) (n int, err error) {
	if p.sock == nil {
		return p.stream.Write(b)
	}
	rc, err := p.sock.SyscallConn()
	if err != nil {
		return 0, err
	}
	var serr error
	err = rc.Write(func(fd uintptr) bool {
		for len(b) > 0 {
			m, err := unix.SendmsgN(int(fd), b, nil, nil, flags|unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			switch err {
			case nil:
				n += m
				b = b[m:]
			case unix.EINTR:
			case unix.EAGAIN:
				return false
			default:
				serr = err
				return true
			}
		}
		return true
	})
	if serr == unix.ECONNRESET {
		p.resetWriter = true
	}
	return n, errors.Join(err, serr)
}

// lastWord is how what the peer read has ended.
func (p *peer) lastWord() string {
	if p.readEnd == "EOF" && p.resetWriter {
		return "reset"
	}
	return p.readEnd
}

// flush waits until what was sent has arrived.
func (p *peer) flush() {
	if p.sock == nil {
		p.acked = true // no end of a pipe takes anything back
		return
	}
	for !p.over.Load() {
		n, err := p.sock.Unsent()
		if e := p.sock.Poll(); err != nil || e.Dead || e.Failed {
			return
		}
		if n == 0 {
			p.acked = true
			return
		}
		time.Sleep(20 * time.Microsecond)
	}
}

// shrink makes the buffers of a socket as small as the kernel allows.
func shrink(s *netconn.Socket) {
	rc, err := s.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
	})
}
