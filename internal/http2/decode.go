package http2

import (
	"errors"
	"strings"
)

// A sink takes the fields of a header block, in order. A field is valid during the call,
// its strings for ever; class may be filled in and is remembered for fields that came
// from a table.
type sink interface{ field(f *field) }

// A decoder reads the header blocks of one direction of a connection. Strings of a block
// share memory; those that are in its table for long do not keep a large block alive.
type decoder struct {
	table     table
	limit     uint32 // of the table, as this side's SETTINGS allow, or what there is before them
	maxString int    // of a string on the wire
	begun     bool   // a field of this block has come: the table changes its size no more
	rest      []byte // a representation of which not all has come
	text      strings.Builder
	scratch   field
}

// Errors of a decoder end the connection: the tables of both sides differ from then on.
var (
	errNeedMore   = errors.New("more is needed")
	errHuffman    = errors.New("bad Huffman code")
	errIndex      = errors.New("no such index")
	errInteger    = errors.New("integer too large")
	errTableSize  = errors.New("bad update of the table size")
	errStringSize = errors.New("string too long")
	errTruncated  = errors.New("truncated header block")
)

// sharedText is how long the text of a block may be that a table's entry may keep alive.
const sharedText = 1024

func newDecoder(tableSize uint32, maxString int) *decoder {
	// A peer uses a table of the initial size until it has seen SETTINGS that allow less.
	size := max(tableSize, initialTableSize)
	return &decoder{limit: size, table: table{max: size}, maxString: maxString}
}

// decode reads a fragment of a block.
func (d *decoder) decode(p []byte, to sink) error {
	if len(d.rest) > 0 {
		d.rest = append(d.rest, p...)
		p = d.rest
	}
	for len(p) > 0 {
		after, err := d.representation(p, to)
		if err == errNeedMore {
			return d.keep(p)
		}
		if err != nil {
			return err
		}
		p = after
	}
	d.rest = d.rest[:0]
	return nil
}

// keep holds back a representation that is not complete. It cannot grow without bound:
// its strings have their limit, and what precedes them is a few bytes.
func (d *decoder) keep(p []byte) error {
	if len(p) > 2*d.maxString+32 {
		return errStringSize
	}
	d.rest = append(d.rest[:0], p...) // p may be a part of rest, further back
	return nil
}

// end finishes a block.
func (d *decoder) end() error {
	d.begun, d.text = false, strings.Builder{}
	if len(d.rest) > 0 {
		return errTruncated
	}
	if cap(d.rest) > 4096 {
		d.rest = nil
	}
	return nil
}

// representation reads one field, or an update of the table's size: RFC 7541 section 6.
func (d *decoder) representation(p []byte, to sink) (rest []byte, err error) {
	switch b := p[0]; {
	case b&0x80 != 0:
		return d.indexed(p, to)
	case b&0xc0 == 0x40:
		return d.literal(p, 6, true, to)
	case b&0xe0 == 0x20:
		return d.tableSize(p)
	default: // without indexing, or never indexed
		return d.literal(p, 4, false, to)
	}
}

func (d *decoder) indexed(p []byte, to sink) (rest []byte, err error) {
	index, rest, err := integer(p, 7)
	if err != nil {
		return nil, err
	}
	f := d.at(index)
	if f == nil {
		return nil, errIndex
	}
	d.begun = true
	to.field(f)
	return rest, nil
}

// at returns the field of an index; nil if there is none.
func (d *decoder) at(index uint64) *field {
	if index > 0 && index <= uint64(len(static)) {
		d.scratch = static[index-1]
		return &d.scratch
	}
	return d.table.at(index)
}

func (d *decoder) literal(p []byte, prefix uint, keep bool, to sink) (rest []byte, err error) {
	index, rest, err := integer(p, prefix)
	if err != nil {
		return nil, err
	}
	var name, value text
	f := field{}
	if index > 0 {
		known := d.at(index)
		if known == nil {
			return nil, errIndex
		}
		f.name = known.name
	} else if name, rest, err = d.string(rest); err != nil {
		return nil, err
	}
	if value, rest, err = d.string(rest); err != nil {
		return nil, err
	}
	if index == 0 {
		if f.name, err = d.decodeText(name, len(value.p)+len(rest)); err != nil {
			return nil, err
		}
	}
	if f.value, err = d.decodeText(value, len(rest)); err != nil {
		return nil, err
	}
	d.begun = true
	d.scratch = f
	to.field(&d.scratch)
	if keep {
		d.keepField()
	}
	return rest, nil
}

// keepField puts the field in scratch into the table.
func (d *decoder) keepField() {
	f := d.scratch
	if f.size() <= d.table.max && d.text.Cap() > sharedText {
		f.name, f.value = strings.Clone(f.name), strings.Clone(f.value)
	}
	d.table.add(f)
}

func (d *decoder) tableSize(p []byte) (rest []byte, err error) {
	size, rest, err := integer(p, 5)
	if err != nil {
		return nil, err
	}
	if d.begun || size > uint64(d.limit) {
		return nil, errTableSize
	}
	d.table.resize(uint32(size))
	return rest, nil
}

// A text is a string as it came.
type text struct {
	p       []byte
	huffman bool
}

func (d *decoder) string(p []byte) (t text, rest []byte, err error) {
	if len(p) == 0 {
		return t, nil, errNeedMore
	}
	t.huffman = p[0]&0x80 != 0
	n, rest, err := integer(p, 7)
	switch {
	case err != nil:
		return t, nil, err
	case n > uint64(d.maxString):
		return t, nil, errStringSize
	case n > uint64(len(rest)):
		return t, nil, errNeedMore
	}
	t.p = rest[:n]
	return t, rest[n:], nil
}

// decodeText decodes a string into the text of the block, of which up to more bytes
// may follow.
func (d *decoder) decodeText(t text, more int) (string, error) {
	if len(t.p) == 0 {
		return "", nil
	}
	start := d.text.Len()
	if room := d.text.Cap() - start; room < len(t.p)*8/5+1 {
		// Earlier strings keep the memory that they are in.
		d.text = strings.Builder{}
		d.text.Grow((len(t.p)+min(more, 2*sharedText))*8/5 + 1)
		start = 0
	}
	if !t.huffman {
		d.text.Write(t.p)
	} else if err := decodeHuffman(&d.text, t.p); err != nil {
		return "", err
	}
	return d.text.String()[start:], nil
}

// integer reads an integer with a prefix of n bits: RFC 7541 section 5.1.
func integer(p []byte, n uint) (v uint64, rest []byte, err error) {
	if len(p) == 0 {
		return 0, nil, errNeedMore
	}
	mask := byte(1)<<n - 1
	if b := p[0] & mask; b < mask {
		return uint64(b), p[1:], nil
	}
	v = uint64(mask)
	for i, b := range p[1:] {
		if i == 5 { // 35 bits are more than anything here may be
			return 0, nil, errInteger
		}
		v += uint64(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			return v, p[i+2:], nil
		}
	}
	if len(p) > 5 {
		return 0, nil, errInteger
	}
	return 0, nil, errNeedMore
}
