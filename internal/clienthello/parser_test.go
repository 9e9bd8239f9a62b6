package clienthello_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/internal/clienthello"
)

// parseAll gives p in the given pieces, as a socket that is looked into would.
func parseAll(p []byte, step int) (*clienthello.Hello, int, *clienthello.Parser, error) {
	x := new(clienthello.Parser)
	for n := min(step, len(p)); ; n = min(n+step, len(p)) {
		h, need, err := x.Parse(p[:n])
		if h != nil || err != nil || n == len(p) {
			return h, need, x, err
		}
	}
}

// reason is what became of bytes: "tls", "wait", or the name of the error.
func reason(h *clienthello.Hello, err error) string {
	var e *clienthello.Error
	switch {
	case errors.As(err, &e) && e == clienthello.ErrClosed:
		return "closed"
	case errors.As(err, &e):
		return e.Reason
	case h != nil:
		return "tls"
	}
	return "wait"
}

// TestAnswers holds the parser to what Envoy 1.40.0 said of the same bytes.
func TestAnswers(t *testing.T) {
	s := sni("a.example")
	ok := hello(s)
	for _, c := range []struct {
		name string
		p    []byte
		want string
	}{
		{"whole", rec(ok), "tls"},
		{"no extensions", rec(hello()), "tls"},
		{"no list of extensions", rec(draft{noList: true}.bytes()), "tls"},
		{"text", []byte("hello there"), "WRONG_VERSION_NUMBER"},
		{"four bytes", []byte("\x16\x03\x01\x00"), "wait"},
		{"four bytes of text", []byte("abcd"), "wait"},
		{"a header", []byte("\x16\x03\x01\x00\x10"), "wait"},
		{"GET", []byte("GET / HTTP/1.1\r\n"), "HTTP_REQUEST"},
		{"POST", []byte("POST / HTTP/1.1\r\n"), "HTTP_REQUEST"},
		{"HEAD", []byte("HEAD / HTTP/1.1\r\n"), "HTTP_REQUEST"},
		{"PUT", []byte("PUT / HTTP/1.1\r\n"), "HTTP_REQUEST"},
		{"CONNECT", []byte("CONNECT a:1 HTTP/1.1\r\n"), "HTTPS_PROXY_REQUEST"},

		{"fatal alert", frame(21, 0x0301, []byte{2, 40}), "SSLV3_ALERT_HANDSHAKE_FAILURE"},
		{"unknown fatal alert", frame(21, 0x0301, []byte{2, 200}), "reason(1200)"},
		{"unknown level", frame(21, 0x0301, []byte{3, 0}), "UNKNOWN_ALERT_TYPE"},
		{"close_notify", frame(21, 0x0301, []byte{1, 0}), "closed"},
		{"short alert", frame(21, 0x0301, []byte{1}), "BAD_ALERT"},
		{"empty alert", frame(21, 0x0301, nil), "BAD_ALERT"},
		{"a warning first", cat(warning(), rec(ok)), "tls"},
		{"four warnings", cat(warning(), warning(), warning(), warning(), rec(ok)), "tls"},
		{"five warnings", cat(bytes.Repeat(warning(), 5), rec(ok)), "TOO_MANY_WARNING_ALERTS"},
		{"four warnings, twice", cat(bytes.Repeat(warning(), 4), rec(ok[:4]), bytes.Repeat(warning(), 4), rec(ok[4:])), "tls"},
		{"a warning inside", cat(rec(ok[:10]), warning(), rec(ok[10:])), "tls"},

		{"application data", frame(23, 0x0301, []byte("xxxx")), "UNEXPECTED_RECORD"},
		{"empty application data", frame(23, 0x0301, nil), "UNEXPECTED_RECORD"},
		{"change cipher spec", frame(20, 0x0301, []byte{1}), "UNEXPECTED_RECORD"},
		{"a type of its own", frame(99, 0x0301, []byte{1}), "UNEXPECTED_RECORD"},
		{"an empty record first", cat(rec(nil), rec(ok)), "tls"},
		{"32 empty records", cat(bytes.Repeat(rec(nil), 32), rec(ok)), "tls"},
		{"33 empty records", cat(bytes.Repeat(rec(nil), 33), rec(ok)), "TOO_MANY_EMPTY_FRAGMENTS"},
		{"record of SSL 3", frame(22, 0x0300, ok), "tls"},
		{"record of 3.255", frame(22, 0x03ff, ok), "tls"},
		{"record of SSL 2", frame(22, 0x0200, ok), "WRONG_VERSION_NUMBER"},
		{"record of 4.0", frame(22, 0x0400, ok), "WRONG_VERSION_NUMBER"},
		{"another version behind", cat(rec(ok[:20]), frame(22, 0x0303, ok[20:])), "tls"},
		{"record of 16704", cat([]byte("\x16\x03\x01\x41\x40"), ok), "wait"},
		{"record of 16705", cat([]byte("\x16\x03\x01\x41\x41"), ok), "ENCRYPTED_LENGTH_TOO_LONG"},

		{"another message", rec(draft{kind: 2, extensions: s}.bytes()), "UNEXPECTED_MESSAGE"},
		{"message of type 0", rec([]byte{0, 0, 0, 0}), "UNEXPECTED_MESSAGE"},
		{"part of another message", rec([]byte{2, 0, 0, 64}), "wait"},
		{"message of 16384", rec(cat([]byte{1, 0, 0x40, 0}, make([]byte, 100))), "wait"},
		{"message of 16385", rec(cat([]byte{1, 0, 0x40, 1}, make([]byte, 100))), "EXCESSIVE_MESSAGE_SIZE"},
		{"bytes behind", rec(cat(ok, []byte{1})), "EXCESS_HANDSHAKE_DATA"},
		{"a record behind", cat(rec(ok), rec(ok)), "tls"},
		{"data behind", cat(rec(ok), frame(23, 0x0301, []byte{1})), "tls"},
		{"a record for each byte", cat(func() (all [][]byte) {
			for _, b := range ok {
				all = append(all, rec([]byte{b}))
			}
			return all
		}()...), "tls"},

		{"version 3.0", rec(draft{version: 0x0300, extensions: s}.bytes()), "CONNECTION_REJECTED"},
		{"version 3.5", rec(draft{version: 0x0305, extensions: s}.bytes()), "CONNECTION_REJECTED"},
		{"version 3.0 with a newer one", rec(draft{version: 0x0300, extensions: cat(s, versions(0x0304))}.bytes()), "CONNECTION_REJECTED"},
		{"version 3.0 and a bad name", rec(draft{version: 0x0300, extensions: ext(0)}.bytes()), "ERROR_PARSING_EXTENSION"},
		{"version 3.4", rec(draft{version: 0x0304, extensions: s}.bytes()), "tls"},
		{"no ciphers", rec(draft{ciphers: []int{}}.bytes()), "CLIENTHELLO_PARSE_FAILED"},
		{"no compression", rec(draft{compression: []byte{}}.bytes()), "CLIENTHELLO_PARSE_FAILED"},
		{"other compression", rec(draft{compression: []byte{1}}.bytes()), "tls"},
		{"session of 32", rec(draft{session: 32}.bytes()), "tls"},
		{"session of 33", rec(draft{session: 33}.bytes()), "CLIENTHELLO_PARSE_FAILED"},
		{"tail", rec(draft{tail: []byte("x")}.bytes()), "CLIENTHELLO_PARSE_FAILED"},
		{"a name twice", rec(hello(s, s)), "CLIENTHELLO_PARSE_FAILED"},
		{"an unknown extension twice", rec(hello(ext(999), s, ext(999))), "CLIENTHELLO_PARSE_FAILED"},
		{"length of an extension", rec(hello(s, []byte("\x00\x0b\x00\x09x"))), "CLIENTHELLO_PARSE_FAILED"},
		{"malformed groups", rec(hello(s, ext(10, 0))), "tls"},
		{"malformed key share", rec(hello(s, ext(51, 0))), "tls"},

		{"empty name", rec(hello(sni(""))), "ERROR_PARSING_EXTENSION"},
		{"no name", rec(hello(ext(0))), "ERROR_PARSING_EXTENSION"},
		{"length of a name", rec(hello(ext(0, 0, 5, 0, 0, 1, 'a'))), "ERROR_PARSING_EXTENSION"},
		{"behind a name", rec(hello(ext(0, 0, 4, 0, 0, 1, 'a', 'x'))), "ERROR_PARSING_EXTENSION"},
		{"two names", rec(hello(ext(0, 0, 8, 0, 0, 1, 'a', 0, 0, 1, 'b'))), "ERROR_PARSING_EXTENSION"},
		{"name of a type", rec(hello(ext(0, 0, 4, 1, 0, 1, 'a'))), "ERROR_PARSING_EXTENSION"},
		{"zero byte in a name", rec(hello(sni("a\x00b"))), "ERROR_PARSING_EXTENSION"},
		{"name of 255", rec(hello(sni(strings.Repeat("a", 255)))), "tls"},
		{"name of 256", rec(hello(sni(strings.Repeat("a", 256)))), "ERROR_PARSING_EXTENSION"},
		{"a bad name and bytes behind", rec(cat(hello(ext(0)), []byte{1})), "EXCESS_HANDSHAKE_DATA"},

		{"SSL 2 frame", v2(0x0301, "\x00\x00\x2f", 0, 16, ""), "tls"},
		{"SSL 2 frame with a session", v2(0x0303, "\x00\x00\x2f", 4, 16, ""), "tls"},
		{"SSL 2 frame, short challenge", v2(0x0303, "\x00\x00\x2f", 0, 8, ""), "tls"},
		{"SSL 2 frame of SSL 3", v2(0x0300, "\x00\x00\x2f", 0, 16, ""), "CONNECTION_REJECTED"},
		{"SSL 2 frame without ciphers", v2(0x0303, "", 0, 16, ""), "CLIENTHELLO_PARSE_FAILED"},
		{"SSL 2 frame, its ciphers only", v2(0x0303, "\x01\x00\x80", 0, 16, ""), "CLIENTHELLO_PARSE_FAILED"},
		{"ECH", rec(hello(ext(0xfe0d, cat([]byte{0, 0x77, 0x77, 0x88, 0x88, 5}, vec16(1), vec16(2))...), s)), "tls"},
		{"ECH without a key and bytes", rec(hello(ext(0xfe0d, cat([]byte{0, 0, 1, 0, 1, 5}, vec16(), vec16())...))), "tls"},
		{"inner ECH", rec(hello(ext(0xfe0d, 1, 9))), "tls"},
		{"ECH of another kind", rec(hello(ext(0xfe0d, 2))), "tls"},
		{"empty ECH", rec(hello(ext(0xfe0d))), "DECODE_ERROR"},
		{"nothing of ECH", rec(hello(ext(0xfe0d, 0))), "DECODE_ERROR"},
		{"half a suite of ECH", rec(hello(ext(0xfe0d, 0, 0, 1, 0))), "DECODE_ERROR"},
		{"ECH with a tail", rec(hello(ext(0xfe0d, cat([]byte{0, 0, 1, 0, 1, 5}, vec16(1), vec16(2), []byte{0})...))), "DECODE_ERROR"},
		{"ECH too short", rec(hello(ext(0xfe0d, cat([]byte{0, 0, 1, 0, 1, 5}, vec16(1), []byte{0, 2, 1})...))), "DECODE_ERROR"},
		{"ECH and a name, both wrong", rec(hello(ext(0), ext(0xfe0d))), "DECODE_ERROR"},

		{"SSL 2 frame, half a cipher", v2(0x0303, "\x01\x00\x80\x00", 0, 16, ""), "DECODE_ERROR"},
		{"SSL 2 frame with a tail", v2(0x0303, "\x00\x00\x2f", 0, 16, "x"), "DECODE_ERROR"},
		{"SSL 2 frame, too long", []byte("\x93\x88\x01\x03\x01"), "RECORD_TOO_LARGE"},
		{"SSL 2 frame, too short", []byte("\x80\x02\x01\x03\x01"), "RECORD_LENGTH_MISMATCH"},
		{"part of an SSL 2 frame", []byte("\x80\x20\x01\x03\x01"), "wait"},
	} {
		for _, step := range []int{len(c.p), 1, 7} {
			h, need, x, err := parseAll(c.p, step)
			if got := reason(h, err); got != c.want {
				t.Errorf("%s, %d at a time: %s, want %s", c.name, step, got, c.want)
			}
			if c.want == "wait" && need <= len(c.p) {
				t.Errorf("%s: of %d bytes it needs %d", c.name, len(c.p), need)
			}
			if c.want != "wait" && (x.Seen() == 0 || x.Seen() > len(c.p)) {
				t.Errorf("%s: %d of %d bytes seen", c.name, x.Seen(), len(c.p))
			}
		}
	}
}

func TestErrorText(t *testing.T) {
	_, _, err := new(clienthello.Parser).Parse([]byte("hello"))
	if want := "error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestFound(t *testing.T) {
	for _, c := range []struct {
		name      string
		p         []byte
		server    string
		protocols []string
	}{
		{"both", hello(sni("WWW.Example.COM"), alpn("h2", "http/1.1")), "WWW.Example.COM", []string{"h2", "http/1.1"}},
		{"neither", hello(), "", nil},
		{"any bytes", hello(sni("\xff\xc3\x84A b")), "\xff\xc3\x84A b", nil},
		{"empty list", hello(ext(16, 0, 0)), "", nil},
		{"empty protocol", hello(alpn("h2", "")), "", nil},
		{"behind the list", hello(ext(16, 0, 3, 2, 'h', '2', 'x')), "", nil},
		{"length of the list", hello(ext(16, 0, 5, 2, 'h', '2')), "", nil},
		{"capitals", hello(alpn("HTTP/1.1")), "", []string{"HTTP/1.1"}},
		{"rejected", draft{version: 0x0300, extensions: cat(sni("a"), alpn("h2"))}.bytes(), "a", []string{"h2"}},
	} {
		h, _, err := new(clienthello.Parser).Parse(rec(c.p))
		if err != nil && err != clienthello.ErrVersion {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if h.ServerName != c.server || !slices.Equal(h.Protocols, c.protocols) {
			t.Errorf("%s: %q %q, want %q %q", c.name, h.ServerName, h.Protocols, c.server, c.protocols)
		}
	}
}

// TestFingerprints has what Envoy 1.40.0 printed for the same hellos, but for the first
// JA3: Envoy leaves the GREASE in the groups, which differs from connection to connection.
func TestFingerprints(t *testing.T) {
	s := sni("a.example")
	full := hello(sni("WWW.Example.COM"), alpn("h2", "http/1.1"), ext(10, vec16(list(0x0a0a, 29, 23)...)...), ext(11, 1, 0),
		ext(13, vec16(list(0x0403, 0x0804)...)...), versions(0x0a0a, 0x0304, 0x0303))
	var many []int
	for c := 1; c < 150; c++ {
		many = append(many, c)
	}
	const plain = "40b44b994229_000000000000"
	for _, c := range []struct {
		name     string
		p        []byte
		ja3, ja4 string // "": not asked
	}{
		{"full", rec(full), "fcaf317ddda4509bd8e93a555b21e11a", "t13d0306h2_40b44b994229_fb71836bce29"},
		{"nothing", rec(hello()), "049a423b3b26cc15ac27ce16552f69b1", "t12i030000_" + plain},
		{"SSL 2 frame", v2(0x0301, "\x00\x00\x2f", 0, 16, ""), "b02be259814e870a469a20ce9b2a7900", "t10i010000_ba72b8082249_000000000000"},
		{"TLS 1.0", rec(draft{version: 0x0301, extensions: s}.bytes()), "4c7fd2fff7772ca8f517e6998c848e2c", "t10d030100_" + plain},
		{"SSL 3", rec(draft{version: 0x0300, extensions: s}.bytes()), "f9957b8e075834f6961b6f86baae23c5", "t00d030100_" + plain},
		{"only 1.1", rec(hello(s, versions(0x0302))), "acd81073f9c895c7e40339c8a4df2c20", "t11d030200_40b44b994229_b9a491fefe05"},
		{"only 3.5", rec(hello(s, versions(0x0305))), "", "t00d030200_40b44b994229_b9a491fefe05"},
		{"malformed versions", rec(hello(s, ext(43, 3, 3, 4))), "", "t00d030200_40b44b994229_b9a491fefe05"},
		{"empty versions", rec(hello(s, versions())), "", "t12d030200_40b44b994229_b9a491fefe05"},
		{"malformed groups", rec(hello(s, ext(10, 0))), "e956be0fba0dad6e94577cc7aa2710e8", "t12d030200_40b44b994229_a8f3e973773c"},
		{"malformed signatures", rec(hello(s, ext(13, 0))), "8d5380478333e707ba5c41a82cc85f95", "t12d030200_40b44b994229_06540eb5c95f"},
		{"empty protocols", rec(hello(s, ext(16, 0, 0))), "222ca3f6dbd22ca40b35cac4d046b597", "t12d030200_" + plain},
		{"malformed protocols", rec(hello(s, ext(16, 0, 5, 2, 'h', '2'))), "", "t12d0302h2_" + plain},
		{"HTTP/1.1", rec(hello(s, alpn("HTTP/1.1"))), "", "t12d0302H1_" + plain},
		{"binary protocol", rec(hello(s, alpn("\xab\xcd"))), "", "t12d0302ad_" + plain},
		{"one binary byte", rec(hello(s, alpn("\xab"))), "", "t12d0302ab_" + plain},
		{"half binary", rec(hello(s, alpn("h\x00"))), "", "t12d030260_" + plain},
		{"one letter", rec(hello(s, alpn("a"))), "", "t12d0302aa_" + plain},
		{"a dash", rec(hello(s, alpn("ab-"))), "", "t12d03026d_" + plain},
		{"149 ciphers", rec(draft{ciphers: many, extensions: s}.bytes()), "", "t12d990100_a5b00ba9772b_000000000000"},
		{"malformed key share", rec(hello(s, versions(0x0304), ext(51, 'x'))), "13e36f442956b1ad2235f6a2187ac766", "t13d030300_40b44b994229_a56c5b993250"},
	} {
		h, _, err := new(clienthello.Parser).Parse(c.p)
		if err != nil && err != clienthello.ErrVersion {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := h.JA3(); c.ja3 != "" && got != c.ja3 {
			t.Errorf("%s: JA3 %s, want %s", c.name, got, c.ja3)
		}
		if got := h.JA4(); got != c.ja4 {
			t.Errorf("%s: JA4 %s, want %s", c.name, got, c.ja4)
		}
	}
}
