package pipe_test

import (
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// sleeper counts how often it was woken, which it may be in any goroutine.
type sleeper chan struct{}

func (s sleeper) Wake() { s <- struct{}{} }

// asleep returns a sleeper that c's reader is.
func asleep(t *testing.T, c *pipe.Conn) sleeper {
	t.Helper()
	s := make(sleeper, 9)
	if k, err := c.TakeChunk(pipe.LargeChunkBytes, s); k != nil || err != nil {
		t.Fatalf("TakeChunk = %v, %v; want it to sleep", k, err)
	}
	return s
}

func take(t *testing.T, c *pipe.Conn, maxBytes int) string {
	t.Helper()
	k, err := c.TakeChunk(maxBytes, nil)
	if err != nil || k == nil {
		t.Fatalf("TakeChunk = %v, %v", k, err)
	}
	defer k.Free()
	return string(k.Bytes())
}

func TestSleeperIsWokenOnceForWhatItCouldRead(t *testing.T) {
	client, server := newPair(t, pipe.Options{})
	s := asleep(t, server)
	write(t, client, "a")
	write(t, client, "b")
	if len(s) != 1 {
		t.Errorf("woken %d times by two writes", len(s))
	}
	if got := take(t, server, 100); got != "ab" {
		t.Errorf("took %q", got)
	}

	s = asleep(t, server)
	if err := client.WriteChunk(chunkOf("c")); err != nil || len(s) != 1 {
		t.Errorf("WriteChunk: %v; woken %d times", err, len(s))
	}
}

func TestSleeperIsWokenByEveryEnd(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(client, server *pipe.Conn)
		want error
	}{
		{"CloseWrite", func(client, _ *pipe.Conn) { client.CloseWrite() }, io.EOF},
		{"Close", func(client, _ *pipe.Conn) { client.Close() }, io.EOF},
		{"Reset", func(client, _ *pipe.Conn) { client.Reset() }, syscall.ECONNRESET},
		{"own Close", func(_, server *pipe.Conn) { server.Close() }, net.ErrClosed},
		{"own Reset", func(_, server *pipe.Conn) { server.Reset() }, net.ErrClosed},
		{"deadline", func(_, server *pipe.Conn) { server.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, server := newPair(t, pipe.Options{})
			s := asleep(t, server)
			tc.end(client, server)
			if len(s) != 1 {
				t.Errorf("woken %d times", len(s))
			}
			_, err := server.TakeChunk(1, s)
			mustBe(t, "TakeChunk", err, tc.want)
		})
	}
}

func TestSleeperIsWokenByItsDeadlineInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, server := newPair(t, pipe.Options{})
		s := asleep(t, server)
		began := time.Now()
		server.SetReadDeadline(began.Add(time.Minute))
		<-s
		if d := time.Since(began); d != time.Minute {
			t.Errorf("woken after %v", d)
		}
	})
}

func TestSleeperIsLeftAloneByWhatIsNotItsOwn(t *testing.T) {
	client, server := newPair(t, pipe.Options{})
	s := asleep(t, server)
	write(t, server, "the other direction")
	server.CloseWrite()
	server.SetWriteDeadline(time.Unix(1, 0))
	client.SetDeadline(time.Unix(1, 0))
	if _, err := client.Write([]byte("x")); err == nil {
		t.Error("wrote after the deadline")
	}
	server.SetReadDeadline(time.Now().Add(time.Hour))
	server.SetReadDeadline(time.Time{})
	if len(s) != 0 {
		t.Errorf("woken %d times", len(s))
	}
}

func TestSleeperSeesAWriteThatWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := newPair(t, pipe.Options{LimitBytes: 1})
		s := asleep(t, server)
		long := strings.Repeat("x", 100<<10)
		go client.Write([]byte(long))
		<-s
		for n := len(long); ; <-s {
			for n > 0 {
				k, err := server.TakeChunk(pipe.LargeChunkBytes, s)
				if err != nil {
					t.Fatal(err)
				}
				if k == nil {
					break
				}
				n -= k.Len()
				k.Free()
			}
			if n == 0 {
				return
			}
		}
	})
}

func TestTakeChunkTakesNoMoreThanAsked(t *testing.T) {
	client, server := newPair(t, pipe.Options{})
	all := strings.Repeat("0123456789", 5000)
	if err := client.WriteChunk(chunkOf(all)); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, n := range []int{1, 7, 3000, 10_000, 100_000} {
		b := take(t, server, n)
		if len(b) > n {
			t.Errorf("asked for %d, got %d", n, len(b))
		}
		got.WriteString(b)
	}
	if got.String() != all {
		t.Errorf("%d bytes of %d arrived, or not as they were", got.Len(), len(all))
	}
	if in, _ := server.Buffered(); in != 0 {
		t.Errorf("%d bytes are left", in)
	}
}

func TestOfferChunk(t *testing.T) {
	client, server := newPair(t, pipe.Options{LimitBytes: 3})
	s := asleep(t, server)
	taken, slept, err := client.OfferChunk(chunkOf("abc"))
	if !taken || slept != s || err != nil || len(s) != 0 {
		t.Fatalf("OfferChunk = %v, %v, %v; woken %d times", taken, slept, err, len(s))
	}
	k := chunkOf("def")
	if taken, slept, err = client.OfferChunk(k); taken || slept != nil || err != nil {
		t.Errorf("OfferChunk to a full queue = %v, %v, %v", taken, slept, err)
	}
	take(t, server, 100)
	if taken, slept, err = client.OfferChunk(k); !taken || slept != nil || err != nil {
		t.Errorf("OfferChunk to nobody who sleeps = %v, %v, %v", taken, slept, err)
	}
	server.Close()
	k = chunkOf("g")
	taken, _, err = client.OfferChunk(k)
	if taken {
		t.Error("a closed peer takes a chunk")
	}
	mustBe(t, "OfferChunk", err, syscall.EPIPE)
	k.Free()
}

func TestOfferChunkWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := newPair(t, pipe.Options{})
		got := make(chan byte)
		go func() {
			p := make([]byte, 1)
			server.Read(p)
			got <- p[0]
		}()
		synctest.Wait()
		client.OfferChunk(chunkOf("a"))
		if b := <-got; b != 'a' {
			t.Errorf("read %q", b)
		}
	})
}
