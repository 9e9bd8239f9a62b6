package tlssocket

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
)

// A wire is the stream below TLS as crypto/tls has it. It reads ahead, for crypto/tls
// asks for a record at a time, in two calls; and it gathers the records of one write.
// Memory is held only while there are bytes in it. Deadlines are the Conn's to set:
// those of crypto/tls would stay behind.
type wire struct {
	filter.Stream
	raw syscall.RawConn // of a socket; nil: Stream is another kind

	// The reader's.
	in      *block // holds ahead; nil: nothing is
	ahead   []byte
	class   uint8
	stays   bool                  // a read takes what is ahead and does not wait
	over    error                 // what the socket has said in the end, perhaps once
	failed  error                 // of the last fillNow
	tryFill func(fd uintptr) bool // fillNow, once and not for each read

	closing atomic.Bool // what is written now must not wait

	mu        sync.Mutex
	gathering bool
	holding   bool   // see hold
	held      []byte // nil: nothing is
	out       *block
	filled    []byte                // of out
	err       error                 // of a write that failed: records are missing since
	left      []byte                // of a write that is watched
	cut       error                 // why writeLeft has ended
	tryWrite  func(fd uintptr) bool // writeLeft, once and not for each write

	full func()       // see Conn.OnFull
	late func() error // see Conn.OnFull
}

// blockBytes are what a read asks for, more while reads come back full, and what a write
// gathers.
var blockBytes = [...]int{smallRead: 8 << 10, largeRead: 128 << 10, oneWrite: 64 << 10}

// Classes of blocks.
const (
	smallRead = iota
	largeRead
	oneWrite
)

// A block is pooled memory.
type block struct {
	b     []byte
	class uint8
}

var blocks = [len(blockBytes)]sync.Pool{
	smallRead: {New: func() any { return &block{make([]byte, blockBytes[smallRead]), smallRead} }},
	largeRead: {New: func() any { return &block{make([]byte, blockBytes[largeRead]), largeRead} }},
	oneWrite:  {New: func() any { return &block{make([]byte, blockBytes[oneWrite]), oneWrite} }},
}

func takeBlock(class uint8) *block { return blocks[class].Get().(*block) }

func (b *block) free() { blocks[b.class].Put(b) }

func newWire(s filter.Stream) *wire {
	w := &wire{Stream: s}
	if sock, ok := s.(*netconn.Socket); ok {
		if raw, err := sock.SyscallConn(); err == nil { // else closed, as Read will tell
			w.raw, w.tryFill, w.tryWrite = raw, w.fillNow, w.writeLeft
		}
	}
	return w
}

// Read implements io.Reader.
func (w *wire) Read(p []byte) (int, error) {
	if len(w.ahead) == 0 {
		if w.stays {
			return 0, errNothing
		}
		if w.raw == nil {
			return w.Stream.Read(p)
		}
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.ahead)
	if w.ahead = w.ahead[n:]; len(w.ahead) == 0 {
		w.in.free()
		w.in = nil
	}
	return n, nil
}

// errNothing says that nothing has been read ahead. crypto/tls goes on after an error that
// is a temporary one.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing was read ahead" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// fill waits for bytes without holding memory for them.
func (w *wire) fill() error {
	if w.over != nil {
		return w.over
	}
	err := w.raw.Read(w.tryFill)
	switch {
	case err != nil:
		return err
	case w.failed != nil:
		w.over = w.failed
		return w.over
	case len(w.ahead) == len(w.in.b):
		w.class = largeRead
	case len(w.ahead) < blockBytes[smallRead]:
		w.class = smallRead
	}
	return nil
}

// fillNow reads the socket if it has something; it holds no block when it returns false.
func (w *wire) fillNow(fd uintptr) bool {
	b := takeBlock(w.class)
	n, err := netconn.ReadNow(fd, b.b)
	if n > 0 {
		w.in, w.ahead, w.failed = b, b.b[:n], nil
		return true
	}
	b.free()
	if err == unix.EAGAIN {
		return false
	}
	w.failed = endOf(err)
	return true
}

// Write implements io.Writer.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holding {
		return w.writeHolding(p)
	}
	if w.held != nil {
		return w.writeBehindHeld(p)
	}
	return w.writeOut(p)
}

// writeOut writes, or gathers what is to be written. The caller holds mu.
func (w *wire) writeOut(p []byte) (int, error) {
	switch {
	case w.err != nil:
		return 0, w.err
	case w.closing.Load():
		return w.writeNow(p)
	case !w.gathering:
		return w.write(p)
	}
	if w.out == nil {
		w.out = takeBlock(oneWrite)
		w.filled = w.out.b[:0]
	}
	if len(w.filled)+len(p) > cap(w.filled) {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > cap(w.filled) {
		return w.write(p)
	}
	w.filled = append(w.filled, p...)
	return len(p), nil
}

// write keeps the error: what follows a record that was cut off can be read by nobody.
func (w *wire) write(p []byte) (int, error) {
	var n int
	var err error
	if w.raw != nil && w.full != nil {
		n, err = w.writeWatched(p)
	} else {
		n, err = w.Stream.Write(p)
	}
	if err != nil {
		w.err = err
	}
	return n, err
}

// writeWatched tells when there is no room, and asks at a deadline whether to go on.
func (w *wire) writeWatched(p []byte) (n int, err error) {
	w.left = p
	defer func() { w.left = nil }()
	for {
		err = w.raw.Write(w.tryWrite)
		n = len(p) - len(w.left)
		switch {
		case err == nil:
			return n, w.cut
		case !errors.Is(err, os.ErrDeadlineExceeded), w.closing.Load():
			return n, err
		}
		if err = w.late(); err != nil {
			return n, err
		}
	}
}

// writeLeft writes what there is room for, and returns true if there is nothing to wait for.
func (w *wire) writeLeft(fd uintptr) bool {
	w.cut = nil
	for len(w.left) > 0 {
		k, err := netconn.WriteNow(fd, w.left)
		switch {
		case k > 0:
			w.left = w.left[k:]
		case err == unix.EAGAIN:
			w.full()
			return false
		default:
			w.cut = os.NewSyscallError("write", err)
			return true
		}
	}
	return true
}

func (w *wire) flush() error {
	_, err := w.write(w.filled)
	w.filled = w.filled[:0]
	return err
}

// gather begins to keep records together.
func (w *wire) gather() {
	w.mu.Lock()
	w.gathering = true
	w.mu.Unlock()
}

// scatter writes what was gathered.
func (w *wire) scatter() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gathering = false
	if w.out == nil {
		return w.err
	}
	err := w.flush()
	w.out.free()
	w.out, w.filled = nil, nil
	return err
}

// last makes writes from now on do without waiting, and ends one that waits.
func (w *wire) last() {
	w.closing.Store(true)
	_ = w.Stream.SetWriteDeadline(time.Unix(1, 0))
}

// writeNow writes what there is room for.
func (w *wire) writeNow(p []byte) (n int, err error) {
	if w.raw == nil {
		if room, ok := w.Stream.(interface{ Writable() bool }); ok && !room.Writable() {
			return 0, unix.EAGAIN
		}
		if err := w.Stream.SetWriteDeadline(time.Time{}); err != nil {
			return 0, err
		}
		return w.Stream.Write(p)
	}
	cerr := w.raw.Control(func(fd uintptr) { n, err = netconn.WriteNow(fd, p) })
	if cerr != nil {
		return 0, cerr
	}
	return max(n, 0), err
}

// Close implements net.Conn: the Conn closes what it owns.
func (*wire) Close() error { return nil }

// SetDeadline implements net.Conn.
func (*wire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (*wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (*wire) SetWriteDeadline(time.Time) error { return nil }
