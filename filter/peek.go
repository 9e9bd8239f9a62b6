package filter

import (
	"errors"
	"time"
)

// errCannotPeek is for streams of other makes than ours.
var errCannotPeek = errors.New("filter: this stream cannot be looked into")

// PeekUntil waits for n bytes of a stream and returns them without consuming any: at
// least n, or fewer with the error that Read would give after them, or
// os.ErrDeadlineExceeded at the deadline (zero: none). The stream is left without a
// read deadline.
func PeekUntil(s Stream, n int, deadline time.Time) ([]byte, error) {
	return PeekInto(s, nil, n, deadline)
}

// PeekInto is PeekUntil into buf, which is replaced where it has no room for n bytes.
// io.ErrShortBuffer: s itself has no room for more than what is returned.
func PeekInto(s Stream, buf []byte, n int, deadline time.Time) ([]byte, error) {
	p, ok := s.(interface {
		Peek(p []byte, seen int) (n int, err error)
	})
	if !ok {
		return nil, errCannotPeek
	}
	if !deadline.IsZero() {
		if err := s.SetReadDeadline(deadline); err != nil {
			return nil, err
		}
		defer s.SetReadDeadline(time.Time{})
	}
	n = max(n, 1)
	if cap(buf) < n {
		buf = make([]byte, max(n, 2*cap(buf), 512))
	}
	got, err := p.Peek(buf[:cap(buf)], n-1)
	if got >= n {
		err = nil
	}
	return buf[:got], err
}
