package config

import (
	"strings"
	"testing"
)

// The mark ⟂ stands before the character where the fault is to be found.
func TestYAMLFaults(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"tab", "a:\n⟂\tb: 1\n", "tab"},
		{"tab after blanks", "a:\n  ⟂\tb: 1\n", "tab"},
		{"brace left open", "a: ⟂{b: 1\nc: 2\n", "'{' is not closed before line 2"},
		{"bracket left open at the end", "a: ⟂[1, 2\n", "'[' is never closed"},
		{"inner bracket left open", "x:\n  y: ⟂[a, b\n  z: 1\nw: 2\n", "'[' is not closed before line 3"},
		{"brackets crossed", "a: [{b: 1⟂]}\n", "does not close"},
		{"brace too many", "x: 1\n\n\na: {b: c}⟂}\n", "closes nothing"},
		{"bracket too many", "x: 1\nfoo: [a, b]⟂]\nz: 1\n", "closes nothing"},
		{"comma missing", "x: {a: 1 b⟂: 2}\nz: 1\n", "second ':'"},
		{"single quote left open", "a: ⟂'x\nb: 2\n", "quote is never closed"},
		{"double quote left open", "x: 1\nk: ⟂\"abc\nz: 3\n", "quote is never closed"},
		{"quote that closes far away", "x:\n  - a: \"foo\nz: 1\ny: \"⟂b\"\n", "text after the text in quotes that began in line 2"},
		{"text after quotes", "x:\n  - a: \"foo\" ⟂bar\nz: 1\n", "text after the text in quotes"},
		{"two keys on a line", "a: b⟂: c\n", "second ':'"},
		{"key deeper than a value", "a: 1\n ⟂b: 2\n", "deeper"},
		{"key deeper in a list item", "x: 1\nlist:\n- a: 1\n  b: 2\n   ⟂c: 3\n", "deeper"},
		{"dedent to nowhere", "a:\n  b: 1\n ⟂c: 2\n", "not the indentation"},
		{"dedent to nowhere from a list", "x: 1\nlist:\n  - a: 1\n ⟂b: 2\n", "not the indentation"},
		{"key among items", "- a\n⟂b: c\n", "a key where an item"},
		{"key among indented items", "x:\n  - a: 1\n  ⟂b: 2\nz: 1\n", "a key where an item"},
		{"item among keys", "x: 1\n⟂- a\n", "a list item where a key"},
		{"colon missing", "x: 1\n⟂y\nz: 2\n", "':' is missing after \"y\""},
		{"blank after colon missing", "x: 1\n⟂foo:bar\nz: 1\n", "a blank follows"},
		{"item on the key's line", "x: 1\ny: ⟂- 2\n", "cannot stand on the line"},
		{"unknown alias", "a: ⟂*x\nb: 2\n", "no anchor &x"},
		{"unknown alias in brackets", "a: [&y 1, *y, ⟂*x]\n", "no anchor &x"},
		{"unknown escape", "a: \"x⟂\\q\"\n", "unknown escape \\q"},
		{"surrogates", "a: \"⟂\\ud83d\\ude00\"\n", "surrogate"},
		{"reserved character", "a: ⟂@x\n", "cannot begin with '@'"},
		{"block scalar on the same line", "a: ⟂|x\n b\n", "begins on the next"},
		{"after a block scalar", "a: |\n  b: {\n  [x\nc: ⟂[1\n", "never closed"},
		{"control character", "x: ⟂\x01\n", "control character"},
		{"not UTF-8", "a: \"⟂\xff\"\n", "not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, _, _ := strings.Cut(c.text, "⟂")
			text := strings.Replace(c.text, "⟂", "", 1)
			line := 1 + strings.Count(before, "\n")
			column := 1 + len(before) - (strings.LastIndex(before, "\n") + 1)
			_, err := parseYAML([]byte(text), nil)
			if err == nil {
				t.Fatal("accepted")
			}
			if err.line != line || !strings.Contains(err.what, c.want) {
				t.Fatalf("got %v, want line %d and %q", err, line, c.want)
			}
			if err.column != column {
				t.Errorf("got column %d, want %d: %v", err.column, column, err)
			}
		})
	}
}
