package proxyproto_test

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/internal/proxyproto"
)

func v4(tlvs ...proxyproto.TLV) proxyproto.Header {
	return proxyproto.Header{
		Version: 2, Source: netip.MustParseAddrPort("10.1.2.3:1111"),
		Destination: netip.MustParseAddrPort("10.9.8.7:2222"), TLVs: tlvs,
	}
}

// binary is a header of version 2, with single bytes changed: place, then value.
func binary(t *testing.T, h proxyproto.Header, changed ...byte) string {
	t.Helper()
	b, _ := h.Append2(nil)
	for ; len(changed) > 0; changed = changed[2:] {
		b[changed[0]] = changed[1]
	}
	return string(b)
}

func ports(source, destination string) proxyproto.Header {
	return proxyproto.Header{Source: netip.MustParseAddrPort(source), Destination: netip.MustParseAddrPort(destination)}
}

// TestParse: every row was put to Envoy 1.40.0, which said the same. Whatever comes in
// single bytes means what it means as a whole, and what follows is left alone.
func TestParse(t *testing.T) {
	local := proxyproto.Header{Local: true}
	six := ports("[2001:db8::1]:1", "[2001:db8::2]:2")
	for _, c := range []struct {
		name, in string
		version  int
		want     *proxyproto.Header // nil: refused
	}{
		{"TCP4", "PROXY TCP4 1.2.3.4 5.6.7.8 11 22\r\n", 1, ptr(ports("1.2.3.4:11", "5.6.7.8:22"))},
		{"TCP6", "PROXY TCP6 ::1 ::2 11 22\r\n", 1, ptr(ports("[::1]:11", "[::2]:22"))},
		{"mapped", "PROXY TCP6 ::ffff:1.2.3.4 ::ffff:5.6.7.8 11 22\r\n", 1, ptr(ports("[::ffff:1.2.3.4]:11", "[::ffff:5.6.7.8]:22"))},
		{"signs and zeros", "PROXY TCP4 1.2.3.4 5.6.7.8 +11 0022\r\n", 1, ptr(ports("1.2.3.4:11", "5.6.7.8:22"))},
		{"UNKNOWN", "PROXY UNKNOWN\r\n", 1, &local},
		{"UNKNOWN with a rest", "PROXY UNKNOWN what ever\r\n", 1, &local},
		{"108 bytes", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", 1, &local},
		{"109 bytes", "PROXY UNKNOWN " + strings.Repeat("x", 93) + "\r\n", 1, nil},
		{"no end", "PROXY UNKNOWN " + strings.Repeat("x", 200), 0, nil},
		{"two blanks", "PROXY  TCP4  1.2.3.4 5.6.7.8 11  22 \r\n", 1, nil},
		{"leading zero", "PROXY TCP4 01.2.3.4 5.6.7.8 11 22\r\n", 1, nil},
		{"to nobody", "PROXY TCP4 1.2.3.4 0.0.0.0 11 22\r\n", 1, nil},
		{"to all", "PROXY TCP4 1.2.3.4 255.255.255.255 11 22\r\n", 1, nil},
		{"to many", "PROXY TCP6 ::1 ff02::1 11 22\r\n", 1, nil},
		{"port", "PROXY TCP4 1.2.3.4 5.6.7.8 11 65536\r\n", 1, nil},
		{"wrong family", "PROXY TCP4 ::1 ::2 11 22\r\n", 1, nil},
		{"UDP4", "PROXY UDP4 1.2.3.4 5.6.7.8 11 22\r\n", 1, nil},
		{"short", "PROXY TCP4 1.2.3.4\r\n", 1, nil},
		{"another line", "hello\r\n", 1, nil},
		{"text", "0123456789abcdef", 0, nil},
		{"lower case", "proxy TCP4 1.2.3.4 5", 0, nil},

		{"v2", binary(t, v4()), 2, ptr(v4())},
		{"v2 datagrams", binary(t, v4(), 13, 0x12), 2, ptr(v4())},
		{"v2 IPv6", binary(t, six), 2, &six},
		{"v2 TLVs", binary(t, v4(proxyproto.TLV{Type: 0xea, Value: []byte("v")}, proxyproto.TLV{Type: 5})), 2,
			ptr(v4(proxyproto.TLV{Type: 0xea, Value: []byte("v")}, proxyproto.TLV{Type: 5}))},
		{"v2 large", binary(t, v4(proxyproto.TLV{Type: 7, Value: make([]byte, 60000)})), 2, ptr(v4(proxyproto.TLV{Type: 7, Value: make([]byte, 60000)}))},
		{"v2 LOCAL", binary(t, local), 2, &local},
		{"v2 LOCAL with more", binary(t, v4(proxyproto.TLV{Type: 1, Value: []byte("x")}), 12, 0x20), 2, &local},
		{"v2 of version 1", binary(t, v4(), 12, 0x11), 2, nil},
		{"v2 Unix", binary(t, v4(), 13, 0x31), 2, nil},
		{"v2 transport", binary(t, v4(), 13, 0x10), 2, nil},
		{"v2 command", binary(t, v4(), 12, 0x22), 2, nil},
		{"v2 too short", binary(t, v4(), 15, 5), 2, nil},
		{"v2 TLV cut off", binary(t, v4(proxyproto.TLV{Type: 1, Value: []byte("x")}), 30, 9), 2, nil},
		{"v2 TLV without a length", binary(t, v4(proxyproto.TLV{Type: 1, Value: []byte("x")}), 15, 14)[:30], 2, nil},
		{"v2 from nobody", binary(t, v4(), 16, 0, 17, 0, 18, 0, 19, 0), 2, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, in := range []string{c.in, c.in + "more", ""} {
				var h proxyproto.Header
				var more int
				var err error
				if in != "" {
					h, more, err = proxyproto.Parse([]byte(in))
				} else {
					h, more, err = inBytes(t, c.in)
				}
				switch {
				case more > 0:
					t.Fatalf("%q: wants %d bytes", in, more)
				case h.Version != c.version || (err == nil) != (c.want != nil) || errors.Is(err, proxyproto.ErrNotFound) != (c.version == 0):
					t.Fatalf("%q: version %d, %v", in, h.Version, err)
				case err == nil:
					want := *c.want
					want.Version, want.Len = c.version, len(c.in)
					if d := cmp.Diff(want, h, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(bytes.Equal)); d != "" {
						t.Fatalf("%q (-want +got):\n%s", in, d)
					}
				}
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

// inBytes gives what is wanted, and no more.
func inBytes(t *testing.T, in string) (h proxyproto.Header, more int, err error) {
	for n := 1; n <= len(in); n = max(n+1, more) {
		before := more
		h, more, err = proxyproto.Parse([]byte(in[:n]))
		if more == 0 {
			return h, 0, err
		}
		if more <= n || more < before && before > n {
			t.Fatalf("%d bytes, %d wanted, then %d", n, before, more)
		}
	}
	return h, more, err
}

// TestWait: what may still become a header is waited for.
func TestWait(t *testing.T) {
	for _, in := range []string{"P", "GET / HTTP/1.1", "\r\n", "\r\n\r\n\x00\r\nQUIT\n", "PROXY TCP4 1.2.3.4 5.6.7.8 11 22\n"} {
		if _, more, err := proxyproto.Parse([]byte(in)); more <= len(in) || err != nil {
			t.Errorf("%q: wants %d bytes, %v", in, more, err)
		}
	}
}

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		h    proxyproto.Header
		want string
	}{
		{ports("1.2.3.4:11", "5.6.7.8:22"), "PROXY TCP4 1.2.3.4 5.6.7.8 11 22\r\n"},
		{ports("[::1]:11", "[::2]:22"), "PROXY TCP6 ::1 ::2 11 22\r\n"},
		{ports("[::1]:11", "5.6.7.8:22"), "PROXY UNKNOWN\r\n"},
		{proxyproto.Header{Local: true}, "PROXY UNKNOWN\r\n"},
	} {
		if got := string(c.h.Append1(nil)); got != c.want {
			t.Errorf("%+v: %q, want %q", c.h, got, c.want)
		}
	}
	long := v4(proxyproto.TLV{Type: 1, Value: make([]byte, 65517)}, proxyproto.TLV{Type: 2, Value: make([]byte, 65517)}, proxyproto.TLV{Type: 3})
	b, all := long.Append2(nil)
	if want := 16 + 12 + 3 + 65517 + 3; all || len(b) != want { // the first and the last
		t.Errorf("TLVs of 131,043 bytes: %d bytes, not %d, all %v", len(b), want, all)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"PROXY TCP4 1.2.3.4 5.6.7.8 11 22\r\n", "PROXY UNKNOWN\r\n"} {
		f.Add([]byte(s))
	}
	h := v4(proxyproto.TLV{Type: 1, Value: []byte("x")})
	b, _ := h.Append2(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, more, err := proxyproto.Parse(b)
		switch {
		case more > 0 && (more <= len(b) || more > 1<<16+16 || err != nil):
			t.Fatalf("wants %d of %d bytes, %v", more, len(b), err)
		case more > 0 || err != nil:
		case h.Version == 0 || h.Len > len(b) || !h.Local && !(h.Source.IsValid() && h.Destination.IsValid()):
			t.Fatalf("%+v of %d bytes", h, len(b))
		}
	})
}
