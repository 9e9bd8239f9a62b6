package httptext

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

// The quick way of Value and the slow one agree, wherever a byte stands.
func TestValue(t *testing.T) {
	for c := range 256 {
		want := c >= ' ' && c != 0x7f || c == '\t'
		for at := range 20 {
			s := []byte(strings.Repeat("\xffa", 10))
			s[at] = byte(c)
			if Value(s) != want || Value(string(s)) != want {
				t.Fatalf("%#x at %d", c, at)
			}
		}
	}
}

func TestCharacters(t *testing.T) {
	for s, want := range map[string][2]bool{ // a token; an authority
		"":           {false, true},
		"Ab-1_~":     {true, true},
		"a/b":        {false, false},
		"a\u00e9":    {false, false},
		"a:80":       {false, true},
		"[::1]:80":   {false, true},
		"a|b":        {true, false},
		"u:p@h.test": {false, false},
		"a b":        {false, false},
		"a\x00":      {false, false},
	} {
		if Token(s) != want[0] || Authority(s) != want[1] {
			t.Errorf("%q: token %v, authority %v", s, Token(s), Authority(s))
		}
	}
}

func TestLength(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "007": 7, strconv.Itoa(math.MaxInt64): math.MaxInt64, "9223372036854775808": -1,
		"00000000000000000001": -1, "": -1, "+1": -1, " 1": -1, "1,1": -1, "0x1": -1, "-1": -1,
	} {
		n, ok := Length(s)
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("%q is %d", s, n)
		}
	}
}

func TestGRPC(t *testing.T) {
	for s, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "application/grpc-web": false,
		"application/grpc; a=b": false, "Application/grpc": false, "": false,
	} {
		if GRPC(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
