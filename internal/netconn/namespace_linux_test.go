package netconn_test

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
)

// namespace makes a network namespace of its own, with a loopback interface, and returns
// its file, and what runs functions in it.
func namespace(t *testing.T) (path string, do func(func())) {
	t.Helper()
	work, made := make(chan func()), make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			path, err = fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), loopbackUp()
		}
		made <- err
		for f := range work {
			f()
		}
	}()
	t.Cleanup(func() { close(work) })
	if err := <-made; err != nil {
		t.Skipf("no network namespaces here: %v", err)
	}
	return path, func(f func()) {
		done := make(chan struct{})
		work <- func() { defer close(done); f() }
		<-done
	}
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

// TestNamespace: of two listeners on one address each takes the connections of its network
// namespace.
func TestNamespace(t *testing.T) {
	path, do := namespace(t)
	outside, err := netconn.Listen(filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}, netconn.ListenOptions{NoReusePort: true})
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	inside, err := netconn.Listen(outside.Addr(), netconn.ListenOptions{NoReusePort: true, Namespace: path})
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	for _, c := range []struct {
		name string
		in   func(func())
		l    *netconn.Listener
	}{{"inside", do, inside}, {"outside", func(f func()) { f() }, outside}} {
		var local string
		c.in(func() { local, err = connect(t, outside.Addr()) })
		if err != nil {
			t.Fatal(c.name, err)
		}
		s, err := c.l.Accept()
		if err != nil {
			t.Fatal(c.name, err)
		}
		if s.RemoteAddr().String() != local || s.LocalAddr().String() != outside.Addr().String() {
			t.Errorf("%s: from %v to %v, not from %s", c.name, s.RemoteAddr(), s.LocalAddr(), local)
		}
		s.Close()
	}
}

// connect connects to a from where the thread is, and returns the address of its end, which
// is closed with the test.
func connect(t *testing.T, a net.Addr) (local string, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	t.Cleanup(func() { unix.Close(fd) })
	to, _ := filter.IP(a)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return "", err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port), nil
}

func TestNoNamespace(t *testing.T) {
	var addr net.Addr = filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}
	for path, want := range map[string]string{
		"/no/such/file": "cannot bind '127.0.0.1:0': failed to open netns file /no/such/file: No such file or directory",
		"/dev/null":     "cannot bind '127.0.0.1:0': failed to enter netns file /dev/null: ",
	} {
		_, err := netconn.Bind(addr, netconn.ListenOptions{Namespace: path})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
