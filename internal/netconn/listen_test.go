package netconn

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
	"golang.org/x/sys/unix"
)

func netipPort(a filter.IPAddr, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr(), port)
}

func TestBindConflict(t *testing.T) {
	for _, a := range []string{"127.0.0.1:0", "[::1]:0"} {
		l := listen(t, ip(a), ListenOptions{NoReusePort: true})
		_, err := Bind(l.Addr(), ListenOptions{NoReusePort: true})
		want := fmt.Sprintf("cannot bind '%v': Address already in use", l.Addr())
		if err == nil || err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, err := Bind(filter.UnixAddr{Path: "/nonexistent/x"}, ListenOptions{})
	if err == nil || err.Error() != "cannot bind '/nonexistent/x': No such file or directory" {
		t.Errorf("got %v", err)
	}
}

func TestReusePortShares(t *testing.T) {
	l := listen(t, ip("127.0.0.1:0"), ListenOptions{})
	second, err := Bind(l.Addr(), ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}

func TestBoundIsNotListening(t *testing.T) {
	l, err := Bind(ip("127.0.0.1:0"), ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ap, _ := filter.IP(l.Addr()); ap.Port() == 0 {
		t.Error("port 0 was not resolved")
	}
	if _, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial before Listen: %v", err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("accept before Listen succeeds")
	}
	for range 2 {
		if err := l.Listen(); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestIPv6Only(t *testing.T) {
	l := listen(t, ip("[::]:0"), ListenOptions{NoReusePort: true})
	ap, _ := filter.IP(l.Addr())
	if _, err := Bind(ip(fmt.Sprintf("0.0.0.0:%d", ap.Port())), ListenOptions{NoReusePort: true}); err != nil {
		t.Errorf("the IPv4 port is taken, too: %v", err)
	}
}

func TestUnixPath(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	first := listen(t, filter.UnixAddr{Path: path}, ListenOptions{Mode: 0o640})
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	first.Close()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the path goes with the listener: %v", err)
	}
	listen(t, filter.UnixAddr{Path: path}, ListenOptions{}) // over the stale one

	file := filepath.Join(dir, "file")
	os.WriteFile(file, []byte("precious"), 0o600)
	if _, err := Bind(filter.UnixAddr{Path: file}, ListenOptions{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("bind to a file: %v", err)
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("bind removed a file")
	}
}

func TestAbstractUnix(t *testing.T) {
	a := filter.UnixAddr{Path: fmt.Sprintf("@ginnel-test-%d", os.Getpid())}
	listen(t, a, ListenOptions{})
	if _, err := Bind(a, ListenOptions{}); err == nil || err.Error() != "cannot bind '"+a.Path+"': Address already in use" {
		t.Errorf("second bind: %v", err)
	}
	c, err := Dial(a, time.Time{}, nil, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func option(t *testing.T, s *Socket, level, name int) (v int) {
	t.Helper()
	err := s.control(func(fd int) (err error) {
		v, err = unix.GetsockoptInt(fd, level, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSocketOptions(t *testing.T) {
	for _, keep := range []*KeepAlive{nil, {Probes: 3, Idle: 90 * time.Second, Interval: 1500 * time.Millisecond}} {
		l := listen(t, ip("127.0.0.1:0"), ListenOptions{KeepAlive: keep, Options: []Option{
			{Level: unix.SOL_SOCKET, Name: unix.SO_RCVBUF, Int: 70_000},
			{Level: unix.SOL_SOCKET, Name: unix.SO_RCVTIMEO, Bytes: make([]byte, 16), When: plan.Listening},
		}})
		c, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{KeepAlive: keep})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, s := range []*Socket{c, s} {
			if option(t, s, unix.IPPROTO_TCP, unix.TCP_NODELAY) == 0 {
				t.Error("TCP_NODELAY is off")
			}
			if on := option(t, s, unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0; on != (keep != nil) {
				t.Errorf("keep-alive %v with %v", on, keep)
			}
			if keep != nil {
				if n := option(t, s, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL); n != 2 {
					t.Errorf("keep-alive interval %d s", n)
				}
			}
		}
		if n := option(t, s, unix.SOL_SOCKET, unix.SO_RCVBUF); n != 140_000 {
			t.Errorf("SO_RCVBUF %d", n)
		}
	}
	_, err := Bind(ip("127.0.0.1:0"), ListenOptions{Options: []Option{{Level: 12345, Name: 1}}})
	if err == nil {
		t.Error("a failing socket option does not fail the listener")
	}
}

func TestServeEndsWithClose(t *testing.T) {
	l := listen(t, ip("127.0.0.1:0"), ListenOptions{})
	got, end := make(chan *Socket), make(chan error)
	go func() { end <- l.Serve(func(s *Socket) { got <- s }, nil) }()
	c, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	(<-got).Close()
	l.Close()
	if err := <-end; err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after Close: %v", err)
	}
	if err := l.Listen(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listen after Close: %v", err)
	}
}

func TestServeOutlivesLackOfDescriptors(t *testing.T) {
	t.Run("Serve", func(t *testing.T) { outliveLackOfDescriptors(t, (*Listener).Serve) })
	t.Run("ServeBy", func(t *testing.T) {
		outliveLackOfDescriptors(t, func(l *Listener, handle func(*Socket), failed func(error)) error {
			return l.ServeBy(&fakeLoop{}, func(s *Socket, _ *Turn) { handle(s) }, failed)
		})
	})
}

func outliveLackOfDescriptors(t *testing.T, serve func(l *Listener, handle func(*Socket), failed func(error)) error) {
	l := listen(t, ip("127.0.0.1:0"), ListenOptions{})
	c, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	none := old
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Skip(err)
	}
	failed, got, end := make(chan error, 100), make(chan *Socket), make(chan error)
	go func() {
		end <- serve(l, func(s *Socket) { got <- s }, func(err error) { failed <- err })
	}()
	err = <-failed
	unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("failed with %v", err)
	}
	(<-got).Close()
	l.Close()
	if err := <-end; err != nil {
		t.Error(err)
	}
}

// An option that fails is named, and where.
func TestFailingOption(t *testing.T) {
	bad := []Option{{Level: unix.SOL_SOCKET, Name: 9999, Int: 1}}
	const text = "socket option 9999 of level 1: Protocol not available"
	_, err := Bind(ip("127.0.0.1:0"), ListenOptions{Options: bad})
	if want := "cannot bind '127.0.0.1:0': " + text; err == nil || err.Error() != want {
		t.Errorf("Bind: %v, want %s", err, want)
	}
	bad[0].When = plan.Listening
	l, err := Bind(ip("127.0.0.1:0"), ListenOptions{Options: bad})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if want := fmt.Sprintf("cannot listen on '%v': %s", l.Addr(), text); l.Listen().Error() != want {
		t.Errorf("Listen: no %s", want)
	}
	bad[0].Family = plan.IPv6
	listen(t, ip("127.0.0.1:0"), ListenOptions{Options: bad})
	if _, err := Listen(ip("[::1]:0"), ListenOptions{Options: bad}); err == nil {
		t.Error("an option for IPv6 is not set on its sockets")
	}
}

// What is accepted from a socket of MPTCP behaves like any other, whoever connects.
func TestMultipath(t *testing.T) {
	l, err := Listen(ip("127.0.0.1:0"), ListenOptions{Multipath: true, FastOpen: 5})
	if err != nil {
		t.Skip(err) // not in this kernel, or switched off
	}
	defer l.Close()
	d := net.Dialer{}
	for _, on := range []bool{false, true} {
		d.SetMultipathTCP(on)
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("ping"))
		b := make([]byte, 8)
		if n, err := s.Read(b); err != nil || string(b[:n]) != "ping" {
			t.Errorf("MPTCP client %v: %q, %v", on, b[:n], err)
		}
		s.Write([]byte("pong"))
		s.CloseWrite()
		if n, err := c.Read(b); err != nil || string(b[:n]) != "pong" {
			t.Errorf("MPTCP client %v got %q, %v", on, b[:n], err)
		}
		c.Close()
		s.Close()
	}
}
