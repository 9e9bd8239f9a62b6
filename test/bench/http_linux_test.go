package main

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Every way of cutting a stream of responses counts the same.
func TestReplyCountsResponses(t *testing.T) {
	o := newOrigin()
	stream, err := o.answers(1, bytes.Repeat(httpRequest(100), 3))
	if err != nil || len(o.held) > 0 {
		t.Fatal(err, o.held)
	}
	for cut := 1; cut < len(stream); cut += 7 {
		var r reply
		total := 0
		for at := 0; at < len(stream); at += cut {
			n, err := r.take(stream[at:min(at+cut, len(stream))])
			if err != nil {
				t.Fatal(err)
			}
			total += n
		}
		if total != 3 {
			t.Fatalf("in pieces of %d: %d responses", cut, total)
		}
	}
	var r reply
	if _, err := r.take([]byte("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("an error counts as an answer: %v", err)
	}
}

func TestOriginKeepsTheBeginningOfARequest(t *testing.T) {
	o, request := newOrigin(), httpRequest(10)
	if out, err := o.answers(1, request[:20]); out != nil || err != nil {
		t.Fatalf("%q, %v", out, err)
	}
	out, err := o.answers(1, request[20:])
	if err != nil || !bytes.HasSuffix(out, []byte("\r\n\r\nxxxxxxxxxx")) {
		t.Errorf("%q, %v", out, err)
	}
}

// x/net's codec reads what a session writes, and the session counts what it answers.
func TestSession(t *testing.T) {
	s := newSession(100)
	var answer bytes.Buffer
	f := http2.NewFramer(&answer, bytes.NewReader(s.hello(2)[len(http2.ClientPreface):]))
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.WriteSettings()
	for range 2 {
		for {
			x, err := f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if h, ok := x.(*http2.MetaHeadersFrame); ok {
				if h.PseudoValue("path") != "/100" || !h.StreamEnded() {
					t.Errorf("asked for %v", h)
				}
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true})
				f.WriteData(h.StreamID, true, make([]byte, 100))
				break
			}
		}
	}
	for _, cut := range []int{1, 5, 1000} {
		s, total, said := newSession(100), 0, []byte(nil)
		for p := answer.Bytes(); len(p) > 0; p = p[min(cut, len(p)):] {
			var n int
			var err error
			if n, said, err = s.take(p[:min(cut, len(p))], said); err != nil {
				t.Fatal(err)
			}
			total += n
		}
		if total != 2 || !bytes.Equal(said, frame(nil, 0, 4, 1, 0)) {
			t.Errorf("in pieces of %d: %d responses, said %x", cut, total, said)
		}
	}
}
