// Package httptext is the grammar of HTTP that its versions share: which characters names,
// values and authorities have, and what content-length and content-type say.
package httptext

import "strings"

// Lower maps the characters of a token to lower case, all others to 0.
var Lower = func() (t [256]byte) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz" {
		t[c] = byte(c)
		if 'a' <= c && c <= 'z' {
			t[c-'a'+'A'] = byte(c)
		}
	}
	return t
}()

// inAuthority are the characters of an authority, as nghttp2 has them, but for the @ of
// userinfo, which no request has any more (RFC 9110 section 4.2.4).
var inAuthority = func() (t [256]bool) {
	for _, c := range "!$%&'()*+,-.0123456789:;=ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~" {
		t[c] = true
	}
	return t
}()

// Token reports whether s is a token, as names of headers and methods are.
func Token(s string) bool {
	for i := range len(s) {
		if Lower[s[i]] == 0 {
			return false
		}
	}
	return s != ""
}

// Authority reports whether s has no character that an authority cannot have. "" has none.
func Authority(s string) bool {
	for i := range len(s) {
		if !inAuthority[s[i]] {
			return false
		}
	}
	return true
}

// Length reads a content-length: digits and nothing else, that are an int64.
func Length(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 && (len(s) > 19 || s > "9223372036854775807") {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// Value reports whether s may be a header's value: no control character but tabs. It looks
// at eight bytes at once, for every value passes here.
func Value[T string | []byte](s T) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		del := x ^ 0x7f*ones
		// A byte less than n borrows from its top bit; bytes behind one may, too.
		if (x-0x20*ones)&^x&tops|(del-ones)&^del&tops != 0 && !plain(s[:8]) {
			return false
		}
	}
	return plain(s)
}

func plain[T string | []byte](s T) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// GRPC reports whether a content-type is that of gRPC (Envoy's rule: no parameters).
func GRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+')
}
