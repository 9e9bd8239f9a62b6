package filter

import (
	"errors"
	"io"
	"time"
)

// errCannotPeek is for streams of other makes than ours.
var errCannotPeek = errors.New("filter: this stream cannot be looked into")

// PeekUntil waits for n bytes of a stream and returns them without consuming any: at
// least n, or fewer with the error that Read would give after them, or
// os.ErrDeadlineExceeded at the deadline (zero: none). The stream is left without a
// read deadline.
func PeekUntil(s Stream, n int, deadline time.Time) ([]byte, error) {
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
	buf := make([]byte, max(n, 512))
	for seen := 0; ; {
		got, err := p.Peek(buf, seen)
		if got >= n || err != nil && !errors.Is(err, io.ErrShortBuffer) {
			return buf[:got], err
		}
		seen = got
	}
}
