package http1

import "encoding/binary"

// lower maps the characters of a token to lower case, all others to 0.
var lower = func() (t [256]byte) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz" {
		t[c] = byte(c)
		if 'a' <= c && c <= 'z' {
			t[c-'a'+'A'] = byte(c)
		}
	}
	return t
}()

// inAuthority are the characters of an authority, as nghttp2 has them.
var inAuthority = func() (t [256]bool) {
	for _, c := range "!$%&'()*+,-.0123456789:;=@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~" {
		t[c] = true
	}
	return t
}()

func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if lower[s[i]] == 0 {
			return false
		}
	}
	return s != ""
}

func isAuthority(s string) bool {
	for i := 0; i < len(s); i++ {
		if !inAuthority[s[i]] {
			return false
		}
	}
	return true
}

func isTarget(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return s != ""
}

// isValue reports whether b may be a header's value: no control character but tabs.
func isValue(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7f*ones
		// The usual trick: a byte less than n borrows from its top bit.
		if (x-0x20*ones)&^x&tops|(del-ones)&^del&tops != 0 && !plainBytes(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return plainBytes(b)
}

func plainBytes(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func equalFold(s, lowered string) bool {
	if len(s) != len(lowered) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if lower[s[i]] != lowered[i] {
			return false
		}
	}
	return true
}

func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
