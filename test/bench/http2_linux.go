package main

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	frameHead  = 9
	endStream  = 1
	h2Window   = 1 << 30 // of the connection: asked for once, and again when half is used
	h2Settings = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x3f\xff\xff\xff"
)

// A session is one HTTP/2 connection of the load generator: requests without a body, the
// next on each of its places when an answer is whole.
type session struct {
	request []byte // the header block
	next    uint32 // stream
	in      []byte // the beginning of a frame that has not come whole
	skip    int    // bytes left of a frame that does not matter
	ends    bool   // the stream, with the frame of which skip is left
	used    int    // of the connection's window
}

func newSession(size int) *session {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	e.SetMaxDynamicTableSizeLimit(0) // every request is the same bytes
	for _, f := range [][2]string{
		{":method", "GET"}, {":scheme", "http"}, {":authority", "bench.example"}, {":path", httpPath(size)},
		{"user-agent", "bench/1"}, {"accept", "*/*"},
	} {
		e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return &session{request: block.Bytes(), next: 1}
}

// hello is what the connection begins with, and n requests.
func (s *session) hello(n int) []byte {
	out := append([]byte(http2.ClientPreface), h2Settings...)
	out = s.window(out, h2Window)
	return s.ask(out, n)
}

// ask appends n requests.
func (s *session) ask(out []byte, n int) []byte {
	for range n {
		out = frame(out, len(s.request), 1 /* HEADERS */, endStream|4 /* END_HEADERS */, s.next)
		out = append(out, s.request...)
		s.next += 2
	}
	return out
}

func (s *session) window(out []byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(frame(out, 4, 8 /* WINDOW_UPDATE */, 0, 0), n)
}

func frame(out []byte, size int, kind, flags byte, stream uint32) []byte {
	out = append(out, byte(size>>16), byte(size>>8), byte(size), kind, flags)
	return binary.BigEndian.AppendUint32(out, stream)
}

// take reads p. It returns how many responses ended, and appends to out what the
// connection itself has to say.
func (s *session) take(p, out []byte) (ended int, _ []byte, err error) {
	for len(p) > 0 || s.skip > 0 {
		if s.skip > 0 {
			n := min(s.skip, len(p))
			p, s.skip = p[n:], s.skip-n
			if s.skip > 0 {
				return ended, out, nil
			}
			if s.ends {
				ended++
			}
			continue
		}
		if need := frameHead - len(s.in); need > 0 {
			n := min(need, len(p))
			s.in, p = append(s.in, p[:n]...), p[n:]
			if n < need {
				return ended, out, nil
			}
		}
		size := int(s.in[0])<<16 | int(s.in[1])<<8 | int(s.in[2])
		kind, flags := s.in[3], s.in[4]
		s.in = s.in[:0]
		s.ends = kind <= 1 && flags&endStream != 0
		s.skip = size
		if size == 0 && s.ends {
			ended++
		}
		if out, err = s.control(kind, flags, size, out); err != nil {
			return ended, out, err
		}
	}
	return ended, out, nil
}

// control answers frames that want an answer.
func (s *session) control(kind, flags byte, size int, out []byte) ([]byte, error) {
	switch kind {
	case 0: // DATA
		if s.used += size; s.used > h2Window/2 {
			out = s.window(out, uint32(s.used))
			s.used = 0
		}
	case 3, 7: // RST_STREAM, GOAWAY
		return out, fmt.Errorf("the proxy sent a frame of type %d", kind)
	case 4: // SETTINGS
		if flags&1 == 0 {
			out = frame(out, 0, 4, 1, 0)
		}
	}
	return out, nil
}
