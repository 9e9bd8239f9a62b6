package http1

import (
	"bytes"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
)

// endOfBlock looks for the empty line that ends a block of lines, in b from the start of
// a line on. It returns the place behind it, or 0 and where to go on when there is more.
func endOfBlock(b []byte, from int) (end, next int, err *refusal) {
	for {
		n := bytes.IndexByte(b[from:], '\n')
		switch {
		case n < 0:
			return 0, from, nil
		case n == 0 || b[from+n-1] != '\r':
			return 0, from, errBareLF
		case n == 1:
			return from + 2, 0, nil
		}
		from += n + 1
	}
}

// A span is where a header line's name and value are.
type span struct{ name, colon, value, end int }

// A block is the parser of header lines. Its fields are reused.
type block struct {
	spans []span
}

// scan finds the lines of b from a place on, up to the empty one at its end, and checks
// them.
func (k *block) scan(b []byte, from int, r *rules) *refusal {
	k.spans = k.spans[:0]
	for at := from; ; {
		if b[at] == '\r' {
			return emptyLine(b[at:])
		}
		if len(k.spans) == r.maxLines {
			return errTooMany
		}
		s := span{name: at}
		i := at
		for httptext.Lower[b[i]] != 0 {
			i++
		}
		if b[i] != ':' || i == at {
			return badName(b[at:], i == at)
		}
		s.colon = i
		end := i + 1 + bytes.IndexByte(b[i+1:], '\n')
		s.value, s.end = blanks(b, i+1, end-1)
		// The CR before the LF is endOfBlock's; one elsewhere is no value.
		if !httptext.Value(b[s.value:s.end]) {
			return errValue
		}
		k.spans = append(k.spans, s)
		at = end + 1
	}
}

// emptyLine takes the last line; a CR that does not end one is in the wrong place.
func emptyLine(b []byte) *refusal {
	if b[1] != '\n' {
		return errName
	}
	return nil
}

func badName(b []byte, atStart bool) *refusal {
	if atStart && (b[0] == ' ' || b[0] == '\t') {
		return errFold
	}
	return errName
}

// blanks returns what is left of b[from:to] without the blanks around it.
func blanks(b []byte, from, to int) (int, int) {
	for from < to && (b[from] == ' ' || b[from] == '\t') {
		from++
	}
	for to > from && (b[to-1] == ' ' || b[to-1] == '\t') {
		to--
	}
	return from, to
}

// spareFields is room for what filters add to a header.
const spareFields = 16

// fields makes the lines that scan found in b a header, in the storage of h. s and wire
// are what text made of b.
func (k *block) fields(h httpmsg.Header, s, wire string) httpmsg.Header {
	h = slices.Grow(h[:0], len(k.spans)+spareFields)[:len(k.spans)]
	for i, p := range k.spans {
		f := &h[i] // in place: to copy one that was just made waits until its parts are in memory
		f.Name, f.Value, f.Wire = s[p.name:p.colon], s[p.value:p.end], ""
		if wire != "" {
			f.Wire = wire[p.name:p.colon]
		}
	}
	return h
}

// lowerNames makes the names in b lower case.
func (k *block) lowerNames(b []byte) {
	for _, p := range k.spans {
		name := b[p.name:p.colon]
		for i, c := range name {
			name[i] = httptext.Lower[c]
		}
	}
}

// text turns b, in which scan found lines, into strings: s with the names in lower case,
// which they become in b, too; wire as it came, "" where nobody asks.
func (k *block) text(b []byte, r *rules) (s, wire string) {
	if r.preserve {
		wire = string(b)
	}
	k.lowerNames(b)
	return string(b), wire
}

// dropUnderscored obeys headers_with_underscores_action.
func dropUnderscored(h httpmsg.Header, r *rules) (httpmsg.Header, *refusal) {
	kept := h[:0]
	for _, f := range h {
		if strings.IndexByte(f.Name, '_') < 0 {
			kept = append(kept, f)
			continue
		}
		if r.underscores == RejectRequest {
			return h, errUnderscore
		}
		if r.dropped != nil {
			r.dropped()
		}
	}
	return kept, nil
}
