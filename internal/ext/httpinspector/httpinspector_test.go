package httpinspector

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/stats/teststats"
)

// A recording is a connection whose bytes are there from the start, but come in steps.
type recording struct {
	bytes string
	end   error
	step  int // 0: all at once
}

func (r *recording) Peek(n int) ([]byte, error) {
	if n > len(r.bytes) {
		return []byte(r.bytes), r.end
	}
	if r.step > 0 {
		return []byte(r.bytes[:min(len(r.bytes), n-1+r.step)]), nil
	}
	return []byte(r.bytes), nil
}

func (*recording) Discard(int) error     { panic("nothing may be consumed") }
func (*recording) Stream() filter.Stream { return nil }

func TestInspect(t *testing.T) {
	line := func(n int) string { return "GET /" + strings.Repeat("a", n-16) + " HTTP/1.1\r\n" }
	for _, c := range []struct {
		name  string
		in    recording
		tls   string // transport protocol that was found before
		err   error
		count string
		found []string
	}{
		{name: "1.1", in: recording{bytes: line(20)}, count: "http11_found", found: []string{"http/1.1"}},
		{name: "1.1 and an end", in: recording{bytes: line(20), end: io.EOF}, count: "http11_found", found: []string{"http/1.1"}},
		{name: "1.0", in: recording{bytes: "GET / HTTP/1.0\n"}, count: "http10_found", found: []string{"http/1.0"}},
		{name: "2", in: recording{bytes: preface}, count: "http2_found", found: []string{"h2c"}},
		{name: "text", in: recording{bytes: "hello there\n"}, count: "http_not_found"},
		{name: "text and an end", in: recording{bytes: "hello", end: io.EOF}, count: "http_not_found"},
		{name: "text and no time", in: recording{bytes: "hello", end: os.ErrDeadlineExceeded}, err: os.ErrDeadlineExceeded},
		{name: "text and a reset", in: recording{bytes: "hello", end: syscall.ECONNRESET}, err: syscall.ECONNRESET},
		{name: "nothing and an end", in: recording{end: io.EOF}, err: io.EOF},
		{name: "behind TLS", in: recording{bytes: line(20)}, tls: "tls"},
		{name: "behind text", in: recording{bytes: line(20)}, tls: "raw_buffer", count: "http11_found", found: []string{"http/1.1"}},
		{name: "longest", in: recording{bytes: line(maxLine)}, count: "http11_found", found: []string{"http/1.1"}},
		{name: "longest, in pieces", in: recording{bytes: line(maxLine), step: 1000}, count: "http11_found", found: []string{"http/1.1"}},
		{name: "too long", in: recording{bytes: line(maxLine + 1)}, err: filter.ErrDenied, count: "read_error"},
		{name: "too long, in pieces", in: recording{bytes: line(maxLine + 1), step: 1000}, err: filter.ErrDenied, count: "read_error"},
		{name: "all that a pipe holds", in: recording{bytes: "GET /", end: io.ErrShortBuffer}, err: filter.ErrDenied, count: "read_error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			counts := teststats.New()
			f, err := factory{}.NewListenerFilter(&filter.Env{Stats: counts})
			if err != nil {
				t.Fatal(err)
			}
			var info filter.Info
			info.More().Inspected.TransportProtocol = c.tls
			if err := f.Inspect(&info, &c.in); !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			want := map[string]int64{}
			if c.count != "" {
				want["http_inspector."+c.count] = 1
			}
			counts.Want(t, want)
			if got := info.Extra.Inspected.ApplicationProtocols; !slices.Equal(got, c.found) {
				t.Errorf("found %q, want %q", got, c.found)
			}
		})
	}
}
