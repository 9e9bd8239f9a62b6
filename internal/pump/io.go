package pump

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"golang.org/x/sys/unix"
)

// read waits for bytes of src and returns them in memory that f then owns. Errors
// are those of ended, or errAsleep; the piece is then empty.
func (f *flow) read() (piece, error) {
	if in := f.held; len(in.b) > 0 {
		f.held = piece{}
		return in, nil
	}
	for {
		in, err := f.readOnce()
		if err == nil || err == errAsleep {
			return in, err
		}
		if err = ended(err); err != os.ErrDeadlineExceeded || !f.p.proceed(f.src.stream.SetReadDeadline, time.Time{}) {
			return piece{}, err
		}
	}
}

// proceed sets a deadline unless there is a verdict, whose own deadlines must stand.
func (p *pair) proceed(set func(time.Time) error, t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.verdict.Cause == 0 && set(t) == nil
}

func (f *flow) readOnce() (piece, error) {
	switch {
	case f.src.raw != nil:
		if err := f.src.raw.Read(f.tryRead); err != nil {
			return piece{}, err
		}
		return f.in, f.inErr
	case f.src.pipe != nil:
		return f.readPipe()
	}
	return f.fillFrom(f.src.stream)
}

// readNow reads the socket if it has something; it holds no buffer when it returns
// false.
func (f *flow) readNow(fd uintptr) bool {
	in := f.take()
	n, err := unix.Read(int(fd), in.b)
	for err == unix.EINTR {
		n, err = unix.Read(int(fd), in.b)
	}
	if n > 0 {
		f.adapt(n, len(in.b))
		in.fill(n)
		f.in, f.inErr = in, nil
		return true
	}
	f.free(in)
	f.in, f.inErr = piece{}, err
	if err == nil {
		f.inErr = f.endOfSocket(fd)
	}
	return err != unix.EAGAIN
}

// endOfPipe tells a half close from the end of the whole connection.
func endOfPipe(src *pipe.Conn, err error) error {
	if err == io.EOF && src.PeerClosed() {
		return errClosed
	}
	return err
}

// fillFrom does one Read.
func (f *flow) fillFrom(r io.Reader) (piece, error) {
	in := f.take()
	n, err := r.Read(in.b)
	if n == 0 {
		f.free(in)
		return piece{}, err
	}
	f.adapt(n, len(in.b))
	in.fill(n)
	return in, nil // err comes again
}

// write passes all of in on and gives its memory back.
func (f *flow) write(in piece) error {
	var err error
	var slept pipe.Sleeper
	switch {
	case f.dst.raw != nil:
		err = f.writeSocket(in.b)
	case f.dst.pipe != nil:
		slept, err = f.writePipe(&in)
	default:
		err = f.writeStream(in.b)
	}
	f.free(in)
	if err != nil {
		return err
	}
	var now moment
	f.touch(&now)
	f.resume()
	if slept != nil {
		serve(slept, now)
	}
	return nil
}

func (f *flow) writeStream(b []byte) error {
	n, err := f.dst.stream.Write(b)
	f.p.untold[f.from].Add(uint64(n))
	return err
}

func (f *flow) writeSocket(b []byte) error {
	f.out = b
	for {
		var err error
		if f.outErr == nil { // else that of a hasty write, which the kernel tells once
			err = f.dst.raw.Write(f.tryWrite)
		}
		if err == nil {
			err, f.outErr = f.outErr, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			f.out = nil
			return err
		}
		if err = f.look(); err != nil {
			return err
		}
	}
}

// writeNow writes what the socket takes.
func (f *flow) writeNow(fd uintptr) bool {
	all := len(f.out)
	for len(f.out) > 0 {
		n, err := unix.Write(int(fd), f.out)
		switch {
		case n > 0:
			f.p.untold[f.from].Add(uint64(n))
			f.out = f.out[n:]
			f.doomed = false
		case err == unix.EAGAIN && f.hasty:
			return true
		case err == unix.EAGAIN:
			if len(f.out) < all {
				f.touch(new(moment))
			}
			f.pause()
			return false
		case err != nil && err != unix.EINTR:
			f.outErr = err
			return true
		}
	}
	return true
}

func (f *flow) writePipe(in *piece) (slept pipe.Sleeper, err error) {
	for {
		slept, taken, err := f.offer(in)
		switch {
		case taken:
			return slept, nil
		case err != nil && (f.alarm.IsZero() || !errors.Is(err, os.ErrDeadlineExceeded)):
			return nil, err
		}
		if err = f.awaitPipe(); err != nil {
			return nil, err
		}
	}
}

// awaitPipe waits until the pipe takes more, or fails to.
func (f *flow) awaitPipe() error {
	for !f.dst.pipe.Writable() {
		f.pause()
		if err := f.dst.pipe.WaitWritable(); err == nil {
			break
		}
		if err := f.look(); err != nil {
			return err
		}
	}
	f.doomed = false
	if f.alarm.IsZero() {
		return nil
	}
	f.alarm = time.Time{}
	if !f.p.proceed(f.dst.stream.SetWriteDeadline, f.alarm) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// pause notes that dst is full and lets f look around if that lasts.
func (f *flow) pause() {
	if !f.paused {
		f.paused = true
		f.touch(new(moment))
		if f.p.flow(f.from, max(1, f.p.group.now())) {
			f.p.rewatch()
		}
		f.flush()
	}
	if now := time.Now(); now.After(f.alarm) {
		f.arm(now)
	}
}

func (f *flow) arm(now time.Time) bool {
	f.alarm = now.Add(f.p.group.flushTimeout())
	return f.p.proceed(f.dst.stream.SetWriteDeadline, f.alarm)
}

func (f *flow) resume() {
	if f.paused {
		f.paused = false
		f.p.flow(f.from, 0)
	}
}

// look is for a flow that has waited long for dst: nobody reads src meanwhile, so
// nobody would notice that its peer has reset the connection. Then f waits only as
// long as dst makes progress. An error ends the flow.
func (f *flow) look() error {
	if f.p.over() {
		return os.ErrDeadlineExceeded
	}
	if f.paused {
		if f.doomed {
			return errReset
		}
		f.p.mu.Lock()
		how := f.src.fate
		f.p.mu.Unlock()
		f.doomed = how == reset || f.src.aborted()
		f.flush()
	}
	if !f.arm(time.Now()) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// flush tells the hops when f is all that is left of a connection whose client is
// gone.
func (f *flow) flush() {
	if f.from == filter.FromUpstream || f.p.flushing {
		return
	}
	f.p.mu.Lock()
	halfDone := f.dst.eof || f.dst.deaf
	f.p.mu.Unlock()
	if f.src.left(halfDone) {
		f.p.beginFlush()
	}
}
