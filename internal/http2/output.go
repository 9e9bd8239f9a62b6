package http2

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/netconn"
)

// An output writes what the writer took from the queue: to a socket without the
// book-keeping of the Go scheduler, see netconn.WriteNow.
type output struct {
	conn Conn
	pipe chunkWriter           // nil: not a pipe
	sock syscall.RawConn       // nil: not a socket
	try  func(fd uintptr) bool // attempt, made once
	left []byte
	err  error
}

// A chunkWriter takes chunks over as they are.
type chunkWriter interface{ WriteChunk(*pipe.Chunk) error }

func (o *output) init(c Conn) {
	o.conn = c
	o.pipe, _ = c.(chunkWriter)
	if s, ok := c.(syscall.Conn); ok {
		o.sock, _ = s.SyscallConn()
		o.try = o.attempt
	}
}

// write writes all of p and returns how much of it was.
func (o *output) write(p []byte) (int, error) {
	if o.sock == nil {
		return o.conn.Write(p)
	}
	o.left, o.err = p, nil
	err := o.sock.Write(o.try)
	if err == nil {
		err = o.err
	}
	n := len(p) - len(o.left)
	o.left = nil
	return n, err
}

func (o *output) attempt(fd uintptr) bool {
	for len(o.left) > 0 {
		n, err := netconn.WriteNow(fd, o.left)
		if err != nil {
			if err != unix.EAGAIN {
				o.err = os.NewSyscallError("write", err)
			}
			return err != unix.EAGAIN
		}
		o.left = o.left[n:]
	}
	return true
}
