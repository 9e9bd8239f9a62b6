package http1

import (
	"bytes"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
)

// A chunkState is what comes next in a chunked body.
type chunkState uint8

const (
	chunkLine chunkState = iota
	chunkData
	chunkEnd // the CR LF behind the data
	chunkTrailer
)

const (
	// maxChunkLine limits the size, its extensions and the CR LF.
	maxChunkLine = 1 << 10
	// maxChunkDigits is what 64 bits need.
	maxChunkDigits = 16
	// maxWaste is how many bytes of framing a body may have that its data do not excuse:
	// else a peer could have work done for bytes that nobody is told of.
	maxWaste = 16 << 10
	// joinedBytes is how small pieces are that are joined.
	joinedBytes = 2 << 10
	// Each chunk may have so much framing, and as much again as twice its data.
	fairWaste = 16
)

// advanceChunks goes on until there is a piece, and as far behind it as the next data or
// the end, or there is nothing more to look at.
func (b *body) advanceChunks() {
	for more := true; more && b.state == inData; {
		switch b.lead {
		case chunkLine:
			more = b.chunkLine()
		case chunkData:
			if b.in.empty() || b.piece != nil && !b.joins() {
				return
			}
			b.takeChunk()
		case chunkEnd:
			more = b.chunkEnd()
		case chunkTrailer:
			more = b.trailers()
		}
	}
}

// joins reports whether the data that come next are rather copied behind the piece there
// is than passed on as one of their own: many small chunks that are there cost as little
// as one.
func (b *body) joins() bool {
	return len(b.piece) <= joinedBytes && min(b.left, int64(b.in.buffered())) <= joinedBytes
}

// takeChunk takes what there is of the chunk, behind the piece there is: both are in the
// input's buffer, and what was between them has been used.
func (b *body) takeChunk() {
	before := b.piece
	b.takeLeft()
	if before != nil {
		b.piece = append(before, b.piece...)
	}
	if b.left == 0 {
		b.lead = chunkEnd
	}
}

// chunkLine reads the line before a chunk; it reports whether it was there.
func (b *body) chunkLine() bool {
	p := b.in.unread()
	n := bytes.IndexByte(p[:min(len(p), maxChunkLine)], '\n')
	if n < 0 {
		if len(p) >= maxChunkLine || !chunkPrefix(p) {
			b.refuse(errChunk)
		}
		return false
	}
	size, ok := chunkSize(p[:n+1])
	if !ok {
		b.refuse(errChunk)
		return false
	}
	b.in.consume(n + 1)
	b.waste += int64(n+1) + 2 - fairWaste - 2*min(size, maxWaste)
	if b.waste = max(b.waste, 0); b.waste > maxWaste {
		b.refuse(errChunkOverhead)
		return false
	}
	b.left, b.lead = size, chunkData
	if size == 0 {
		b.lead = chunkTrailer
	}
	return true
}

// chunkPrefix reports whether p may begin a chunk, so that what cannot is not waited for.
func chunkPrefix(p []byte) bool { return len(p) == 0 || hexDigit(p[0]) >= 0 }

// chunkSize reads the line of a chunk: hexadecimal digits, and extensions.
func chunkSize(p []byte) (int64, bool) {
	if len(p) < 3 || p[len(p)-2] != '\r' {
		return 0, false
	}
	p = p[:len(p)-2]
	size, i := uint64(0), 0
	for i < len(p) && hexDigit(p[i]) >= 0 {
		size = size<<4 | uint64(hexDigit(p[i]))
		i++
	}
	if i == 0 || i > maxChunkDigits || size > 1<<63-1 {
		return 0, false
	}
	rest := p[i:]
	for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		rest = rest[1:]
	}
	return int64(size), len(rest) == 0 || rest[0] == ';' && httptext.Value(rest)
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// chunkEnd takes the CR LF behind a chunk; it reports whether it was there.
func (b *body) chunkEnd() bool {
	p := b.in.unread()
	switch {
	case len(p) >= 1 && p[0] != '\r' || len(p) >= 2 && p[1] != '\n':
		b.refuse(errChunk)
		return false
	case len(p) < 2:
		return false
	}
	b.in.consume(2)
	b.lead = chunkLine
	return true
}

// trailers reads the lines behind the last chunk; it reports whether they were there.
func (b *body) trailers() bool {
	p := b.in.unread()
	end, _, err := endOfBlock(p, 0)
	switch {
	case err != nil:
	case end == 0 && len(p) < b.rules.maxBytes:
		return false
	case end == 0 || end > b.rules.maxBytes:
		err = errTrailers
	default:
		err = b.block.scan(p[:end], 0, b.rules)
	}
	if err != nil {
		b.refuse(err)
		return false
	}
	if b.rules.trailers && len(b.block.spans) > 0 {
		b.keepTrailers(p[:end])
	}
	b.in.consume(end)
	b.finish()
	return true
}

// keepTrailers keeps the trailers that say nothing about messages or their way.
func (b *body) keepTrailers(p []byte) {
	s, wire := b.block.text(p, b.rules)
	all := b.block.fields(nil, s, wire)
	kept := all[:0]
	for _, f := range all {
		if !httpmsg.ForbiddenTrailer(f.Name) {
			kept = append(kept, f)
		}
	}
	if len(kept) > 0 {
		b.trailer = httpmsg.Header(kept)
	}
}
