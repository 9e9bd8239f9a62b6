package netconn

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// full returns a listener whose queue has no room: SYNs to it are dropped.
func full(t *testing.T) *Listener {
	l := listen(t, ip("127.0.0.1:0"), ListenOptions{Backlog: 1})
	for range 10 {
		c, err := Dial(l.Addr(), time.Now().Add(50*time.Millisecond), nil, DialOptions{})
		if err != nil {
			return l
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("the queue never fills")
	return nil
}

func never(t *testing.T) func() <-chan struct{} {
	return func() <-chan struct{} {
		t.Error("waiting was called")
		return nil
	}
}

func TestDialAtOnce(t *testing.T) {
	for name, a := range families(t) {
		t.Run(name, func(t *testing.T) {
			l := listen(t, a, ListenOptions{})
			for range 200 {
				c, err := Dial(l.Addr(), time.Time{}, never(t), DialOptions{})
				if err != nil {
					t.Fatal(err)
				}
				c.Reset()
			}
		})
	}
}

func TestDialRefusedAtOnce(t *testing.T) {
	for name, a := range families(t) {
		t.Run(name, func(t *testing.T) {
			l := listen(t, a, ListenOptions{})
			l.Close()
			before := openFDs(t)
			taken := 0
			for range 200 {
				c, err := Dial(l.Addr(), time.Time{}, never(t), DialOptions{})
				if err == nil && taken < 3 {
					// The system gave the free port to somebody else meanwhile, or to this very
					// connection, which then is one with itself.
					taken++
					c.Close()
					continue
				}
				if !errors.Is(err, syscall.ECONNREFUSED) || Text(err) != "Connection refused" {
					t.Fatal(err)
				}
			}
			if n := openFDs(t); n != before {
				t.Errorf("%d descriptors before, %d after", before, n)
			}
		})
	}
}

func TestDialDeadline(t *testing.T) {
	l := full(t)
	before := openFDs(t)
	waits := 0
	wait := func() <-chan struct{} { waits++; return make(chan struct{}) }
	_, err := Dial(l.Addr(), time.Now().Add(20*time.Millisecond), wait, DialOptions{})
	if !errors.Is(err, os.ErrDeadlineExceeded) || waits != 1 {
		t.Errorf("%v; waiting called %d times", err, waits)
	}
	if n := openFDs(t); n != before {
		t.Errorf("%d descriptors before, %d after", before, n)
	}
}

func TestDialCancel(t *testing.T) {
	l := full(t)
	before := openFDs(t)
	cancel := make(chan struct{})
	wait := func() <-chan struct{} { close(cancel); return cancel }
	_, err := Dial(l.Addr(), time.Time{}, wait, DialOptions{})
	if !errors.Is(err, filter.ErrCanceled) {
		t.Error(err)
	}
	if n := openFDs(t); n != before {
		t.Errorf("%d descriptors before, %d after", before, n)
	}
}

func TestDialWaits(t *testing.T) {
	l := full(t)
	waiting := make(chan struct{})
	done := make(chan error)
	go func() {
		wait := func() <-chan struct{} { close(waiting); return nil }
		c, err := Dial(l.Addr(), time.Now().Add(time.Minute), wait, DialOptions{})
		if err == nil {
			c.SetReadDeadline(time.Now().Add(-time.Second))
			_, err = c.Write([]byte("x")) // no deadline is left over
			c.Close()
		}
		done <- err
	}()
	<-waiting
	go l.Serve(func(s *Socket) { s.Close() }, nil)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDialSource(t *testing.T) {
	l := listen(t, ip("127.0.0.1:0"), ListenOptions{})
	c, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{Source: ip("127.0.0.2:0")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ap, _ := filter.IP(c.LocalAddr())
	if ap.Addr().String() != "127.0.0.2" || ap.Port() == 0 {
		t.Errorf("connected from %v", ap)
	}
	_, err = Dial(l.Addr(), time.Time{}, nil, DialOptions{Source: ip("192.0.2.1:0")})
	if Text(err) != "Cannot assign requested address" {
		t.Error(err)
	}
}

// TestDialSourceOfAnotherFamily: the texts are those that the real Envoy logs.
func TestDialSourceOfAnotherFamily(t *testing.T) {
	for _, x := range []struct{ to, source, want string }{
		{"127.0.0.1:0", "[::1]:0", "Address family not supported by protocol"},
		{"[::1]:0", "127.0.0.2:0", "Invalid argument"},
	} {
		l := listen(t, ip(x.to), ListenOptions{})
		_, err := Dial(l.Addr(), time.Time{}, never(t), DialOptions{Source: ip(x.source)})
		var sys *os.SyscallError
		if !errors.As(err, &sys) || sys.Syscall != "bind" || Text(err) != x.want {
			t.Errorf("from %s: %v, want bind: %s", x.source, err, x.want)
		}
	}
}

func TestDialBadAddress(t *testing.T) {
	for _, a := range []any{filter.InternalAddr{Listener: "x"}, filter.UnixAddr{}, filter.IPAddr{}} {
		if _, err := Dial(a.(interface {
			Network() string
			String() string
		}), time.Time{}, never(t), DialOptions{}); err == nil {
			t.Errorf("%v can be dialled", a)
		}
	}
}

// TestDialResetAtOnce: a connection that was made and then reset, before anybody
// looked, was made; what came before the reset can be read.
func TestDialResetAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, words := range []string{"", "last words"} {
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, words)
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}()
		s, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{})
		if err != nil {
			t.Fatalf("dial: %v", err)
		}
		<-gone
		if got, err := io.ReadAll(s); string(got) != words || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read %q, %v, want %q and a reset", got, err, words)
		}
		s.Close()
	}
}
