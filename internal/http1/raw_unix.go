package http1

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A rawReader reads a socket so that no buffer is held while nothing comes. It costs no
// further system call: package net's Read, too, tries first and waits then.
type rawReader struct {
	in  *input
	rc  syscall.RawConn
	try func(fd uintptr) bool // attempt, made once
	n   int
	err error
	// once: nobody waits.
	once bool
}

func newRawReader(c syscall.Conn, in *input) *rawReader {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	r := &rawReader{in: in, rc: rc}
	r.try = r.attempt
	return r
}

func (r *rawReader) read() (int, error) {
	r.n, r.err = 0, nil
	if err := r.rc.Read(r.try); err != nil {
		return 0, err
	}
	return r.n, r.err
}

// poll reads what there is without waiting; ok: something, or an end, was there.
func (r *rawReader) poll() (ok bool) {
	r.n, r.err, r.once = 0, nil, true
	err := r.rc.Read(r.try)
	r.once = false
	return err != nil || r.n > 0 || r.err != nil
}

func (r *rawReader) attempt(fd uintptr) bool {
	in := r.in
	in.take()
	for {
		n, err := unix.Read(int(fd), in.buf[in.w:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			if in.empty() {
				in.release(true)
			}
			return r.once
		case err != nil:
			r.err = os.NewSyscallError("read", err)
		case n == 0:
			r.err = io.EOF
		}
		r.n = max(n, 0)
		return true
	}
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
	w.try = w.attempt
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

func (w *rawWriter) attempt(fd uintptr) bool {
	for {
		n, err := unix.Writev(int(fd), w.left)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case err != nil:
			w.err = os.NewSyscallError("writev", err)
			return true
		}
		if w.skip(n); len(w.left) == 0 {
			return true
		}
	}
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
