package http2

import (
	"errors"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
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
	return httptext.Value(r.Method) && httptext.Value(r.Scheme) && httptext.Value(r.Upgrade) &&
		httptext.Value(r.Authority) && visible(r.Authority) && httptext.Value(r.Path) && visible(r.Path) &&
		plainValues(r.Header)
}

func plainValues(h httpmsg.Header) bool {
	for i := range h {
		if !httptext.Value(h[i].Value) {
			return false
		}
	}
	return true
}
