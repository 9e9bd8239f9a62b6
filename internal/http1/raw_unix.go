package http1

import (
	"io"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/internal/netconn"
)

// A rawReader reads a socket so that no buffer is held while nothing comes. It costs no
// further system call: package net's Read, too, tries first and waits then.
type rawReader struct {
	in       *input
	rc       syscall.RawConn
	try      func(fd uintptr) bool // made once
	n        int
	err      error
	once     bool // what came is looked for, and nobody waits
	scratch  [1]byte
	first    bool // the next attempt has waited for nothing yet
	patience patience
	// question is what is written before waiting, when nothing was there to be read.
	question *output
	looked   bool // that nothing is, is known
	asked    int  // bytes of it that were written
	writeErr error
}

func newRawReader(c syscall.Conn, in *input) *rawReader {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	r := &rawReader{in: in, rc: rc}
	// No method: a level of calls around system calls and switches of goroutines costs 10 ns,
	// for the processor does not know any more where it returns to.
	r.try = func(fd uintptr) bool {
		switch {
		case r.once:
			r.stirs(fd)
			return true
		case r.question == nil:
			first := r.first
			r.first = false
			return r.receive(fd, first && r.patience.wants())
		case !r.looked && r.stirs(fd):
			return true
		}
		return r.inquire(fd)
	}
	return r
}

func (r *rawReader) read() (int, error) {
	r.n, r.err, r.first = 0, nil, true
	if err := r.rc.Read(r.try); err != nil {
		return 0, err
	}
	return r.n, r.err
}

// A patience decides whether others go first before a socket is read. With many
// connections what is waited for has come then, and neither a thread nor the poller has
// to know; with few of them it wakes a thread for nothing. So it is done as long as it
// pays, and tried again more and more seldom where it did not.
//
// Go's poller is looked at when nothing else can run, or after 10 ms. So who has gone
// behind others some times in a row waits in the poller once, lest those who wait there
// already starve.
type patience struct{ skip, price, row uint8 }

const maxRow = 4

// maxPrice is how often others do not go first, at most, until that is tried again.
const maxPrice = 15

// wants reports whether others shall go first.
func (y *patience) wants() bool {
	if y.skip == 0 {
		return true
	}
	y.skip--
	return false
}

func (y *patience) learn(paid bool) {
	if paid {
		y.price = 0
		if y.row++; y.row == maxRow {
			y.row, y.skip = 0, 1
		}
		return
	}
	y.row = 0
	y.price = min(2*y.price+1, maxPrice)
	y.skip = y.price
}

// poll reports without waiting whether something has come, or an end.
func (r *rawReader) poll() (ok bool) {
	r.n, r.err, r.once = 0, nil, true
	err := r.rc.Read(r.try)
	r.once = false
	return err != nil || r.n > 0 || r.err != nil
}

// ask writes what out holds back and reads what comes then, in one go: had it been written
// before, the first attempt to read would be for nothing. What is there already was not
// asked for: then nothing is written, but that nobody looks again who has looked just now.
// sent is how much was written; werr why it was not all, beside nil. out has no buffer any
// more when all was written, so that none is held while nothing comes.
func (r *rawReader) ask(out *output, looked bool) (sent, n int, werr, err error) {
	r.n, r.err, r.question, r.looked, r.asked, r.writeErr = 0, nil, out, looked, 0, nil
	err = r.rc.Read(r.try)
	r.question = nil
	if err == nil {
		err = r.err
	}
	return r.asked, r.n, r.writeErr, err
}

// stirs reads no more than tells whether something has come: what it is does not matter.
func (r *rawReader) stirs(fd uintptr) bool {
	n, err := netconn.ReadNow(fd, r.scratch[:])
	return err != unix.EAGAIN && r.got(n, err)
}

// got notes what a read has returned.
func (r *rawReader) got(n int, err error) bool {
	switch {
	case err != nil:
		r.err = os.NewSyscallError("read", err)
	case n == 0:
		r.err = io.EOF
	}
	r.n = max(n, 0)
	return true
}

// inquire writes the question, and reads if others go first. What comes for it does so
// behind the registration, so nothing need be read before waiting.
func (r *rawReader) inquire(fd uintptr) bool {
	out := r.question
	r.question = nil
	n, err := netconn.WriteNow(fd, out.buf)
	if err != nil && err != unix.EAGAIN {
		r.writeErr = os.NewSyscallError("write", err)
	}
	if r.asked = max(n, 0); r.asked < len(out.buf) {
		return true
	}
	out.give()
	if r.patience.wants() {
		return r.receive(fd, true)
	}
	r.in.idle()
	return false
}

// receive reads, perhaps behind others, who use the same buffer then.
func (r *rawReader) receive(fd uintptr, behind bool) bool {
	in := r.in
	if behind {
		in.idle()
		runtime.Gosched()
	}
	in.take()
	n, err := netconn.ReadNow(fd, in.buf[in.w:])
	if behind {
		r.patience.learn(err != unix.EAGAIN)
	}
	if err != unix.EAGAIN {
		return r.got(n, err)
	}
	if in.idle(); in.buf != nil {
		in.shrink()
	}
	return false
}

// A rawWriter writes several pieces at once.
type rawWriter struct {
	rc   syscall.RawConn
	try  func(fd uintptr) bool
	left [][]byte
	err  error
}

func newRawWriter(c syscall.Conn) *rawWriter {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	w := &rawWriter{rc: rc}
	w.try = func(fd uintptr) bool { // as that of a rawReader
		for {
			n, err := netconn.WriteAllNow(fd, w.left)
			switch {
			case err == unix.EAGAIN:
				return false
			case err != nil:
				w.err = os.NewSyscallError("write", err)
				return true
			}
			if w.skip(n); len(w.left) == 0 {
				return true
			}
		}
	}
	return w
}

// write writes all pieces; it changes the slice.
func (w *rawWriter) write(pieces [][]byte) error {
	w.left, w.err = pieces, nil
	err := w.rc.Write(w.try)
	w.left = nil
	if err != nil {
		return err
	}
	return w.err
}

// skip drops n bytes that were written.
func (w *rawWriter) skip(n int) {
	for len(w.left) > 0 && n >= len(w.left[0]) {
		n -= len(w.left[0])
		w.left = w.left[1:]
	}
	if n > 0 {
		w.left[0] = w.left[0][n:]
	}
}
