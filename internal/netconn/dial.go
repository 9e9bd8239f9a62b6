package netconn

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
	"golang.org/x/sys/unix"
)

// DialOptions of a dialled socket; the zero value is fine.
type DialOptions struct {
	Source      net.Addr   // to bind to, port 0 for any; nil: the system chooses
	KeepAlive   *KeepAlive // nil: off
	Transparent bool       // Source need not be ours
	FreeBind    bool
	Mark        uint32   // SO_MARK; 0: none
	Options     []Option // those of PreBind and Bound
	// Blocks, if not nil, is called before Dial first blocks its goroutine, be it for a
	// moment that does not count as waiting yet.
	Blocks func()
}

// Dial connects to an IPAddr or UnixAddr. waiting, if not nil, is called once before
// Dial first waits for the network: a connection that is made or refused at once,
// as on the loopback interface, never calls it. Dial ends early at the deadline
// (zero: none) with os.ErrDeadlineExceeded, and with filter.ErrCanceled when the
// channel that waiting returned (nil: never) is closed.
func Dial(addr net.Addr, deadline time.Time, waiting func() (cancel <-chan struct{}), o DialOptions) (*Socket, error) {
	s, err := dial(addr, deadline, waiting, &o)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: addr.Network(), Source: o.Source, Addr: addr, Err: err}
	}
	return s, nil
}

func dial(addr net.Addr, deadline time.Time, waiting func() <-chan struct{}, o *DialOptions) (*Socket, error) {
	fam, err := family(addr)
	if err != nil {
		return nil, err
	}
	fd, err := newFD(fam)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := newSocket(fd, unmapped(addr))
	err = prepare(fd, fam, o)
	if err == nil {
		err = connect(fd, fam, addr)
	}
	if err == unix.EINPROGRESS && connected(fd) {
		err = nil // the usual case on the loopback interface, for one system call
	}
	if err == unix.EINPROGRESS {
		if err = soon(fd, patience(addr), o.Blocks); err == unix.EINPROGRESS {
			var cancel <-chan struct{}
			if waiting != nil {
				cancel = waiting()
			}
			err = s.awaitConnect(deadline, cancel)
		}
	}
	if err != nil {
		_ = s.Reset() // nothing was sent
		return nil, err
	}
	return s, nil
}

func unmapped(a net.Addr) net.Addr {
	if u, ok := a.(filter.UnixAddr); ok {
		return u
	}
	ap, _ := filter.IP(a)
	if ap.Addr().Is4In6() {
		return fromNetip(ap)
	}
	if _, ok := a.(filter.IPAddr); ok {
		return a // not boxed anew
	}
	return fromNetip(ap)
}

func prepare(fd, fam int, o *DialOptions) error {
	if fam != unix.AF_UNIX {
		if err := prepareIP(fd, fam, o); err != nil {
			return err
		}
	}
	if err := setOptions(fd, fam, o.Options, plan.PreBind); err != nil {
		return err
	}
	if o.Source != nil {
		if err := bindSource(fd, fam, o.Source); err != nil {
			return err
		}
	}
	return setOptions(fd, fam, o.Options, plan.Bound)
}

func prepareIP(fd, fam int, o *DialOptions) error {
	err := setNoDelay(fd)
	if o.KeepAlive != nil && err == nil {
		err = setKeepAlive(fd, o.KeepAlive)
	}
	if o.Transparent && err == nil {
		err = setTransparent(fd, fam)
	}
	if o.FreeBind && err == nil {
		err = setFreeBind(fd, fam)
	}
	if o.Mark != 0 && err == nil {
		err = setMark(fd, o.Mark)
	}
	return err
}

// bindSource leaves the choice of port 0 to connect, which knows the destination and
// so runs out of ports later.
func bindSource(fd, fam int, source net.Addr) error {
	sa, err := toSockaddr(source, fam)
	if err != nil {
		return os.NewSyscallError("bind", err)
	}
	if ap, ok := filter.IP(source); ok && ap.Port() == 0 {
		latePort(fd)
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

func connect(fd, fam int, addr net.Addr) error {
	sa, err := toSockaddr(addr, fam)
	if err != nil {
		return err
	}
	switch err := connectFD(fd, sa); err {
	case unix.EINPROGRESS, unix.EINTR: // interrupted: it goes on
		return unix.EINPROGRESS
	case nil, unix.EISCONN:
		return nil
	default:
		return os.NewSyscallError("connect", err)
	}
}

// patience is how long the outcome of connect is asked for before it counts as
// waiting. On the loopback interface the answer is there when connect returns, but
// for a moment when the kernel is busy and leaves it to ksoftirqd.
func patience(addr net.Addr) (millis int) {
	if ap, ok := filter.IP(addr); ok && ap.Addr().Unmap().IsLoopback() {
		return 2
	}
	return 0
}

// soon returns the outcome if it comes within so many milliseconds.
func soon(fd, millis int, blocks func()) error {
	err := outcome(fd, 0)
	if err != unix.EINPROGRESS || millis == 0 {
		return err
	}
	if blocks != nil {
		blocks()
	}
	return outcome(fd, millis)
}

// outcome returns unix.EINPROGRESS while there is none.
func outcome(fd, millis int) error {
	e := pollFD(fd, 0)
	if !e.settled() && millis > 0 {
		e = pollFD(fd, millis)
	}
	if !e.settled() {
		return unix.EINPROGRESS
	}
	if wasConnected(fd) {
		return nil // and an error that came since is left for Read, behind the bytes before it
	}
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if n != 0 {
		return os.NewSyscallError("connect", syscall.Errno(n))
	}
	return nil
}

// settled reports whether a connect has come to an end. A connection that has been
// ended since need not be writable (macOS).
func (e Events) settled() bool { return e.Writable || e.FIN || e.Failed }

// awaitConnect waits for the outcome in the runtime's poller.
func (s *Socket) awaitConnect(deadline time.Time, cancel <-chan struct{}) error {
	f, err := s.polled()
	if err != nil {
		return err
	}
	if err := f.SetWriteDeadline(deadline); err != nil {
		return err
	}
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := s.expireOn(cancel)
	var result error
	werr := rc.Write(func(fd uintptr) bool {
		result = outcome(int(fd), 0)
		return result != unix.EINPROGRESS
	})
	if stop() {
		return filter.ErrCanceled
	}
	if errors.Is(werr, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	if err := errors.Join(werr, result); err != nil {
		return err
	}
	return f.SetWriteDeadline(time.Time{})
}

// expireOn lets writes fail when cancel is closed. stop ends that, waits for it, and
// reports whether it happened.
func (s *Socket) expireOn(cancel <-chan struct{}) (stop func() bool) {
	if cancel == nil {
		return func() bool { return false }
	}
	done, canceled := make(chan struct{}), make(chan bool)
	go s.watchCancel(cancel, done, canceled)
	return func() bool {
		close(done)
		return <-canceled
	}
}

func (s *Socket) watchCancel(cancel, done <-chan struct{}, canceled chan<- bool) {
	select {
	case <-cancel:
		_ = s.SetWriteDeadline(longAgo)
		<-done
		canceled <- true
	case <-done:
		canceled <- false
	}
}

var longAgo = time.Unix(1, 0)
