package pump

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/netconn"
	"golang.org/x/sys/unix"
)

// read waits for bytes of src, which f then holds, unless it still holds some. Errors
// are those of ended, or errAsleep; nothing is held then.
func (f *flow) read() error {
	if len(f.held.b) > 0 {
		return nil
	}
	for {
		err := f.readOnce()
		if err == nil || err == errAsleep {
			return err
		}
		if err = ended(err); err != os.ErrDeadlineExceeded || !f.p.proceed(f.src.stream.SetReadDeadline, time.Time{}) {
			return err
		}
	}
}

// proceed sets a deadline unless there is a verdict, whose own deadlines must stand.
func (p *pair) proceed(set func(time.Time) error, t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.verdict.Cause == 0 && set(t) == nil
}

func (f *flow) readOnce() error {
	switch {
	case f.src.raw != nil:
		if err := f.src.raw.Read(f.tryRead); err != nil {
			return err
		}
		return f.inErr
	case f.src.pipe != nil:
		return f.readPipe()
	}
	return f.readStream()
}

// readNow reads the socket if it has something; it holds no buffer when it returns
// false.
func (f *flow) readNow(fd uintptr) bool {
	f.take()
	n, err := netconn.ReadNow(fd, f.held.b)
	if n > 0 {
		f.filled(n)
		f.inErr = nil
		return true
	}
	f.free()
	f.inErr = err
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

// readStream does one Read. Streams that can wait without a buffer do so before.
func (f *flow) readStream() error {
	if s, ok := f.src.stream.(interface{ Await() }); ok {
		s.Await()
	}
	f.take()
	n, err := f.src.stream.Read(f.held.b)
	if n == 0 {
		f.free()
		return err
	}
	f.filled(n)
	return nil // err comes again
}

// write passes on all that is held, and gives its memory back.
func (f *flow) write() error {
	var err error
	var slept pipe.Sleeper
	switch {
	case f.dst.raw != nil:
		err = f.writeSocket()
	case f.dst.pipe != nil:
		slept, err = f.writePipe()
	default:
		err = f.writeStream()
	}
	f.free()
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

func (f *flow) writeStream() error {
	n, err := f.dst.stream.Write(f.held.b)
	f.p.untold[f.from].Add(uint64(n))
	return err
}

func (f *flow) writeSocket() error {
	for {
		var err error
		if f.outErr == nil { // else that of a hasty write, which the kernel tells once
			err = f.dst.raw.Write(f.tryWrite)
		}
		if err == nil {
			err, f.outErr = f.outErr, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if err = f.look(); err != nil {
			return err
		}
	}
}

// writeNow writes what the socket takes.
func (f *flow) writeNow(fd uintptr) bool {
	all := len(f.held.b)
	for len(f.held.b) > 0 {
		n, err := netconn.WriteNow(fd, f.held.b)
		switch {
		case n > 0:
			f.p.untold[f.from].Add(uint64(n))
			f.held.b = f.held.b[n:]
			f.doomed = false
		case err == unix.EAGAIN && f.hasty:
			return true
		case err == unix.EAGAIN:
			if len(f.held.b) < all {
				f.touch(new(moment))
			}
			f.pause()
			return false
		case err != nil:
			f.outErr = err
			return true
		}
	}
	return true
}

func (f *flow) writePipe() (slept pipe.Sleeper, err error) {
	for {
		slept, taken, err := f.offer()
		switch {
		case taken:
			return slept, nil
		case err != nil && (f.alarm == 0 || !errors.Is(err, os.ErrDeadlineExceeded)):
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
	if f.alarm != 0 && !f.disarm() {
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
	if f.alarm == 0 || f.p.group.now() > f.alarm {
		f.arm()
	}
}

func (f *flow) arm() bool {
	g := f.p.group
	f.alarm = g.now() + g.flushTimeout()
	return f.p.proceed(f.dst.stream.SetWriteDeadline, g.epoch.Add(f.alarm))
}

// disarm takes back the deadline of a pause that is over.
func (f *flow) disarm() bool {
	f.alarm = 0
	return f.p.proceed(f.dst.stream.SetWriteDeadline, time.Time{})
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
	set := f.disarm // not paused: it was the deadline of a pause that is over
	if f.paused {
		if f.doomed {
			return errReset
		}
		f.p.mu.Lock()
		how := f.src.fate
		f.p.mu.Unlock()
		f.doomed = how == reset || f.src.aborted()
		f.flush()
		set = f.arm
	}
	if !set() {
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
