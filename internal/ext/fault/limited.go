package fault

import (
	"io"
	"math"
	"time"

	"github.com/ginnel/ginnel/httpmsg"
)

// slicesPerSecond is how often in a second bytes are let through.
const slicesPerSecond = 20

// A limited body gives a second's worth of bytes at once and then what time allows, in
// slices of a twentieth of a second.
type limited struct {
	httpmsg.Body
	perSlice int // bytes, at least 1
	tokens   int // slices that may be given now
	filled   time.Time
	piece    []byte // not given yet
	err      error  // that came with piece, or after it
}

func newLimited(b httpmsg.Body, kbps uint64) *limited {
	perSlice := min(kbps, math.MaxInt32) * 1024 / slicesPerSecond
	return &limited{Body: b, perSlice: int(max(perSlice, 1)), tokens: slicesPerSecond, filled: time.Now()}
}

const slice = time.Second / slicesPerSecond

// fill adds the slices that time has brought.
func (l *limited) fill() {
	n := time.Since(l.filled) / slice
	if n > 0 {
		l.filled = l.filled.Add(n * slice)
		l.tokens = int(min(int64(l.tokens)+int64(n), slicesPerSecond))
	}
}

// Next implements httpmsg.Body. It sleeps for at most a slice of time, so that a client
// that has gone away is noticed by whoever writes to it.
func (l *limited) Next() ([]byte, error) {
	if len(l.piece) == 0 && l.err == nil {
		l.piece, l.err = l.Body.Next()
	}
	if len(l.piece) == 0 {
		return nil, l.err
	}
	if l.fill(); l.tokens == 0 {
		<-time.After(time.Until(l.filled.Add(slice)))
		l.fill()
	}
	n := min(len(l.piece), max(l.tokens, 1)*l.perSlice)
	l.tokens = max(l.tokens-(n+l.perSlice-1)/l.perSlice, 0)
	p := l.piece[:n]
	if l.piece = l.piece[n:]; len(l.piece) == 0 && l.err == io.EOF {
		return p, io.EOF
	}
	return p, nil
}

// Ready implements httpmsg.Body.
func (l *limited) Ready() bool {
	if len(l.piece) == 0 {
		return l.err != nil || l.Body.Ready() && l.tokens > 0
	}
	l.fill()
	return l.tokens > 0
}
