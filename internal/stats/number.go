package stats

import (
	"math"
	"strconv"
	"strings"
)

// Envoy prints floating-point numbers in five ways; each is one function here.

// appendShortest prints as fmt's "{}": the shortest digits, an exponent from
// 1e16 on and below 1e-4.
func appendShortest(to []byte, x float64) []byte {
	switch {
	case math.IsNaN(x):
		return append(to, "nan"...)
	case x != 0 && (math.Abs(x) < 1e-4 || math.Abs(x) >= 1e16):
		return strconv.AppendFloat(to, x, 'e', -1, 64)
	}
	return strconv.AppendFloat(to, x, 'f', -1, 64)
}

// appendJSON prints as std::to_chars: the shorter of both notations, integers
// with all their digits; not-a-number is null.
func appendJSON(to []byte, x float64) []byte {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return append(to, "null"...)
	}
	prec := -1
	if x == math.Trunc(x) {
		prec = 0
	}
	start := len(to)
	to = strconv.AppendFloat(to, x, 'f', prec, 64)
	fixed := len(to)
	to = strconv.AppendFloat(to, x, 'e', -1, 64)
	if fixed-start <= len(to)-fixed {
		return to[:fixed]
	}
	return append(to[:start], to[fixed:]...)
}

// appendG prints as "{:g}": six digits.
func appendG(to []byte, x float64) []byte { return strconv.AppendFloat(to, x, 'g', 6, 64) }

// appendStrCat prints as absl::StrCat: fifteen digits.
func appendStrCat(to []byte, x float64) []byte { return strconv.AppendFloat(to, x, 'g', 15, 64) }

// appendExact prints as "{:.32g}", Prometheus's numbers in Envoy.
func appendExact(to []byte, x float64) []byte {
	if math.IsNaN(x) {
		return append(to, "nan"...)
	}
	return strconv.AppendFloat(to, x, 'g', 32, 64)
}

// appendJSONString quotes s as Envoy's JSON sanitizer does; invalid UTF-8
// becomes U+FFFD.
func appendJSONString(to []byte, s string) []byte {
	to = append(to, '"')
	s = strings.ToValidUTF8(s, "\uFFFD")
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			to = append(to, '\\', c)
		case c >= 0x20:
			to = append(to, c)
		default:
			to = appendControl(to, c)
		}
	}
	return append(to, '"')
}

func appendControl(to []byte, c byte) []byte {
	if i := strings.IndexByte("\b\f\n\r\t", c); i >= 0 {
		return append(to, '\\', "bfnrt"[i])
	}
	const hex = "0123456789abcdef"
	return append(to, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}
