package http2

// A field is a header field as HPACK carries it.
type field struct {
	name, value string
	class       class // of the field; 0: not looked at yet
}

// size is what a field takes of a table: RFC 7541 section 4.1.
func (f *field) size() uint32 { return uint32(len(f.name)+len(f.value)) + 32 }

// A table is the dynamic table of one direction: a ring, newest entry first. The zero
// value takes nothing.
type table struct {
	ring  []field // its length is a power of two
	first uint64  // number of the oldest entry; entries are numbered as they come
	next  uint64  // number of the next one
	used  uint32  // sum of sizes
	max   uint32
}

// entry returns an entry by its number.
func (t *table) entry(n uint64) *field { return &t.ring[n&uint64(len(t.ring)-1)] }

// at returns the entry that an index of HPACK names; nil if there is none. It is good
// until the next add.
func (t *table) at(index uint64) *field {
	if index <= uint64(len(static)) {
		return nil
	}
	back := index - uint64(len(static))
	if back > t.next-t.first {
		return nil
	}
	return t.entry(t.next - back)
}

// index is the reverse of at, for an entry that is there.
func (t *table) index(n uint64) uint64 { return uint64(len(static)) + t.next - n }

// find returns the number of the newest entry that is such a field. It looks at all of them.
func (t *table) find(name, value string) (n uint64, ok bool) {
	for n := t.next; n > t.first; n-- {
		if f := t.entry(n - 1); f.name == name && f.value == value {
			return n - 1, true
		}
	}
	return 0, false
}

// resize sets how much the table may hold.
func (t *table) resize(max uint32) {
	t.max = max
	t.evict(max)
}

// evict drops the oldest entries until no more than limit is used.
func (t *table) evict(limit uint32) {
	for t.used > limit {
		e := t.entry(t.first)
		t.used -= e.size()
		*e = field{}
		t.first++
	}
}

// add puts an entry in. One that is larger than the table empties it and is not kept.
func (t *table) add(f field) (kept bool) {
	size := f.size()
	if size > t.max {
		t.evict(0)
		return false
	}
	t.evict(t.max - size)
	if t.next-t.first == uint64(len(t.ring)) {
		t.grow()
	}
	*t.entry(t.next) = f
	t.next++
	t.used += size
	return true
}

func (t *table) grow() {
	ring := make([]field, max(16, 2*len(t.ring)))
	for n := t.first; n < t.next; n++ {
		ring[n&uint64(len(ring)-1)] = *t.entry(n)
	}
	t.ring = ring
}

// static is the static table of RFC 7541, appendix A; index 1 comes first. Nothing
// writes to it.
var static = classified([...]field{
	{name: ":authority"},
	{name: ":method", value: "GET"},
	{name: ":method", value: "POST"},
	{name: ":path", value: "/"},
	{name: ":path", value: "/index.html"},
	{name: ":scheme", value: "http"},
	{name: ":scheme", value: "https"},
	{name: ":status", value: "200"},
	{name: ":status", value: "204"},
	{name: ":status", value: "206"},
	{name: ":status", value: "304"},
	{name: ":status", value: "400"},
	{name: ":status", value: "404"},
	{name: ":status", value: "500"},
	{name: "accept-charset"},
	{name: "accept-encoding", value: "gzip, deflate"},
	{name: "accept-language"},
	{name: "accept-ranges"},
	{name: "accept"},
	{name: "access-control-allow-origin"},
	{name: "age"},
	{name: "allow"},
	{name: "authorization"},
	{name: "cache-control"},
	{name: "content-disposition"},
	{name: "content-encoding"},
	{name: "content-language"},
	{name: "content-length"},
	{name: "content-location"},
	{name: "content-range"},
	{name: "content-type"},
	{name: "cookie"},
	{name: "date"},
	{name: "etag"},
	{name: "expect"},
	{name: "expires"},
	{name: "from"},
	{name: "host"},
	{name: "if-match"},
	{name: "if-modified-since"},
	{name: "if-none-match"},
	{name: "if-range"},
	{name: "if-unmodified-since"},
	{name: "last-modified"},
	{name: "link"},
	{name: "location"},
	{name: "max-forwards"},
	{name: "proxy-authenticate"},
	{name: "proxy-authorization"},
	{name: "range"},
	{name: "referer"},
	{name: "refresh"},
	{name: "retry-after"},
	{name: "server"},
	{name: "set-cookie"},
	{name: "strict-transport-security"},
	{name: "transfer-encoding"},
	{name: "user-agent"},
	{name: "vary"},
	{name: "via"},
	{name: "www-authenticate"},
})

func classified(fields [61]field) [61]field {
	for i := range fields {
		fields[i].class = classify(fields[i].name, fields[i].value)
	}
	return fields
}

// staticNames is the lowest index of each name of the static table.
var staticNames = func() map[string]uint64 {
	m := make(map[string]uint64, len(static))
	for i := len(static) - 1; i >= 0; i-- {
		m[static[i].name] = uint64(i + 1)
	}
	return m
}()
