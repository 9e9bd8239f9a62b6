package config

import (
	"fmt"
	"strings"
	"testing"
)

// The mark ⟂ stands before the character where the fault is to be found.
func TestJSONFaults(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`⟂x`, "neither a number"},
		{`{"a": 1 ⟂"b": 2}`, `where ',' or '}' should stand`},
		{"{\n  \"é😀\": ⟂}", "where a value should stand"},
		{"{\"a\": [1, 2⟂}", `where ',' or ']' should stand`},
		{"{\"a\": ⟂[1, 2", "never closed"},
		{"{\"a\": [1,⟂, 2]}", "where a value should stand"},
		{"{\"a\"⟂, 1}", "':' should stand"},
		{"{⟂-: 1}", "a key in quotes should stand"},
		{"{\"a\": ⟂\"x\n\"}", "not closed on its line"},
		{"{\"a\": ⟂\"x", "never closed"},
		{"{\"a\": \"é⟂\\q\"}", `unknown escape \q`},
		{"{\"a\": \"⟂\\ud800x\"}", "half of a surrogate pair"},
		{"{\"a\": \"⟂\\u12\"}", "four hexadecimal digits"},
		{"{\"a\": \"b⟂\x01\"}", "control character"},
		{"{\"a\": \"⟂\xff\"}", "not UTF-8"},
		{"{\"a\": ⟂01}", "neither a number"},
		{"{\"a\": ⟂+1}", "neither a number"},
		{"{\"a\": ⟂NaN}", "neither a number"},
		{"{\"a\": 1}⟂}", "after the end"},
		{"{} ⟂// x", "after the end"},
	} {
		t.Run(c.text, func(t *testing.T) {
			before, _, _ := strings.Cut(c.text, "⟂")
			last := before[strings.LastIndex(before, "\n")+1:]
			want := fmt.Sprintf("%d:%d: ", 1+strings.Count(before, "\n"), 1+len([]rune(last)))
			_, err := parseJSON([]byte(strings.Replace(c.text, "⟂", "", 1)), false, func(int, int, Severity, string) {})
			if err == nil {
				t.Fatal("accepted")
			}
			if got := err.Error(); !strings.HasPrefix(got, want) || !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s%s", got, want, c.want)
			}
		})
	}
}
