package pipe_test

import (
	"testing"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

func TestOnHangup(t *testing.T) {
	for name, of := range map[string]struct {
		end  func(*pipe.Conn) error
		told int
	}{
		"CloseWrite": {(*pipe.Conn).CloseWrite, 1}, "Close": {(*pipe.Conn).Close, 1}, "Reset": {(*pipe.Conn).Reset, 1},
		"each after the other": {func(c *pipe.Conn) error { c.CloseWrite(); c.CloseWrite(); c.Close(); return c.Reset() }, 2},
		"CloseWrite, Reset":    {func(c *pipe.Conn) error { c.CloseWrite(); return c.Reset() }, 2},
	} {
		c, s := pipe.New(pipe.Options{})
		told := 0
		s.OnHangup(func() { told++ })
		c.Write([]byte("still to be read"))
		if told != 0 {
			t.Errorf("%s: bytes count as an end", name)
		}
		if of.end(c); told != of.told {
			t.Errorf("%s: told %d times", name, told)
		}
		if s.OnHangup(func() { told++ }); told != of.told+1 {
			t.Errorf("%s: who asks later is not told", name)
		}
		s.Close()
		c.Close()
	}
}

func TestOnHangupStopped(t *testing.T) {
	c, s := pipe.New(pipe.Options{})
	s.OnHangup(func() { t.Error("told after stop") })()
	c.CloseWrite()
	c.Close()
	s.Close()
}

func TestEnded(t *testing.T) {
	c, s := pipe.New(pipe.Options{})
	defer s.Close()
	if gone, reset := s.Ended(); gone || reset {
		t.Errorf("at first %v, %v", gone, reset)
	}
	c.Write([]byte("x"))
	c.CloseWrite()
	if gone, reset := s.Ended(); gone || reset {
		t.Errorf("with a byte to be read %v, %v", gone, reset)
	}
	s.Read(make([]byte, 2))
	if gone, reset := s.Ended(); !gone || reset {
		t.Errorf("after the end %v, %v", gone, reset)
	}
	c.Reset()
	if gone, reset := s.Ended(); gone || !reset {
		t.Errorf("after a reset %v, %v", gone, reset)
	}
}
