package http2

import (
	"hash/maphash"
	"slices"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// An encoder writes the header blocks of one direction of a connection. A field comes
// into its table when it is seen a second time: what differs from message to message
// never does, and costs nothing but its bytes.
type encoder struct {
	table   table
	huffman bool
	cap     uint32 // of the table, by this side's configuration
	target  uint32 // the size that the table shall have
	lowest  uint32 // the smallest that was asked for and the peer not told of
	plain   int    // names and values of the block so far
	index   *encoderIndex
}

// An encoderIndex finds entries of a table by hash. A place that several hashes share
// holds the last one: of the others a pair is looked for in the whole table before it
// would come into it once more, and a name is sent as a literal, which is as good.
type encoderIndex struct {
	pairs [128]place    // by name and value
	names [64]place     // by name
	seen  [32][4]uint32 // by name and value: those that came last, the latest first
}

// A place holds the number of an entry, plus one.
type place struct{ n uint64 }

var hashSeed = maphash.MakeSeed()

func newEncoder(tableSize uint32, huffman bool) *encoder {
	// The peer's table has the initial size until its SETTINGS have come.
	e := &encoder{cap: tableSize, huffman: huffman, table: table{max: initialTableSize}}
	e.target, e.lowest = initialTableSize, initialTableSize
	e.resize(initialTableSize)
	return e
}

// resize obeys the peer's SETTINGS_HEADER_TABLE_SIZE.
func (e *encoder) resize(size uint32) {
	e.target = min(size, e.cap)
	e.lowest = min(e.lowest, e.target)
}

// begin begins a block, with an update of the table's size if it has one. Where the size
// went down and up again two are due; the second waits for the next block, since x/net's
// decoder refuses two in one.
func (e *encoder) begin(p []byte) []byte {
	e.plain = 0
	size := e.target
	if e.lowest < e.table.max {
		size = e.lowest
	}
	e.lowest = e.target
	if size == e.table.max {
		return p
	}
	e.table.resize(size)
	return appendInteger(p, 0x20, 5, uint64(size))
}

// field appends a field of a block.
func (e *encoder) field(p []byte, name, value string) []byte {
	e.plain += len(name) + len(value)
	if secret(name) {
		return e.literal(p, 0x10, 4, staticNames[name], name, value)
	}
	if e.index == nil {
		e.index = new(encoderIndex)
	}
	nameHash := maphash.String(hashSeed, name)
	hash := nameHash*0x9e3779b97f4a7c15 ^ maphash.String(hashSeed, value)
	if f, n := e.lookup(e.index.pairs[hash%128]); f != nil && f.name == name && f.value == value {
		return appendInteger(p, 0x80, 7, e.table.index(n))
	}
	known := staticNames[name]
	for i := known; i > 0 && i <= uint64(len(static)) && static[i-1].name == name; i++ {
		if value != "" && static[i-1].value == value {
			return appendInteger(p, 0x80, 7, i)
		}
	}
	if known == 0 {
		if f, n := e.lookup(e.index.names[nameHash%64]); f != nil && f.name == name {
			known = e.table.index(n)
		}
	}
	if !e.admit(hash) {
		return e.literal(p, 0, 4, known, name, value)
	}
	if n, ok := e.table.find(name, value); ok {
		e.index.pairs[hash%128] = place{n + 1}
		return appendInteger(p, 0x80, 7, e.table.index(n))
	}
	p = e.literal(p, 0x40, 6, known, name, value)
	e.add(name, value, nameHash, hash)
	return p
}

func (e *encoder) lookup(at place) (f *field, n uint64) {
	n = at.n - 1
	if at.n == 0 || n < e.table.first {
		return nil, 0
	}
	return e.table.entry(n), n
}

// admit reports whether a field has been seen before, lately.
func (e *encoder) admit(hash uint64) bool {
	seen := &e.index.seen[(hash>>8)%32]
	tag := uint32(hash>>32) | 1
	if slices.Contains(seen[:], tag) {
		return true
	}
	copy(seen[1:], seen[:])
	seen[0] = tag
	return false
}

func (e *encoder) add(name, value string, nameHash, hash uint64) {
	// The strings given are often a small part of something large.
	if e.table.add(field{name: strings.Clone(name), value: strings.Clone(value)}) {
		e.index.pairs[hash%128] = place{e.table.next}
		e.index.names[nameHash%64] = place{e.table.next}
	}
}

// literal appends a field with its value, and its name if no index of it is known.
func (e *encoder) literal(p []byte, bits byte, prefix uint, known uint64, name, value string) []byte {
	p = appendInteger(p, bits, prefix, known)
	if known == 0 {
		p = e.string(p, name)
	}
	return e.string(p, value)
}

func (e *encoder) string(p []byte, s string) []byte {
	if e.huffman {
		if n := hpack.HuffmanEncodeLength(s); n < uint64(len(s)) {
			return hpack.AppendHuffmanString(appendInteger(p, 0x80, 7, n), s)
		}
	}
	return append(appendInteger(p, 0, 7, uint64(len(s))), s...)
}

// secret names never come into a table: who can have other requests sent over the same
// connection could guess their values by the length of what is sent.
func secret(name string) bool {
	switch name {
	case "authorization", "proxy-authorization", "cookie", "set-cookie":
		return true
	}
	return false
}

// appendInteger is the reverse of integer; bits stand before the prefix.
func appendInteger(p []byte, bits byte, n uint, v uint64) []byte {
	mask := uint64(1)<<n - 1
	if v < mask {
		return append(p, bits|byte(v))
	}
	p = append(p, bits|byte(mask))
	for v -= mask; v >= 0x80; v >>= 7 {
		p = append(p, byte(v)|0x80)
	}
	return append(p, byte(v))
}
