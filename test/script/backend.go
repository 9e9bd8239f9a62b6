package script

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A backend accepts connections; each follows the backend's story.
type backend struct {
	name   string
	ln     net.Listener
	story  []step
	tokens chan struct{}
	done   chan struct{} // closed by stop
	wg     sync.WaitGroup

	mu     sync.Mutex
	actors []*actor
	err    error // the first story that went wrong before stop
}

func startBackend(name, addr string, story []step) (*backend, error) {
	ln, err := listen(addr)
	if err != nil {
		return nil, err
	}
	return backendOn(name, ln, story), nil
}

func backendOn(name string, ln net.Listener, story []step) *backend {
	b := &backend{name: name, ln: ln, story: story, tokens: make(chan struct{}), done: make(chan struct{})}
	b.wg.Go(b.accept)
	return b
}

// listen listens on HOST:PORT or unix:PATH. A proxy that is just being started elsewhere
// in this program holds a copy of every descriptor until its exec, also of a listener
// that was closed meanwhile: so an address in use is asked for again.
func listen(addr string) (ln net.Listener, err error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	err = poll(stepTimeout, func() (err error) {
		ln, err = net.Listen(network, addr)
		if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			err = final{err}
		}
		return err
	})
	return ln, err
}

func (b *backend) accept() {
	for {
		c, err := b.ln.Accept()
		if err != nil {
			return
		}
		a := &actor{conn: c, tokens: b.tokens, done: b.done}
		b.mu.Lock()
		b.actors = append(b.actors, a)
		b.mu.Unlock()
		b.wg.Go(func() { b.serve(a) })
	}
}

// serve owns a.conn.
func (b *backend) serve(a *actor) {
	defer a.conn.Close()
	err := a.follow(b.story)
	if err != nil && !errors.Is(err, errPeerEnded) {
		b.fail(err)
		return
	}
	if a.closed {
		return
	}
	buf := make([]byte, 64<<10)
	a.conn.SetDeadline(time.Time{})
	for err == nil {
		_, err = a.read(buf)
	}
}

func (b *backend) fail(err error) {
	select {
	case <-b.done:
		return // stop cut it short
	default:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = fmt.Errorf("backend %s: %w", b.name, err)
	}
}

func (b *backend) release() error {
	select {
	case b.tokens <- struct{}{}:
		return nil
	case <-time.After(stepTimeout):
		return fmt.Errorf("no connection of backend %s waits", b.name)
	}
}

// stop ends every connection and returns the first error of the stories.
func (b *backend) stop() error {
	close(b.done)
	b.ln.Close()
	b.mu.Lock()
	for _, a := range b.actors {
		a.conn.Close()
	}
	b.mu.Unlock()
	b.wg.Wait()
	return b.err
}

// got checks once what the backend has seen.
func (b *backend) got(what []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	if len(what) == 2 && what[0] != "text" {
		return b.gotNumber(what[0], what[1])
	}
	if len(b.actors) == 0 {
		return fmt.Errorf("backend %s has got no connection", b.name)
	}
	_, text, end := b.actors[len(b.actors)-1].record.see()
	switch {
	case len(what) == 2:
		want, err := unescape(what[1])
		if err == nil && text != want {
			err = fmt.Errorf("backend %s got text %q", b.name, text)
		}
		return err
	case len(what) == 1 && what[0] == "open" && end == "":
		return nil
	case len(what) == 1 && what[0] == end:
		return nil
	}
	return fmt.Errorf("backend %s: last connection saw %q", b.name, end)
}

func (b *backend) gotNumber(what, number string) error {
	want, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return err
	}
	var bytes, ends, resets int64
	for _, a := range b.actors {
		n, _, end := a.record.see()
		bytes += n
		switch end {
		case "end":
			ends++
		case "reset":
			resets++
		}
	}
	seen, ok := map[string]int64{"conns": int64(len(b.actors)), "bytes": bytes, "ends": ends, "resets": resets}[what]
	if !ok {
		return fmt.Errorf("cannot tell %q of a backend", what)
	}
	if seen != want {
		return fmt.Errorf("backend %s got %d %s", b.name, seen, what)
	}
	return nil
}

// blackhole listens and lets its queue fill up, so that the kernel drops every
// further attempt: a connect to it never ends by itself.
func blackhole(port int) (stop func(), err error) {
	fd, err := listenShort(port)
	if err != nil {
		return nil, err
	}
	var held []net.Conn
	stop = func() {
		for _, c := range held {
			c.Close()
		}
		closeSocket(fd)
	}
	for range 16 {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 250*time.Millisecond)
		if errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err) {
			return stop, nil
		}
		if err != nil {
			stop()
			return nil, err
		}
		held = append(held, c)
	}
	stop()
	return nil, errors.New("the queue of the listening socket does not fill")
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
