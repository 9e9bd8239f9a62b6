package http2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// A recorder is a sink that keeps what it gets.
type recorder []string

func (r *recorder) field(f *field) { *r = append(*r, f.name+": "+f.value) }

func TestStaticTable(t *testing.T) {
	d := hpack.NewDecoder(0, nil)
	for i := range static {
		fields, err := d.DecodeFull([]byte{0x80 | byte(i+1)})
		if err != nil || fields[0].Name != static[i].name || fields[0].Value != static[i].value {
			t.Errorf("index %d is %q: %q, not %v", i+1, static[i].name, static[i].value, fields)
		}
	}
}

func TestHuffman(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, s := range []string{"", "a", "www.example.com", "302", string(all), strings.Repeat("\x00\xff", 50)} {
		var b strings.Builder
		if err := decodeHuffman(&b, hpack.AppendHuffmanString(nil, s)); err != nil || b.String() != s {
			t.Errorf("%q became %q: %v", s, b.String(), err)
		}
	}
	for _, bad := range []string{"\xff", "\xff\xff\xff\xff", "\x00", "\x1f\xff", "\x1e"} {
		var b strings.Builder
		if err := decodeHuffman(&b, []byte(bad)); err == nil {
			t.Errorf("%x became %q", bad, b.String())
		}
	}
}

// randomFields draw from few names and values, so that tables have work to do.
func randomFields(r *rand.Rand) (fields []hpack.HeaderField) {
	names := []string{":status", "content-type", "x-a", "x-b", "x-something-long", "cookie", "date"}
	for range r.IntN(12) {
		value := fmt.Sprint(r.IntN(10))
		if r.IntN(8) == 0 {
			value = strings.Repeat("v", r.IntN(3000))
		}
		fields = append(fields, hpack.HeaderField{Name: names[r.IntN(len(names))], Value: value})
	}
	return fields
}

func text1(fields []hpack.HeaderField) (all []string) {
	for _, f := range fields {
		all = append(all, f.Name+": "+f.Value)
	}
	return all
}

// TestDecoder decodes what x/net's encoder makes, in fragments of any size, with tables
// that change theirs.
func TestDecoder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	d := newDecoder(4096, 64<<10)
	for range 5000 {
		if r.IntN(50) == 0 {
			enc.SetMaxDynamicTableSize(uint32(r.IntN(4097)))
		}
		fields := randomFields(r)
		buf.Reset()
		for _, f := range fields {
			_ = enc.WriteField(f)
		}
		var got recorder
		for p := buf.Bytes(); len(p) > 0; {
			n := 1 + r.IntN(len(p))
			if err := d.decode(p[:n], &got); err != nil {
				t.Fatal(err)
			}
			p = p[n:]
		}
		if err := d.end(); err != nil {
			t.Fatal(err)
		}
		if want := text1(fields); !slices.Equal(got, want) {
			t.Fatalf("%q, not %q", got, want)
		}
	}
}

// TestEncoder has x/net's decoder read what ours makes.
func TestEncoder(t *testing.T) {
	for _, huffman := range []bool{false, true} {
		r := rand.New(rand.NewPCG(3, 4))
		e := newEncoder(4096, huffman)
		d := hpack.NewDecoder(4096, nil)
		for range 5000 {
			if r.IntN(50) == 0 {
				e.resize(uint32(r.IntN(5000)))
				if r.IntN(2) == 0 {
					e.resize(uint32(r.IntN(5000)))
				}
			}
			fields := randomFields(r)
			p := e.begin(nil)
			for _, f := range fields {
				p = e.field(p, f.Name, f.Value)
			}
			got, err := d.DecodeFull(p)
			if err != nil || !slices.Equal(text1(got), text1(fields)) {
				t.Fatalf("%v, not %v: %v", got, fields, err)
			}
		}
	}
}

// TestEncoderKeepsSecrets: what others could guess never comes into the table.
func TestEncoderKeepsSecrets(t *testing.T) {
	e := newEncoder(4096, false)
	for range 3 {
		for _, name := range []string{"authorization", "proxy-authorization", "cookie", "set-cookie"} {
			p := e.field(nil, name, "s3cret")
			if p[0]&0xf0 != 0x10 || !bytes.Contains(p, []byte("s3cret")) {
				t.Errorf("%s: %x is not a literal that is never indexed", name, p)
			}
		}
	}
}

// TestEncoderRepeats: what comes again is one byte from the third time on.
func TestEncoderRepeats(t *testing.T) {
	e := newEncoder(4096, false)
	var sizes []int
	for range 4 {
		sizes = append(sizes, len(e.field(nil, "x-name", "value")))
	}
	if sizes[2] != 1 || sizes[3] != 1 {
		t.Errorf("sizes are %v", sizes)
	}
}

// TestEncoderAddsOnce: fields whose hashes share a place come into the table all the same,
// and not anew with every block.
func TestEncoderAddsOnce(t *testing.T) {
	e := newEncoder(4096, false)
	var entries []uint64
	for range 6 {
		for i := range 40 {
			e.field(nil, "x-name", strconv.Itoa(i))
		}
		entries = append(entries, e.table.next)
	}
	if entries[1] < 30 || entries[5] > 40 || entries[5] != entries[4] {
		t.Errorf("the table got %v entries after each block", entries)
	}
}

// TestDecoderMemory: a table does not keep alive the blocks that its entries came in.
func TestDecoderMemory(t *testing.T) {
	d := newDecoder(4096, 64<<10)
	block := append([]byte{0x40, 1, 'a', 1, 'b'}, 0, 1, 'c')
	block = appendInteger(block, 0, 7, 50<<10)
	block = append(block, make([]byte, 50<<10)...)
	for range 100 {
		if err := d.decode(block, new(recorder)); err != nil {
			t.Fatal(err)
		}
		if cap := d.text.Cap(); cap > sharedText && d.table.entry(d.table.next-1).name != "a" {
			t.Fatal(cap)
		}
		if err := d.end(); err != nil {
			t.Fatal(err)
		}
	}
	if d.table.used > 4096 || len(d.table.ring) > 128 {
		t.Errorf("table of %d bytes, %d places", d.table.used, len(d.table.ring))
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte{0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff}, byte(3))
	f.Add([]byte{0x40, 1, 'a', 1, 'b', 0xbe, 0x3f, 0xe1, 0x1f}, byte(1))
	f.Fuzz(func(t *testing.T, p []byte, cut byte) {
		d := newDecoder(4096, 1<<10)
		oracle := hpack.NewDecoder(4096, nil)
		oracle.SetMaxStringLength(1 << 10)
		var got recorder
		err := error(nil)
		for rest := p; len(rest) > 0 && err == nil; {
			n := min(int(cut)+1, len(rest))
			err = d.decode(rest[:n], &got)
			rest = rest[n:]
		}
		if err == nil {
			err = d.end()
		}
		want, wantErr := oracle.DecodeFull(p)
		// x/net bounds decoded strings, not those on the wire, and takes an update of the
		// table's size inside a block while the table is empty: who is stricter may be.
		if err == nil && wantErr == nil && !slices.Equal(got, text1(want)) {
			t.Fatalf("%q, not %q", got, text1(want))
		}
		if d.table.used > 4096 {
			t.Fatalf("table of %d", d.table.used)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: "/api/v1/things/4711"},
		{Name: ":authority", Value: "things.example.com"}, {Name: "user-agent", Value: "curl/8.0"}, {Name: "accept", Value: "*/*"},
		{Name: "x-request-id", Value: "0d4f1c8e-2f7e-4c3c-9a2b-3f0f6a1d2c3b"}, {Name: "x-forwarded-proto", Value: "https"},
	}
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	enc.SetMaxDynamicTableSize(0) // literals all
	for _, f := range fields {
		_ = enc.WriteField(f)
	}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		d := newDecoder(4096, 64<<10)
		_ = d.decode(buf.Bytes(), discardSink{})
		_ = d.end()
		for b.Loop() {
			_ = d.decode(buf.Bytes()[1:], discardSink{})
			_ = d.end()
		}
	})
	b.Run("xnet", func(b *testing.B) {
		b.ReportAllocs()
		d := hpack.NewDecoder(4096, func(hpack.HeaderField) {})
		_, _ = d.Write(buf.Bytes())
		_ = d.Close()
		for b.Loop() {
			_, _ = d.Write(buf.Bytes()[1:])
			_ = d.Close()
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	lines := [][2]string{
		{":status", "200"}, {"content-type", "text/plain"}, {"content-length", "100"}, {"server", "envoy"},
		{"date", "Mon, 02 Jan 2006 15:04:05 GMT"}, {"x-envoy-upstream-service-time", "1"},
	}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		e := newEncoder(4096, false)
		var p []byte
		for b.Loop() {
			p = e.begin(p[:0])
			for _, l := range lines {
				p = e.field(p, l[0], l[1])
			}
		}
	})
	b.Run("xnet", func(b *testing.B) {
		b.ReportAllocs()
		var buf bytes.Buffer
		e := hpack.NewEncoder(&buf)
		for b.Loop() {
			buf.Reset()
			for _, l := range lines {
				_ = e.WriteField(hpack.HeaderField{Name: l[0], Value: l[1]})
			}
		}
	})
}

type discardSink struct{}

func (discardSink) field(*field) {}
