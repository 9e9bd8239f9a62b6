package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A backend serves every port it is told to open. The first byte of a connection
// says what it wants (modeEcho...). Messages and bulk have a loop and a thread each,
// so that bulk does not add to the latency of messages.
type backend struct {
	messages, bulk *loop
	sunk           *atomic.Int64 // bytes read by sinks, shared with the load generator
	in, out        []byte
	origin         *origin // of the messages' loop
}

// What the messages' loop watches.
const (
	isListener = iota
	isFresh
	isEcho
	isHTTP
)

// serveBackend opens a port for each line of stdin, answers with its number, and ends
// with stdin.
func serveBackend(stdin io.Reader, stdout io.Writer, counter string) error {
	sunk, err := shared(counter)
	if err != nil {
		return err
	}
	b := &backend{sunk: sunk, in: make([]byte, 64<<10), out: make([]byte, bulkWrite), origin: newOrigin()}
	if b.messages, err = newLoop(); err != nil {
		return err
	}
	if b.bulk, err = newLoop(); err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- b.messages.run(b.message) }()
	go func() { ended <- b.bulk.run(b.move) }()
	for lines := bufio.NewScanner(stdin); lines.Scan(); {
		port, err := b.listen()
		if err != nil {
			return err
		}
		fmt.Fprintln(stdout, port)
	}
	b.messages.stop.Store(true)
	b.bulk.stop.Store(true)
	if err := <-ended; err != nil {
		return err
	}
	return <-ended
}

func (b *backend) listen() (port int, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return 0, os.NewSyscallError("listen", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return name.(*unix.SockaddrInet4).Port, b.messages.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN, tag{int32(fd), isListener})
}

// message serves the loop of listeners, echoes and connections that have not said yet
// what they are.
func (b *backend) message(t tag, _ uint32) error {
	fd := int(t.id)
	if t.mode == isListener {
		return b.accept(fd)
	}
	if t.mode == isHTTP && b.origin.unsent[fd] != nil {
		return b.send(fd, b.origin.unsent[fd])
	}
	n, err := read(fd, b.in)
	switch {
	case err != nil && later(err):
		return nil
	case err != nil || n == 0:
		b.origin.forget(fd)
		return unix.Close(fd)
	case t.mode == isFresh:
		return b.begin(fd, b.in[:n])
	case t.mode == isHTTP:
		return b.answer(fd, b.in[:n])
	}
	return b.echo(fd, b.in[:n])
}

func (b *backend) accept(fd int) error {
	for range 16 {
		c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil && (later(err) || err == unix.ECONNABORTED) {
			return nil
		}
		if err != nil {
			return os.NewSyscallError("accept4", err)
		}
		if err := b.messages.watch(unix.EPOLL_CTL_ADD, c, unix.EPOLLIN, tag{int32(c), isFresh}); err != nil {
			return err
		}
	}
	return nil
}

func (b *backend) begin(fd int, first []byte) error {
	events := uint32(unix.EPOLLOUT)
	switch first[0] {
	case modeEcho:
		if err := b.messages.watch(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN, tag{int32(fd), isEcho}); err != nil {
			return err
		}
		return b.echo(fd, first)
	case modeHTTP:
		if err := b.messages.watch(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN, tag{int32(fd), isHTTP}); err != nil {
			return err
		}
		return b.answer(fd, first)
	case modeSink:
		events = unix.EPOLLIN
		b.sunk.Add(int64(len(first)))
	case modeFlow:
	default:
		return unix.Close(fd)
	}
	if err := b.messages.watch(unix.EPOLL_CTL_DEL, fd, 0, tag{}); err != nil {
		return err
	}
	return b.bulk.watch(unix.EPOLL_CTL_ADD, fd, events, tag{int32(fd), int32(first[0])})
}

// answer answers the requests in p.
func (b *backend) answer(fd int, p []byte) error {
	out, err := b.origin.answers(fd, p)
	switch {
	case err != nil:
		b.origin.forget(fd)
		return unix.Close(fd)
	case out == nil:
		return nil
	}
	return b.send(fd, out)
}

// send writes what the socket takes, and keeps the rest for later.
func (b *backend) send(fd int, p []byte) error {
	waited := b.origin.unsent[fd] != nil
	n, err := write(fd, p)
	if err != nil && !later(err) {
		b.origin.forget(fd)
		return unix.Close(fd)
	}
	p = p[n:]
	if len(p) > 0 {
		b.origin.unsent[fd] = p
	} else {
		delete(b.origin.unsent, fd)
	}
	if waits := len(p) > 0; waits == waited {
		return nil
	} else if waits {
		return b.messages.watch(unix.EPOLL_CTL_MOD, fd, unix.EPOLLOUT, tag{int32(fd), isHTTP})
	}
	return b.messages.watch(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN, tag{int32(fd), isHTTP})
}

// echo writes a message back. The load generator waits for each, so there is always room.
func (b *backend) echo(fd int, p []byte) error {
	if n, err := write(fd, p); err != nil || n < len(p) {
		return unix.Close(fd)
	}
	return nil
}

// move serves the loop of bulk connections.
func (b *backend) move(t tag, _ uint32) error {
	var n int
	var err error
	if t.mode == modeSink {
		n, err = discard(int(t.id))
		b.sunk.Add(int64(n))
	} else {
		n, err = write(int(t.id), b.out)
	}
	if (err == nil && n > 0) || (err != nil && later(err)) {
		return nil
	}
	return unix.Close(int(t.id))
}
