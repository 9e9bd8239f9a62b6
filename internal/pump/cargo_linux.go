package pump

import (
	"time"

	"golang.org/x/sys/unix"
)

// A cargo is bytes of a wire between reading and writing: in a buffer because the
// other side took only part of them, or in a pipe of the kernel, in which a stream
// moves without being copied.
type cargo struct {
	n    int    // bytes in it
	b    []byte // those in buf
	buf  *buffer
	r, w int32 // the pipe; 0: none
	size int   // of the pipe, in bytes
}

// hold keeps bytes that lie in the loop's own buffer.
func (l *loop) hold(b []byte) *cargo {
	class := uint8(0)
	for bufferBytes[class] < len(b) {
		class++
	}
	buf := l.group.buffers.take(class)
	return &cargo{n: len(b), b: buf.b[:copy(buf.b, b)], buf: buf}
}

// A pipes is a loop's store of kernel pipes. Pipes are scarce: two descriptors each,
// and the kernel bounds their memory for each user.
type pipes struct {
	free []*cargo
	made int // free or in use
	wait time.Duration
	used time.Duration // when one was given back last
}

const (
	maxPipes      = 32      // of a loop
	pipeBytes     = 1 << 20 // asked for; the kernel may grant less
	minPipeBytes  = 64 << 10
	scarcityPause = time.Second
	pipeIdle      = 200 * time.Millisecond // of the whole loop, before it closes those that nobody uses
)

// takePipe returns an empty pipe, or nil if there is none to be had: then bytes are
// copied.
func (l *loop) takePipe() *cargo {
	p := &l.pipes
	if k := len(p.free); k > 0 {
		c := p.free[k-1]
		p.free = p.free[:k-1]
		return c
	}
	if p.made >= maxPipes || l.now < p.wait {
		return nil
	}
	c := makePipe()
	if c == nil {
		p.wait = l.now + scarcityPause
		return nil
	}
	p.made++
	return c
}

// makePipe returns nil where descriptors are used up, or the user's share of the
// memory of pipes: the kernel then grants pipes of a page or two.
func makePipe() *cargo {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		return nil
	}
	c := &cargo{r: int32(fds[0]), w: int32(fds[1])}
	c.size, _ = unix.FcntlInt(uintptr(c.r), unix.F_SETPIPE_SZ, pipeBytes)
	if c.size <= 0 {
		c.size, _ = unix.FcntlInt(uintptr(c.r), unix.F_GETPIPE_SZ, 0)
	}
	if c.size < minPipeBytes {
		c.close()
		return nil
	}
	return c
}

func (c *cargo) close() {
	unix.Close(int(c.r))
	unix.Close(int(c.w))
}

// release gives a cargo's memory back, with the bytes that are still in it.
func (l *loop) release(c *cargo) {
	switch {
	case c.buf != nil:
		l.group.buffers.put(c.buf)
	case c.n > 0:
		c.close()
		l.pipes.made--
	default:
		l.pipes.free = append(l.pipes.free, c)
		l.pipes.used = l.now
	}
}

// closeIdlePipes closes them when none has been used for a while.
func (l *loop) closeIdlePipes() {
	if l.group.now()-l.pipes.used >= pipeIdle {
		l.closePipes()
	}
}

// closePipes closes those that nobody uses.
func (l *loop) closePipes() {
	for i, c := range l.pipes.free {
		c.close()
		l.pipes.free[i] = nil
	}
	l.pipes.made -= len(l.pipes.free)
	l.pipes.free = l.pipes.free[:0]
}
