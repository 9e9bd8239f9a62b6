package http2

import (
	"errors"

	"github.com/ginnel/ginnel/httpmsg"
)

// What formats and filters make of metadata can be anything. A peer that is sent a field
// with a line end in it ends the connection, and the streams of others with it, or passes
// it on in HTTP/1 as two. So such a head is not sent.

var errCharacter = errors.New("http2: a head with control characters in it")

// refuse resets a stream whose head cannot be sent.
func (s *stream) refuse() error {
	why := &httpmsg.ResetError{Reason: httpmsg.LocalReset, Err: errCharacter}
	s.Reset(why)
	return why
}

func wellFormed(r *httpmsg.Request) bool {
	return plainValue(r.Method) && plainValue(r.Scheme) && plainValue(r.Upgrade) &&
		plainValue(r.Authority) && visible(r.Authority) && plainValue(r.Path) && visible(r.Path) &&
		plainValues(r.Header)
}

func plainValues(h httpmsg.Header) bool {
	for i := range h {
		if !plainValue(h[i].Value) {
			return false
		}
	}
	return true
}

// plainValue reports whether s has no control character but tabs. It looks at eight bytes
// at once, for every value that is sent passes here.
func plainValue(s string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		del := x ^ 0x7f*ones
		// A byte less than n borrows from its top bit; bytes behind one may, too.
		if (x-0x20*ones)&^x&tops|(del-ones)&^del&tops != 0 && !plainBytes(s[:8]) {
			return false
		}
	}
	return plainBytes(s)
}

func plainBytes(s string) bool {
	for i := range len(s) {
		if b := s[i]; b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}
