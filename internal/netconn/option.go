package netconn

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/internal/plan"
)

// KeepAlive turns TCP keep-alive on. Zero fields: the system's values.
type KeepAlive struct {
	Probes         int
	Idle, Interval time.Duration // the kernel counts in seconds; parts round up
}

// An Option is one of Envoy's socket_options.
type Option = plan.SocketOption

// An OptionError is that of an Option which the system does not take.
type OptionError struct {
	Level, Name int
	Err         error
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("socket option %d of level %d: %s", e.Name, e.Level, Text(e.Err))
}

func (e *OptionError) Unwrap() error { return e.Err }

func setOption(fd int, o *Option) error {
	var err error
	if o.Bytes != nil {
		err = unix.SetsockoptString(fd, o.Level, o.Name, string(o.Bytes))
	} else {
		err = unix.SetsockoptInt(fd, o.Level, o.Name, o.Int)
	}
	if err != nil {
		return &OptionError{o.Level, o.Name, err}
	}
	return nil
}

// setOptions sets those of all that are for a state and for the family of the socket.
func setOptions(fd, family int, all []Option, when plan.When) error {
	for i := range all {
		if o := &all[i]; o.When == when && suits(o.Family, family) {
			if err := setOption(fd, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func suits(f plan.Family, family int) bool {
	switch f {
	case plan.IPv4:
		return family != unix.AF_INET6
	case plan.IPv6:
		return family != unix.AF_INET
	}
	return true
}

func setInt(fd, level, name, v int) error {
	return os.NewSyscallError("setsockopt", setsockopt(fd, level, name, v))
}

func setPositive(fd, level, name, v int) error {
	if v <= 0 {
		return nil
	}
	return setInt(fd, level, name, v)
}

func setNoDelay(fd int) error { return setInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
