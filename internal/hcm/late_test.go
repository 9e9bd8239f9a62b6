package hcm

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestHeadTimeout: a head that does not end in time is answered, by the limit of heads or
// that of idle streams, whichever is shorter, in both protocols.
func TestHeadTimeout(t *testing.T) {
	for _, c := range []struct {
		name          string
		limits        limits
		after         time.Duration
		body, counter string
		flags         string
	}{
		{"the default", limits{streamIdle: 5 * time.Minute}, 5 * time.Minute, "stream timeout", "downstream_rq_idle_timeout", "SI"},
		{"heads", limits{streamIdle: 5 * time.Minute, requestHeaders: time.Second}, time.Second, "request header timeout", "downstream_rq_header_timeout", "-"},
		{"idle first", limits{streamIdle: time.Minute, requestHeaders: time.Hour}, time.Minute, "stream timeout", "downstream_rq_idle_timeout", "SI"},
	} {
		for name, ask := range map[string]func(*testing.T, io.ReadWriter) string{"HTTP/1": halfHead1, "HTTP/2": halfHead2} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cfg := &Config{Limits: c.limits}
					_, d := c.limits.head()
					cfg.Codecs.http1.RequestHeadersTimeout, cfg.Codecs.http2.RequestHeadersTimeout = d, d
					v := serve(t, cfg, echo)
					nc, begun := v.dial(), time.Now()
					if got := ask(t, nc); got != "408 "+c.body {
						t.Errorf("answered %q", got)
					}
					if took := time.Since(begun); took != c.after {
						t.Errorf("after %v", took)
					}
					nc.Close()
					v.end()
					if n := v.stats.value(c.counter); n != 1 {
						t.Errorf("%s is %d", c.counter, n)
					}
					if e := v.log.last(t); e.flags != c.flags {
						t.Errorf("log %+v", e)
					}
				})
			})
		}
	}
}

// halfHead1 sends a part of a head and returns the answer.
func halfHead1(t *testing.T, nc io.ReadWriter) string {
	_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nhost: a\r\n")
	got := make([]byte, 4<<10)
	n, err := nc.Read(got)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := bytes.Cut(got[:n], []byte("\r\n\r\n"))
	return string(head[len("HTTP/1.1 "):][:4]) + string(body)
}

func halfHead2(t *testing.T, nc io.ReadWriter) (got string) {
	fr := http2.NewFramer(nc, nc)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, _ = io.WriteString(nc, http2.ClientPreface)
	_ = fr.WriteSettings()
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82, 0x86}, EndStream: true})
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			got = f.PseudoValue("status") + " "
		case *http2.DataFrame:
			got += string(f.Data())
		case *http2.RSTStreamFrame:
			if f.ErrCode != http2.ErrCodeNo {
				t.Errorf("reset with %v", f.ErrCode)
			}
			return got
		}
	}
}
