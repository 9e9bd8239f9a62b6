//go:build linux

package netconn

import (
	"testing"
	"time"
)

func TestHangups(t *testing.T) {
	for name, a := range families(t) {
		t.Run(name, func(t *testing.T) {
			for end, do := range map[string]func(*Socket){
				"FIN": func(s *Socket) { s.CloseWrite() }, "close": func(s *Socket) { s.Close() },
				"reset": func(s *Socket) { s.Reset() }, "FIN behind bytes": func(s *Socket) { s.Write([]byte("x")); s.CloseWrite() },
			} {
				var h Hangups
				c, s := pair(t, a)
				told := make(chan struct{}, 2)
				defer h.Watch(s, func() { told <- struct{}{} })()
				c.Write([]byte("data wakes nobody"))
				select {
				case <-told:
					t.Errorf("%s: data counts as an end", end)
				case <-time.After(20 * time.Millisecond): // it could come too late to be seen here; never too early
				}
				do(c)
				select {
				case <-told:
				case <-time.After(10 * time.Second):
					t.Errorf("%s: not noticed", end)
				}
				h.Close()
			}
		})
	}
}

// TestHangupTwice: a reset behind a FIN is told, too.
func TestHangupTwice(t *testing.T) {
	var h Hangups
	defer h.Close()
	c, s := pair(t, ip("127.0.0.1:0"))
	told := make(chan struct{}, 3)
	defer h.Watch(s, func() { told <- struct{}{} })()
	c.CloseWrite()
	<-told
	if s.PeerReset() {
		t.Error("a FIN is taken for a reset")
	}
	c.Reset()
	<-told
	if !s.PeerReset() {
		t.Error("told of no reset")
	}
}

func TestHangupBeforeTheWatch(t *testing.T) {
	var h Hangups
	defer h.Close()
	c, s := pair(t, ip("127.0.0.1:0"))
	c.CloseWrite()
	s.Read(make([]byte, 1))
	told := make(chan struct{})
	defer h.Watch(s, func() { close(told) })()
	<-told
}

// Descriptors are used again, and what is stopped or closed must tell nobody.
func TestHangupsForgetWhatIsStopped(t *testing.T) {
	var h Hangups
	defer h.Close()
	for range 100 {
		c, s := pair(t, ip("127.0.0.1:0"))
		stop := h.Watch(s, func() { t.Error("told though it was stopped") })
		stop()
		stop()
		c.Reset()
		s.Close()
		c, s = pair(t, ip("127.0.0.1:0"))
		told := make(chan struct{})
		stop = h.Watch(s, func() { close(told) })
		c.Reset()
		<-told
		stop()
		s.Close()
		h.Watch(s, func() { t.Error("told of a closed socket") })()
	}
	if n := len(h.watches); n != 0 {
		t.Errorf("%d watches are left", n)
	}
}
