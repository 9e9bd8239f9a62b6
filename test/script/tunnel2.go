package script

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A tunnel2 is a tunnel through an HTTP/2 stream as a connection. Reads run in a
// goroutine of their own, so that they can have deadlines.
type tunnel2 struct {
	in     *io.PipeWriter
	out    io.ReadCloser
	ctx    context.Context // of the request
	cancel context.CancelFunc

	once   sync.Once
	pieces chan piece
	rest   []byte
	err    error

	mu       sync.Mutex
	deadline time.Time // of reads
}

type piece struct {
	data []byte
	err  error
}

func (t *tunnel2) pump() {
	for {
		b := make([]byte, 16<<10)
		n, err := t.out.Read(b)
		select {
		case t.pieces <- piece{b[:n], err}:
		case <-t.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func (t *tunnel2) Read(p []byte) (int, error) {
	t.once.Do(func() {
		t.pieces = make(chan piece, 1)
		go t.pump()
	})
	t.mu.Lock()
	deadline := t.deadline
	t.mu.Unlock()
	var late <-chan time.Time
	if !deadline.IsZero() {
		late = time.After(time.Until(deadline))
	}
	for len(t.rest) == 0 && t.err == nil {
		select {
		case next := <-t.pieces:
			t.rest, t.err = next.data, next.err
			if t.err != nil && t.err != io.EOF {
				t.err = syscall.ECONNRESET
			}
		case <-late:
			return 0, os.ErrDeadlineExceeded
		case <-t.ctx.Done():
			return 0, net.ErrClosed
		}
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	if n == 0 {
		return 0, t.err
	}
	return n, nil
}

func (t *tunnel2) Write(p []byte) (int, error) {
	n, err := t.in.Write(p)
	if err != nil {
		err = syscall.EPIPE
	}
	return n, err
}

func (t *tunnel2) CloseWrite() error { return t.in.Close() }

// Close ends the stream: with END_STREAM, and a reset if the peer goes on.
func (t *tunnel2) Close() error {
	t.in.Close()
	t.cancel()
	return t.out.Close()
}

func (t *tunnel2) SetLinger(int) error { // what a story's reset does before it closes
	t.cancel()
	return nil
}

func (t *tunnel2) SetReadDeadline(d time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadline = d
	return nil
}

func (t *tunnel2) SetDeadline(d time.Time) error    { return t.SetReadDeadline(d) }
func (t *tunnel2) SetWriteDeadline(time.Time) error { return nil }
func (t *tunnel2) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (t *tunnel2) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
