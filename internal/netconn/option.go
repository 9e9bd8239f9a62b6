package netconn

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// KeepAlive turns TCP keep-alive on. Zero fields: the system's values.
type KeepAlive struct {
	Probes         int
	Idle, Interval time.Duration // the kernel counts in seconds; parts round up
}

// An Option is one of Envoy's socket_options: an int, or bytes when Bytes is not nil.
type Option struct {
	Level, Name int
	Int         int
	Bytes       []byte
	When        When
}

// When is the state of a socket in which an Option is set.
type When uint8

// The states.
const (
	PreBind When = iota
	Bound
	Listening
)

func (o *Option) set(fd int) error {
	var err error
	if o.Bytes != nil {
		err = unix.SetsockoptString(fd, o.Level, o.Name, string(o.Bytes))
	} else {
		err = unix.SetsockoptInt(fd, o.Level, o.Name, o.Int)
	}
	if err != nil {
		return fmt.Errorf("socket option %d of level %d: %w", o.Name, o.Level, err)
	}
	return nil
}

func setOptions(fd int, all []Option, when When) error {
	for i := range all {
		if all[i].When == when {
			if err := all[i].set(fd); err != nil {
				return err
			}
		}
	}
	return nil
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
