package tlsinspector

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
	"github.com/ginnel/ginnel/internal/stats/teststats"
)

// A recording is a connection whose bytes are there from the start.
type recording struct {
	bytes string
	end   error
	asked int // the most bytes that were waited for
}

func (r *recording) Peek(n int) ([]byte, error) {
	r.asked = max(r.asked, n)
	if n <= len(r.bytes) {
		return []byte(r.bytes), nil
	}
	return []byte(r.bytes), r.end
}

func (*recording) Discard(int) error     { panic("nothing may be consumed") }
func (*recording) Stream() filter.Stream { return nil }

// hello is a ClientHello of n bytes with the name A.Example, in one record.
func hello(n int) string {
	const name = "\x00\x00\x00\x0e\x00\x0c\x00\x00\x09A.Example"
	pad := n - 4 - 2 - 32 - 1 - 4 - 2 - 2 - len(name) - 4
	u16 := func(v int) string { return string([]byte{byte(v >> 8), byte(v)}) }
	body := "\x03\x03" + strings.Repeat("R", 32) + "\x00" + "\x00\x02\x13\x01" + "\x01\x00" +
		u16(len(name)+4+pad) + name + "\x00\x15" + u16(pad) + strings.Repeat("\x00", pad)
	return "\x16\x03\x01" + u16(n) + "\x01\x00" + u16(len(body)) + body
}

func TestInspect(t *testing.T) {
	for _, c := range []struct {
		name   string
		f      factory
		in     recording
		err    error
		counts string // those that moved
		reason string // metadata
	}{
		{name: "hello", in: recording{bytes: hello(200)}, counts: "tls_found sni_found alpn_not_found"},
		{name: "hello and an end", in: recording{bytes: hello(200), end: io.EOF}, counts: "tls_found sni_found alpn_not_found"},
		{name: "text", in: recording{bytes: "hello"}, counts: "tls_not_found", reason: "ClientHelloNotDetected"},
		{name: "text, strict", f: factory{strict: true}, in: recording{bytes: "hello"}, err: filter.ErrDenied, counts: "tls_not_found", reason: "ClientHelloNotDetected"},
		{name: "few bytes and an end", in: recording{bytes: "abc", end: io.EOF}, counts: "tls_not_found", reason: "ClientHelloNotDetected"},
		{name: "few bytes of TLS and an end", in: recording{bytes: "\x16\x03", end: io.EOF}, err: io.EOF},
		{name: "nothing and an end", in: recording{end: io.EOF}, err: io.EOF},
		{name: "half and an end", in: recording{bytes: hello(200)[:99], end: io.EOF}, err: io.EOF},
		{name: "half and a reset", in: recording{bytes: hello(200)[:99], end: syscall.ECONNRESET}, err: syscall.ECONNRESET},
		{name: "few bytes and no time", in: recording{bytes: "abc", end: os.ErrDeadlineExceeded}, err: os.ErrDeadlineExceeded},
		{name: "whole within the limit", f: factory{max: 300}, in: recording{bytes: hello(295)}, counts: "tls_found sni_found alpn_not_found"},
		{name: "beyond the limit", f: factory{max: 300}, in: recording{bytes: hello(296)}, err: filter.ErrDenied, counts: "client_hello_too_large", reason: "ClientHelloTooLarge"},
		{name: "long text", f: factory{max: 300}, in: recording{bytes: strings.Repeat("a", 400)}, counts: "tls_not_found", reason: "ClientHelloNotDetected"},
		{name: "all that a pipe holds", in: recording{bytes: hello(200)[:99], end: io.ErrShortBuffer}, err: filter.ErrDenied, counts: "client_hello_too_large", reason: "ClientHelloTooLarge"},
		{name: "close_notify", in: recording{bytes: "\x15\x03\x01\x00\x02\x01\x00"}, err: filter.ErrDenied},
		{name: "SSL 3", in: recording{bytes: strings.Replace(hello(200), "\x03\x03R", "\x03\x00R", 1)}, err: filter.ErrDenied, counts: "tls_not_found sni_found", reason: "ClientHelloInvalidTlsVersion"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.f.max == 0 {
				c.f.max = defaultMaxHello
			}
			counts := teststats.New()
			f, err := c.f.NewListenerFilter(&filter.Env{Stats: counts})
			if err != nil {
				t.Fatal(err)
			}
			var info filter.Info
			if err := f.Inspect(&info, &c.in); !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if c.in.asked > c.f.max {
				t.Errorf("waited for %d bytes", c.in.asked)
			}
			want := map[string]int64{}
			for _, name := range strings.Fields(c.counts) {
				want["tls_inspector."+name] = 1
			}
			if c.err == nil || c.err == filter.ErrDenied {
				want["tls_inspector.bytes_processed"] = 1
			}
			counts.Want(t, want)
			if got := state.Walk(info.Metadata[Namespace], []string{"failure_reason"}).GetStringValue(); got != c.reason {
				t.Errorf("failure_reason %q, want %q", got, c.reason)
			}
			found := info.Rest().Inspected
			if tls := c.err == nil && c.reason == ""; (found.TransportProtocol == "tls") != tls || tls && found.ServerName != "a.example" {
				t.Errorf("found %+v", found)
			}
		})
	}
}
