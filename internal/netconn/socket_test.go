package netconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"golang.org/x/net/nettest"
	"golang.org/x/sys/unix"
)

func TestNetConn(t *testing.T) {
	for name, a := range families(t) {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				c, s := pair(t, a)
				return c, s, func() { c.Close(); s.Close() }, nil
			})
		})
	}
}

func TestAddresses(t *testing.T) {
	for name, a := range families(t) {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, a)
			if c.RemoteAddr() != s.LocalAddr() {
				t.Errorf("client dialled %v, server is %v", c.RemoteAddr(), s.LocalAddr())
			}
			if c.LocalAddr() != s.RemoteAddr() {
				t.Errorf("client is %v, server sees %v", c.LocalAddr(), s.RemoteAddr())
			}
			if _, isIP := c.LocalAddr().(filter.IPAddr); isIP == s.Unix() {
				t.Errorf("address is a %T", c.LocalAddr())
			}
		})
	}
}

func TestNewTakesOverADescriptor(t *testing.T) {
	c, s := pair(t, ip("127.0.0.1:0"))
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(fd, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if n.RemoteAddr() != c.LocalAddr() || n.LocalAddr() != c.RemoteAddr() {
		t.Errorf("addresses %v, %v", n.LocalAddr(), n.RemoteAddr())
	}
}

func TestMappedAddressPrintsAsIPv4(t *testing.T) {
	l := listen(t, ip("[::]:0"), ListenOptions{IPv4Compat: true})
	to := ip("127.0.0.1:0")
	ap, _ := filter.IP(l.Addr())
	to.AddrPort = netipPort(to, ap.Port())
	c, err := Dial(to, time.Time{}, nil, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.LocalAddr().String() != to.String() || s.RemoteAddr() != c.LocalAddr() {
		t.Errorf("server %v sees %v; client %v", s.LocalAddr(), s.RemoteAddr(), c.LocalAddr())
	}
}

func TestHalfClose(t *testing.T) {
	for name, a := range families(t) {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, a)
			c.Write([]byte("question"))
			c.CloseWrite()
			if got, err := io.ReadAll(s); string(got) != "question" || err != nil {
				t.Fatalf("server read %q, %v", got, err)
			}
			s.Write([]byte("answer"))
			s.Close()
			if got, err := io.ReadAll(c); string(got) != "answer" || err != nil {
				t.Errorf("client read %q, %v", got, err)
			}
		})
	}
}

// A half close ends one direction: a socket is dead only when both are over.
func TestPollAfterFIN(t *testing.T) {
	for name, a := range families(t) {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, a)
			if e := s.Poll(); e.FIN || e.Dead || e.Failed {
				t.Errorf("at first %+v", e)
			}
			c.CloseWrite()
			io.ReadAll(s)
			if e := s.Poll(); !e.FIN || e.Dead || e.Failed {
				t.Errorf("after the peer's FIN %+v", e)
			}
			s.CloseWrite()
			if e := s.Poll(); !e.FIN || !e.Dead || e.Failed {
				t.Errorf("after both FINs %+v", e)
			}
		})
	}
}

func TestReset(t *testing.T) {
	c, s := pair(t, ip("127.0.0.1:0"))
	c.Write([]byte("last words"))
	waitUnsent(t, c)
	c.Reset()
	got, err := io.ReadAll(s)
	if string(got) != "last words" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("server read %q, %v", got, err)
	}
}

func waitUnsent(t *testing.T, s *Socket) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		n, err := s.Unsent()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are never acknowledged", n)
		}
	}
}

// A close with unread bytes is a reset to the kernel, which drops what was written.
func TestCloseWithUnreadBytesDeliversWhatWasWritten(t *testing.T) {
	for name, a := range families(t) {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, a)
			c.Write(make([]byte, 100_000))
			answer := bytes.Repeat([]byte("x"), 300_000)
			read := make(chan error, 1)
			var got []byte
			go func() {
				var err error
				got, err = io.ReadAll(c)
				read <- err
			}()
			s.Write(answer)
			s.Close()
			if err := <-read; err != nil || !bytes.Equal(got, answer) {
				t.Errorf("client read %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestClosedErrors(t *testing.T) {
	for _, polled := range []bool{false, true} {
		c, _ := pair(t, ip("127.0.0.1:0"))
		if polled {
			c.SetDeadline(time.Time{})
		}
		c.Close()
		_, rerr := c.Read(make([]byte, 1))
		_, werr := c.Write([]byte("x"))
		_, uerr := c.Unsent()
		rc, cerr := c.SyscallConn()
		if cerr == nil {
			cerr = rc.Read(func(uintptr) bool { return true })
		}
		_, perr := c.Peek(make([]byte, 1), 0)
		for i, err := range []error{rerr, werr, uerr, cerr, perr, c.Close(), c.CloseWrite(), c.Reset(), c.SetDeadline(time.Now())} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("call %d after Close: %v", i, err)
			}
		}
		if e := c.Poll(); !e.Dead {
			t.Errorf("Poll after Close: %+v", e)
		}
	}
}

func TestPeek(t *testing.T) {
	for name, a := range families(t) {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, a)
			p := make([]byte, 100)
			done := make(chan string)
			go func() {
				n, err := s.Peek(p, 0)
				for err == nil {
					n, err = s.Peek(p, n)
				}
				if err != io.EOF {
					t.Error(err)
				}
				done <- string(p[:n])
			}()
			c.Write([]byte("early"))
			c.Write([]byte(" bytes"))
			c.CloseWrite()
			if got := <-done; got != "early bytes" {
				t.Errorf("peeked %q", got)
			}
			if got, err := io.ReadAll(s); string(got) != "early bytes" || err != nil {
				t.Errorf("then read %q, %v", got, err)
			}
			if n, err := s.Peek(p, 0); n != 0 || err != io.EOF {
				t.Errorf("at the end: %d, %v", n, err)
			}
		})
	}
}

func TestPeekBeforeReset(t *testing.T) {
	c, s := pair(t, ip("127.0.0.1:0"))
	c.Write([]byte("early"))
	waitUnsent(t, c)
	c.Reset()
	got, err := filter.PeekUntil(s, 10, time.Now().Add(time.Minute))
	if string(got) != "early" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("peeked %q, %v", got, err)
	}
	got, err = io.ReadAll(s)
	if string(got) != "early" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("then read %q, %v", got, err)
	}

	c, s = pair(t, ip("127.0.0.1:0"))
	c.Reset()
	if got, err := filter.PeekUntil(s, 1, time.Time{}); len(got) != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("peeked %q, %v", got, err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the reset was lost on Read: %v", err)
	}
}

func TestPeekUntilDeadlineLosesNothing(t *testing.T) {
	c, s := pair(t, ip("127.0.0.1:0"))
	c.Write([]byte("early"))
	s.Peek(make([]byte, 10), 0)
	got, err := filter.PeekUntil(s, 10, time.Now().Add(-time.Second))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("peeked %q, %v", got, err)
	}
	got, err = filter.PeekUntil(s, 5, time.Time{})
	if string(got) != "early" || err != nil {
		t.Errorf("peeked %q, %v", got, err)
	}
}

func TestText(t *testing.T) {
	for err, want := range map[error]string{
		syscall.ECONNREFUSED: "Connection refused",
		&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}: "No route to host",
		io.EOF: "EOF",
	} {
		if got := Text(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

// BenchmarkLife is what sockets cost a proxy: one accepted, one dialled, both closed.
func BenchmarkLife(b *testing.B) {
	l, err := Listen(ip("127.0.0.1:0"), ListenOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	to := l.Addr()
	b.ReportAllocs()
	for b.Loop() {
		c, err := Dial(to, time.Time{}, nil, DialOptions{})
		if err != nil {
			b.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		s.Reset()
		c.Close()
	}
}

func TestEnded(t *testing.T) {
	for name, a := range families(t) {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, a)
			if gone, reset := s.Ended(); gone || reset {
				t.Errorf("at first %v, %v", gone, reset)
			}
			c.Write([]byte("x"))
			c.CloseWrite()
			s.Peek(make([]byte, 2), 1) // both have arrived
			if gone, reset := s.Ended(); gone || reset {
				t.Errorf("with a byte to be read %v, %v", gone, reset)
			}
			io.ReadAll(s)
			if gone, reset := s.Ended(); !gone || reset {
				t.Errorf("after the end %v, %v", gone, reset)
			}
			s.Close()
			if gone, reset := s.Ended(); gone || reset {
				t.Errorf("closed %v, %v", gone, reset)
			}
		})
	}
	c, s := pair(t, ip("127.0.0.1:0"))
	c.Reset()
	var h Hangups
	defer h.Close()
	told := make(chan struct{})
	defer h.Watch(s, func() { close(told) })()
	<-told
	if gone, reset := s.Ended(); gone || !reset {
		t.Errorf("after a reset %v, %v", gone, reset)
	}
}
