package netconn

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
	"golang.org/x/sys/unix"
)

// ListenOptions of a listening socket; the zero value is Envoy's default.
type ListenOptions struct {
	NoReusePort bool        // SO_REUSEPORT off: another process cannot share the address
	Backlog     int         // 0: the system's maximum
	IPv4Compat  bool        // an IPv6 socket takes IPv4 connections too
	Mode        os.FileMode // of a Unix socket's path; 0: as the umask leaves it
	KeepAlive   *KeepAlive  // nil: off
	Transparent bool        // IP_TRANSPARENT
	FreeBind    bool        // IP_FREEBIND
	FastOpen    int         // queue length of TCP fast open; 0: the system's, -1: off
	Multipath   bool        // MPTCP
	Options     []Option
	Namespace   string // file of the network namespace of the socket; "": the process's
}

// A Listener is a bound socket that listens once Listen has been called.
type Listener struct {
	o      ListenOptions
	batch  Batch
	family int
	addr   net.Addr // as bound: port 0 resolved
	// local is the local address of all accepted sockets, nil when they differ.
	local net.Addr

	mu        sync.Mutex
	fd        int // -1 once it is closed
	listening bool
	closed    bool
	sharers   *atomic.Int32 // listeners on the same socket that are open; nil: this one
	file      *os.File      // owns fd; nil until Accept has to wait
	raw       syscall.RawConn
	stopWatch func()        // nil: no loop watches the descriptor
	done      chan struct{} // closed by Close

	inUse sync.RWMutex // held by loops while they accept from fd
	gone  bool         // fd is not to be used any more; guarded by inUse
}

// Bind takes an address, so that nobody else can and conflicts show; connections are
// refused until Listen. A socket in the file system that is in the way of a Unix
// address is unlinked, as Envoy does, whoever listens on it; other files are not
// (Envoy unlinks them too). The path stays when the Listener is closed.
func Bind(addr net.Addr, o ListenOptions) (*Listener, error) {
	l, err := bind(addr, o)
	if err != nil {
		return nil, &BindError{Addr: addr, Err: err}
	}
	return l, nil
}

// A BindError prints as Envoy does: cannot bind '127.0.0.1:80': Address already in use.
type BindError struct {
	Addr net.Addr
	Err  error
}

func (e *BindError) Error() string {
	text := Text(e.Err)
	if o := (*OptionError)(nil); errors.As(e.Err, &o) {
		text = o.Error()
	}
	if n := (*namespaceError)(nil); errors.As(e.Err, &n) {
		text = n.Error()
	}
	return fmt.Sprintf("cannot bind '%v': %s", e.Addr, text)
}

func (e *BindError) Unwrap() error { return e.Err }

// A namespaceError prints as Envoy does.
type namespaceError struct {
	verb, path string
	err        error
}

func (e *namespaceError) Error() string {
	return fmt.Sprintf("failed to %s netns file %s: %s", e.verb, e.path, Text(e.err))
}

func (e *namespaceError) Unwrap() error { return e.err }

func bind(addr net.Addr, o ListenOptions) (*Listener, error) {
	fam, err := family(addr)
	if err != nil {
		return nil, err
	}
	if ap, ok := filter.IP(addr); ok && ap.Addr().Is4In6() && o.IPv4Compat {
		fam = unix.AF_INET6
	}
	fd, err := listeningFD(fam, &o)
	if err != nil {
		if o.Namespace != "" {
			return nil, err
		}
		return nil, os.NewSyscallError("socket", err)
	}
	if err := bindFD(fd, fam, addr, &o); err != nil {
		unix.Close(fd)
		return nil, err
	}
	l := &Listener{o: o, family: fam, fd: fd, addr: addr, done: make(chan struct{})}
	if fam == unix.AF_UNIX {
		l.local = addr
		return l, nil
	}
	if l.addr, err = sockname(fd); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("getsockname", err)
	}
	if ap, _ := filter.IP(l.addr); !ap.Addr().IsUnspecified() && !o.Transparent {
		l.local = l.addr
	}
	return l, nil
}

// listeningFD makes the socket, which stays in the namespace that it is made in.
func listeningFD(fam int, o *ListenOptions) (int, error) {
	if o.Namespace != "" {
		within := *o
		within.Namespace = ""
		return inNamespace(o.Namespace, func() (int, error) { return listeningFD(fam, &within) })
	}
	if o.Multipath && fam != unix.AF_UNIX {
		return newMultipathFD(fam)
	}
	return newFD(fam)
}

func bindFD(fd, fam int, addr net.Addr, o *ListenOptions) error {
	if err := preBind(fd, fam, addr, o); err != nil {
		return err
	}
	sa, err := toSockaddr(addr, fam)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, sa); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if u, ok := addr.(filter.UnixAddr); ok && o.Mode != 0 && !abstract(u) {
		if err := os.Chmod(u.Path, o.Mode); err != nil {
			return err
		}
	}
	return setOptions(fd, fam, o.Options, plan.Bound)
}

func preBind(fd, fam int, addr net.Addr, o *ListenOptions) error {
	if u, ok := addr.(filter.UnixAddr); ok {
		if !abstract(u) {
			unlinkSocket(u.Path)
		}
		return setOptions(fd, fam, o.Options, plan.PreBind)
	}
	// Accepted sockets inherit these; on Linux all of them.
	errs := []error{setInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), setNoDelay(fd)}
	if !o.NoReusePort {
		errs = append(errs, setInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	}
	if fam == unix.AF_INET6 {
		errs = append(errs, setInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, flag(!o.IPv4Compat)))
	}
	if o.KeepAlive != nil {
		errs = append(errs, setKeepAlive(fd, o.KeepAlive))
	}
	if o.Transparent {
		errs = append(errs, setTransparent(fd, fam))
	}
	if o.FreeBind {
		errs = append(errs, setFreeBind(fd, fam))
	}
	return errors.Join(append(errs, setOptions(fd, fam, o.Options, plan.PreBind))...)
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

func abstract(u filter.UnixAddr) bool { return strings.HasPrefix(u.Path, "@") }

func unlinkSocket(path string) {
	if fi, err := os.Lstat(path); err == nil && fi.Mode().Type() == os.ModeSocket {
		_ = os.Remove(path) // if not, bind says why
	}
}

// Listen lets connections in; from now on Accept returns them. Calling it again does
// nothing.
func (l *Listener) Listen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return net.ErrClosed
	case l.listening:
		return nil
	}
	if l.o.FastOpen != 0 {
		if err := setFastOpen(l.fd, max(l.o.FastOpen, 0)); err != nil {
			return l.listenError(err)
		}
	}
	backlog := l.o.Backlog
	if backlog <= 0 {
		backlog = maxBacklog()
	}
	if err := unix.Listen(l.fd, backlog); err != nil {
		return l.listenError(os.NewSyscallError("listen", err))
	}
	if err := setOptions(l.fd, l.family, l.o.Options, plan.Listening); err != nil {
		return l.listenError(err)
	}
	l.listening = true
	return nil
}

// polled returns the socket as a member of the runtime's poller.
func (l *Listener) polled() (syscall.RawConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, net.ErrClosed
	case !l.listening:
		return nil, errNotListening
	case l.raw != nil:
		return l.raw, nil
	}
	f := os.NewFile(uintptr(l.fd), "listener")
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	l.file, l.raw = f, raw
	return raw, nil
}

var errNotListening = errors.New("not listening")

func (l *Listener) listenError(err error) error {
	return fmt.Errorf("cannot listen on '%v': %w", l.addr, err)
}

// Listen binds and listens.
func Listen(addr net.Addr, o ListenOptions) (*Listener, error) {
	l, err := Bind(addr, o)
	if err != nil {
		return nil, err
	}
	if err := l.Listen(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// maxBacklog is what listen(2) would cut longer backlogs down to.
func maxBacklog() int {
	b, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		return 128 // Envoy, where the system does not say
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n <= 0 {
		return 128
	}
	return n
}

// SetBatch says how many connections are accepted at once. It is called before accepting
// begins.
func (l *Listener) SetBatch(b Batch) { l.batch = b }

// Addr returns the address with its real port.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close gives the address back and wakes Accept and Serve. Connections in the queue
// are reset by the kernel. Further calls do nothing.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if l.sharers != nil {
		l.sharers.Add(-1)
	}
	close(l.done)
	l.endWatch()
	l.inUse.Lock()
	l.gone = true
	l.inUse.Unlock()
	fd := l.fd
	l.fd = -1
	if l.file != nil {
		return l.file.Close()
	}
	return os.NewSyscallError("close", unix.Close(fd))
}
