package main

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// kind is what a connection of the load generator is for.
type kind int

const (
	kindMessage kind = iota // a message, its echo, the next message
	kindConnect             // connect, one byte, its echo, close, again
	kindDown                // the backend sends without end
	kindUp                  // it reads without end
	kindHTTP1               // a GET, its response, the next GET
	kindHTTP2               // the same with several streams
)

// counts are what the loops do, read by others meanwhile.
type counts struct {
	bytes, messages, connects atomic.Int64
	measuring                 atomic.Bool // whether latencies count
}

// traffic is the connections of one loop; but for the counts it belongs to the
// goroutine that calls run.
type traffic struct {
	loop    *loop
	addr    *unix.SockaddrInet4
	counts  *counts
	flows   []flow
	in, out []byte // out begins with modeSink
	echo    []byte // one message
	get     []byte // one request of HTTP/1.1
	size    int    // bytes of a message, or of a response
	streams int    // of each HTTP/2 connection

	keep, started int   // connections to leave open, and how many have been begun
	held          []int // those left open

	message, connect histogram // while counts.measuring
}

// A flow is one busy connection, or a sequence of them.
type flow struct {
	kind  kind
	fd    int
	asked bool      // whether the first bytes have been sent
	want  int       // bytes of the echo still to come
	since time.Time // of the message or connection under way
	moved int       // what it has done while counts.measuring

	reply   reply    // kindHTTP1
	session *session // kindHTTP2
}

func newTraffic(addr *unix.SockaddrInet4, c *counts, size int) (*traffic, error) {
	l, err := newLoop()
	if err != nil {
		return nil, err
	}
	t := &traffic{loop: l, addr: addr, counts: c, in: make([]byte, 64<<10), out: make([]byte, bulkWrite), echo: make([]byte, max(size, 1)), get: httpRequest(size), size: size}
	t.out[0], t.echo[0] = modeSink, modeEcho
	return t, nil
}

// run keeps that many flows of each kind busy until the loop is stopped or one fails,
// or all that are to be kept are open.
func (t *traffic) run(flows map[kind]int) error {
	defer t.close()
	for k, n := range flows {
		for range n {
			t.flows = append(t.flows, flow{kind: k, fd: -1})
		}
	}
	for i := range t.flows {
		if err := t.begin(i); err != nil {
			return err
		}
	}
	return t.loop.run(t.ready)
}

func (t *traffic) close() {
	for _, f := range t.flows {
		if f.fd >= 0 {
			unix.Close(f.fd)
		}
	}
}

// begin connects flow i and asks at once: over loopback the connection usually stands
// when connect returns.
func (t *traffic) begin(i int) error {
	f := &t.flows[i]
	if f.kind == kindConnect && t.keep > 0 {
		if t.started == t.keep {
			f.fd = -1
			return nil
		}
		t.started++
	}
	f.since = time.Now()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	f.fd, f.asked = fd, false
	if err := unix.Connect(fd, t.addr); err != nil && !later(err) {
		return os.NewSyscallError("connect", err)
	}
	if err := t.ask(f); err != nil {
		return err
	}
	return t.loop.watch(unix.EPOLL_CTL_ADD, fd, f.events(), tag{int32(i), 0})
}

// events are what f waits for.
func (f *flow) events() uint32 {
	if !f.asked || f.kind == kindUp {
		return unix.EPOLLOUT
	}
	return unix.EPOLLIN
}

// ask sends the first bytes, or the next message, if the socket takes them.
func (t *traffic) ask(f *flow) error {
	var first []byte
	switch f.kind {
	case kindMessage:
		first = t.echo
	case kindConnect:
		first = t.echo[:1]
	case kindDown:
		first = []byte{modeFlow}
	case kindUp:
		first = t.out
	case kindHTTP1:
		first = t.get
	case kindHTTP2:
		f.session = newSession(t.size)
		first = f.session.hello(t.streams)
	}
	n, err := write(f.fd, first)
	switch {
	case err != nil && later(err):
		return nil
	case err != nil:
		return fmt.Errorf("first write: %w", err)
	case n < len(first) && f.kind != kindUp:
		return errors.New("first write: too short")
	}
	f.asked, f.want = true, len(first)
	return nil
}

func (t *traffic) ready(tag tag, _ uint32) error {
	f := &t.flows[tag.id]
	switch {
	case !f.asked:
		if err := t.ask(f); err != nil || !f.asked {
			return err
		}
		return t.loop.watch(unix.EPOLL_CTL_MOD, f.fd, f.events(), tag)
	case f.kind == kindDown:
		n, err := taken(discard(f.fd))
		if n > 0 {
			t.counts.bytes.Add(int64(n))
			t.progress(f, n)
		}
		return err
	case f.kind == kindUp:
		n, err := write(f.fd, t.out)
		if err != nil && !later(err) {
			return fmt.Errorf("bulk write: %w", err)
		}
		t.progress(f, n)
		return nil
	case f.kind == kindHTTP1, f.kind == kindHTTP2:
		return t.responded(f)
	}
	return t.answered(int(tag.id), f)
}

// responded reads responses, and asks again for each that is whole.
func (t *traffic) responded(f *flow) error {
	n, err := taken(read(f.fd, t.in))
	if n == 0 {
		return err
	}
	var ended int
	var say []byte
	if f.kind == kindHTTP1 {
		if ended, err = f.reply.take(t.in[:n]); ended > 0 {
			say = t.get
		}
	} else {
		ended, say, err = f.session.take(t.in[:n], t.out[:0])
		say = f.session.ask(say, ended)
	}
	if err != nil {
		return err
	}
	if ended > 0 {
		t.told(f, ended)
	}
	if len(say) == 0 {
		return nil
	}
	if n, err := write(f.fd, say); err != nil || n < len(say) {
		return fmt.Errorf("write of a request: %d of %d bytes, %w", n, len(say), err)
	}
	return nil
}

// progress notes that f lives.
func (t *traffic) progress(f *flow, n int) {
	if t.counts.measuring.Load() {
		f.moved += n
	}
}

// still counts the flows that did nothing in the window.
func (t *traffic) still() (n int) {
	for _, f := range t.flows {
		if f.moved == 0 {
			n++
		}
	}
	return n
}

// taken is what a read came to; 0 without an error: there is nothing yet.
func taken(n int, err error) (int, error) {
	switch {
	case err != nil && later(err):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read: %w", err)
	case n == 0:
		return 0, errors.New("read: the proxy ended the connection")
	}
	return n, nil
}

// answered reads an echo and, when it is whole, goes on to the next round.
func (t *traffic) answered(i int, f *flow) error {
	n, err := taken(read(f.fd, t.in))
	if n == 0 {
		return err
	}
	if f.want -= n; f.want > 0 {
		return nil
	}
	if f.kind == kindConnect {
		return t.connected(i, f)
	}
	t.told(f, 1)
	return t.ask(f)
}

// told notes that n messages have been answered, the first of them since f.since.
func (t *traffic) told(f *flow, n int) {
	t.progress(f, n)
	t.counts.messages.Add(int64(n))
	now := time.Now()
	if t.counts.measuring.Load() {
		t.message.add(int64(now.Sub(f.since)))
	}
	f.since = now
}

func (t *traffic) connected(i int, f *flow) error {
	t.progress(f, 1)
	t.counts.connects.Add(1)
	if t.counts.measuring.Load() {
		t.connect.add(int64(time.Since(f.since)))
	}
	fd := f.fd
	f.fd = -1
	if t.keep == 0 {
		unix.Close(fd)
		return t.begin(i)
	}
	if err := t.loop.watch(unix.EPOLL_CTL_DEL, fd, 0, tag{}); err != nil {
		return err
	}
	if t.held = append(t.held, fd); len(t.held) == t.keep {
		t.loop.stop.Store(true)
	}
	return t.begin(i)
}
