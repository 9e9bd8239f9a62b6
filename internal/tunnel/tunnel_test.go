package tunnel

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// far is an exchange as its other side sees it.
type far struct {
	mu    sync.Mutex
	got   bytes.Buffer
	end   bool
	reset *httpmsg.ResetError
	done  chan struct{} // closed by a reset

	comes   chan []byte // to be received; closed: END_STREAM
	trailer httpmsg.Header
	ended   chan httpmsg.Header
	refused func(*httpmsg.ResetError) // of OnReset
}

func newFar() *far {
	return &far{done: make(chan struct{}), comes: make(chan []byte, 100), ended: make(chan httpmsg.Header, 1)}
}

func (f *far) WriteData(p []byte, end bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reset != nil {
		return f.reset
	}
	f.got.Write(p)
	f.end = f.end || end
	return nil
}

func (f *far) WriteTrailer(httpmsg.Header) error { return nil }
func (f *far) Flush() error                      { return nil }

func (f *far) Reset(why *httpmsg.ResetError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reset == nil {
		f.reset = why
		close(f.done)
	}
}

func (f *far) OnReset(g func(*httpmsg.ResetError)) { f.refused = g }

func (f *far) Next() ([]byte, error) {
	select {
	case p, ok := <-f.comes:
		if !ok {
			return nil, io.EOF
		}
		return p, nil
	case <-f.done:
		return nil, f.reset
	}
}

func (f *far) Ready() bool             { return false }
func (f *far) Trailer() httpmsg.Header { return f.trailer }

func (f *far) state() (got string, end bool, reset *httpmsg.ResetError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got.String(), f.end, f.reset
}

func open(f *far) *pipe.Conn {
	return Open(Exchange{f, f, func(h httpmsg.Header) { f.ended <- h }}, 0)
}

// in runs a story in virtual time, and sees that the tunnel is gone at its end.
func in(t *testing.T, name string, story func(t *testing.T, c *pipe.Conn, f *far)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFar()
			c := open(f)
			story(t, c, f)
			c.Close()
			<-f.ended
		})
	})
}

func TestEnds(t *testing.T) {
	in(t, "the far side ends, and takes nothing more while the caller is silent", func(t *testing.T, c *pipe.Conn, f *far) {
		f.comes <- []byte("hello")
		close(f.comes)
		synctest.Wait()
		f.Reset(&httpmsg.ResetError{Reason: httpmsg.RemoteReset})
		f.refused(f.reset)
		synctest.Wait()
		if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
			t.Errorf("the caller got %q, %v", got, err)
		}
		if !c.PeerClosed() {
			t.Error("the caller does not hear that nobody takes its bytes")
		}
	})
	in(t, "half close of the caller, then of the far side", func(t *testing.T, c *pipe.Conn, f *far) {
		io.WriteString(c, "question")
		c.CloseWrite()
		synctest.Wait()
		if got, end, reset := f.state(); got != "question" || !end || reset != nil {
			t.Fatalf("the far side got %q, %v, %v", got, end, reset)
		}
		f.comes <- []byte("answer")
		close(f.comes)
		if got, err := io.ReadAll(c); string(got) != "answer" || err != nil {
			t.Errorf("the caller got %q, %v", got, err)
		}
	})
	in(t, "half close of the far side, then of the caller", func(t *testing.T, c *pipe.Conn, f *far) {
		f.comes <- []byte("hello")
		close(f.comes)
		if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
			t.Errorf("the caller got %q, %v", got, err)
		}
		io.WriteString(c, "late words")
		c.CloseWrite()
		synctest.Wait()
		if got, end, reset := f.state(); got != "late words" || !end || reset != nil {
			t.Errorf("the far side got %q, %v, %v", got, end, reset)
		}
	})
	in(t, "reset by the caller", func(t *testing.T, c *pipe.Conn, f *far) {
		io.WriteString(c, "x")
		c.Reset()
		synctest.Wait()
		if _, end, reset := f.state(); end || reset == nil || reset.Reason != httpmsg.LocalReset {
			t.Errorf("the far side saw end %v, reset %v", end, reset)
		}
	})
	in(t, "reset by the far side", func(t *testing.T, c *pipe.Conn, f *far) {
		f.comes <- []byte("words")
		synctest.Wait()
		f.Reset(&httpmsg.ResetError{Reason: httpmsg.RemoteReset})
		if got, err := io.ReadAll(c); string(got) != "words" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the caller got %q, %v", got, err)
		}
		if _, err := io.WriteString(c, "x"); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("its write: %v", err)
		}
	})
}

// A full close is END_STREAM behind the bytes; the reset comes when it can do no harm.
func TestFullClose(t *testing.T) {
	in(t, "nothing is under way", func(t *testing.T, c *pipe.Conn, f *far) {
		io.WriteString(c, "question")
		synctest.Wait()
		f.comes <- []byte("answer")
		io.ReadFull(c, make([]byte, 6))
		c.Close()
		time.Sleep(settled - 1)
		if got, end, reset := f.state(); got != "question" || !end || reset != nil {
			t.Errorf("the far side got %q, %v, %v", got, end, reset)
		}
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		if _, _, reset := f.state(); reset == nil {
			t.Error("the tunnel stays open")
		}
	})
	in(t, "bytes may be under way", func(t *testing.T, c *pipe.Conn, f *far) {
		io.WriteString(c, "question")
		c.Close()
		time.Sleep(unsettled / 2)
		if got, end, reset := f.state(); got != "question" || !end || reset != nil {
			t.Errorf("the far side got %q, %v, %v", got, end, reset)
		}
		f.comes <- []byte("nobody reads this")
		synctest.Wait()
		if _, _, reset := f.state(); reset == nil {
			t.Error("bytes that nobody reads are taken")
		}
	})
	in(t, "the far side ends, too", func(t *testing.T, c *pipe.Conn, f *far) {
		c.Close()
		close(f.comes)
		synctest.Wait()
		time.Sleep(2 * unsettled)
		if _, end, reset := f.state(); !end || reset != nil {
			t.Errorf("the far side saw end %v, reset %v", end, reset)
		}
	})
}

// A far side that has ended and takes no more bytes fails the caller's writes, but what
// it had sent can be read.
func TestFarSideTakesNoMore(t *testing.T) {
	in(t, "", func(t *testing.T, c *pipe.Conn, f *far) {
		f.comes <- []byte("all of it")
		close(f.comes)
		synctest.Wait()
		f.Reset(&httpmsg.ResetError{Reason: httpmsg.RemoteReset})
		io.WriteString(c, "x")
		synctest.Wait()
		if _, err := io.WriteString(c, "y"); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("a write: %v", err)
		}
		if got, err := io.ReadAll(c); string(got) != "all of it" || err != nil {
			t.Errorf("the caller got %q, %v", got, err)
		}
	})
}

func TestTrailer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.trailer = httpmsg.Header{{Name: "a", Value: "b"}}
		c := open(f)
		close(f.comes)
		c.CloseWrite()
		if h := <-f.ended; h.Get("a") != "b" {
			t.Errorf("trailers %v", h)
		}
		c.Close()
	})
}

// TestLateReset: when the tunnel is over the exchange may be somebody else's.
func TestLateReset(t *testing.T) {
	for name, end := range map[string]func(*pipe.Conn) error{"reset": (*pipe.Conn).Reset, "close": (*pipe.Conn).Close} {
		in(t, name, func(t *testing.T, c *pipe.Conn, f *far) {
			close(f.comes)
			c.CloseWrite()
			synctest.Wait()
			end(c)
			time.Sleep(2 * time.Minute)
			if _, _, reset := f.state(); reset != nil {
				t.Errorf("reset with %v", reset)
			}
		})
	}
}
