package grpcstats

import (
	"encoding/binary"
	"io"

	"github.com/ginnel/ginnel/httpmsg"
)

// messages counts gRPC messages in a stream of bytes, as they begin. The zero value is at
// the beginning of the stream.
type messages struct {
	count uint64
	head  [5]byte // of a message: flags, then its length
	have  int     // bytes of head
	rest  uint32  // of the message, after a whole head
}

// A frame with this flag is no message, but the end of a Connect stream.
const endOfStream = 2

func (m *messages) add(p []byte) {
	for len(p) > 0 {
		if m.rest > 0 {
			n := min(uint64(m.rest), uint64(len(p)))
			m.rest -= uint32(n)
			p = p[n:]
			continue
		}
		if m.have == 0 && p[0]&endOfStream == 0 {
			m.count++
		}
		n := copy(m.head[m.have:], p)
		m.have, p = m.have+n, p[n:]
		if m.have == len(m.head) {
			m.have, m.rest = 0, binary.BigEndian.Uint32(m.head[1:])
		}
	}
}

// A counted body has its messages counted.
type counted struct {
	httpmsg.Body
	to    *messages // nil: they are not
	ended func(trailer httpmsg.Header)
	done  bool
}

// Next implements httpmsg.Body.
func (b *counted) Next() ([]byte, error) {
	p, err := b.Body.Next()
	if b.to != nil {
		b.to.add(p)
	}
	if err == io.EOF && !b.done {
		b.done = true
		if b.ended != nil {
			b.ended(b.Body.Trailer())
		}
	}
	return p, err
}
