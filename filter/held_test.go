package filter_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// held is a stream whose first bytes are those of text.
type held struct {
	net.Conn
	text string
}

func (h *held) Read(p []byte) (int, error) {
	if h.text == "" {
		return 0, io.EOF
	}
	n := copy(p, h.text)
	h.text = h.text[n:]
	return n, nil
}
func (h *held) Close() error                    { return nil }
func (h *held) CloseWrite() error               { return nil }
func (h *held) Reset() error                    { return nil }
func (h *held) SetDeadline(time.Time) error     { return nil }
func (h *held) SetReadDeadline(time.Time) error { return nil }

type owner struct{}

func (owner) Accepted(*filter.Conn)                   {}
func (owner) Blocks(*filter.Conn)                     {}
func (owner) Ended(*filter.Conn)                      {}
func (owner) Own(*filter.Conn, filter.Closer) bool    { return true }
func (owner) Closing(*filter.Conn) string             { return "" }
func (owner) DrainClose(*filter.Conn) bool            { return false }
func (owner) Replace(c *filter.Conn, s filter.Stream) { c.Stream = s }

func newConn(text string) *filter.Conn {
	c := &filter.Conn{Stream: &held{text: text}}
	c.Init(owner{})
	return c
}

// TestHoldData: nothing is read before the function has returned, and what others have
// registered runs around it in order.
func TestHoldData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, order := newConn("ping"), ""
		note := func(s string) func(*filter.Conn) error {
			return func(*filter.Conn) error { order += s; return nil }
		}
		c.OnData(note("a"))
		c.HoldData(func(*filter.Held) error {
			time.Sleep(time.Second)
			order += "b"
			return nil
		})
		c.OnData(note("c"))
		begun := time.Now()
		p := make([]byte, 10)
		n, err := c.Stream.Read(p)
		if string(p[:n]) != "ping" || err != nil || time.Since(begun) != time.Second {
			t.Errorf("%q, %v after %v", p[:n], err, time.Since(begun))
		}
		if err := c.FirstData(); err != nil || order != "abc" {
			t.Errorf("%v, in the order %q", err, order)
		}
		if _, err := c.Stream.Read(p); err != io.EOF || order != "abc" {
			t.Errorf("%v; it ran again: %q", err, order)
		}
	})
}

// TestHoldDataRefuses: the first error is the connection's, and what would come later does
// not run.
func TestHoldDataRefuses(t *testing.T) {
	no := errors.New("no")
	for name, register := range map[string]func(*filter.Conn){
		"before": func(c *filter.Conn) {
			c.OnData(func(*filter.Conn) error { return no })
			c.HoldData(func(*filter.Held) error { t.Error("asked all the same"); return nil })
		},
		"itself": func(c *filter.Conn) {
			c.HoldData(func(*filter.Held) error { return no })
			c.OnData(func(*filter.Conn) error { t.Error("went on"); return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConn("")
			register(c)
			if _, err := c.Stream.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("an end alone: %v", err)
			}
			if err := c.FirstData(); err != no {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestHoldDataEnds: a connection that is ended meanwhile does not wait.
func TestHoldDataEnds(t *testing.T) {
	for name, end := range map[string]func(filter.Stream) error{
		"close":    func(s filter.Stream) error { return s.Close() },
		"reset":    func(s filter.Stream) error { return s.Reset() },
		"for":      func(s filter.Stream) error { return filter.CloseFor(s, io.EOF) },
		"deadline": func(s filter.Stream) error { return s.SetDeadline(time.Unix(1, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newConn("ping")
				c.HoldData(func(h *filter.Held) error {
					<-h.Context().Done()
					return nil
				})
				got := make(chan error)
				go func() {
					_, err := c.Stream.Read(make([]byte, 10))
					got <- err
				}()
				synctest.Wait()
				if err := end(c.Stream); err != nil {
					t.Fatal(err)
				}
				if err := <-got; !errors.Is(err, net.ErrClosed) {
					t.Errorf("read: %v", err)
				}
			})
		})
	}
}
