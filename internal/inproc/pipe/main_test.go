package pipe_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if n := pipe.ChunksInUse(); n != 0 {
			fmt.Fprintf(os.Stderr, "%d chunks leaked\n", n)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// newPair closes both ends when the test is done, and has every chunk back then.
func newPair(t *testing.T, o pipe.Options) (client, server *pipe.Conn) {
	t.Helper()
	before := pipe.ChunksInUse()
	client, server = pipe.New(o)
	t.Cleanup(func() {
		client.Close()
		server.Close()
		if n := pipe.ChunksInUse() - before; n != 0 {
			t.Errorf("%d chunks in use after both ends were closed", n)
		}
	})
	return client, server
}

func write(t *testing.T, c *pipe.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write of %d bytes = %d, %v", len(s), n, err)
	}
}

// fill writes until the writer has to wait; in a synctest bubble.
func fill(t *testing.T, c *pipe.Conn) (n int) {
	t.Helper()
	expireWrites(c)
	for {
		m, err := c.Write(make([]byte, 1000))
		n += m
		if err != nil {
			mustBe(t, "write to a full queue", err, os.ErrDeadlineExceeded)
			neverExpire(c)
			return n
		}
	}
}
