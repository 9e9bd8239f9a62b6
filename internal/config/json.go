package config

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// parseJSON reads one JSON value. With inYAML set it takes strict JSON only and
// gives scalars the types they have as YAML; otherwise it takes what Envoy takes
// (comma before a closing bracket, single quotes, bare keys) and notes that.
func parseJSON(data []byte, inYAML bool, note noteFunc) (*node, *syntaxError) {
	r := jsonReader{src: data, line: 1, column: 1, strict: inYAML, note: note}
	r.space()
	if r.pos == len(r.src) {
		return nil, nil
	}
	n := r.value(0)
	r.space()
	if r.err == nil && r.pos < len(r.src) {
		r.fail("text after the end of the JSON value: %s", r.here())
	}
	if r.err != nil {
		return nil, r.err
	}
	return n, nil
}

// A jsonReader is a recursive-descent parser. The first error sticks, and ends
// every loop.
type jsonReader struct {
	src          []byte
	pos          int
	line, column int // of src[pos]
	strict       bool
	note         noteFunc
	err          *syntaxError
}

func (r *jsonReader) fail(format string, a ...any) { r.failAt(r.line, r.column, format, a...) }

func (r *jsonReader) failAt(line, column int, format string, a ...any) {
	if r.err == nil {
		r.err = &syntaxError{line, column, "invalid JSON: " + fmt.Sprintf(format, a...)}
	}
	r.pos = len(r.src)
}

// lenient accepts a form that JSON does not have, or fails.
func (r *jsonReader) lenient(form string) {
	if r.strict {
		r.fail("%s", form)
		return
	}
	r.note(r.line, r.column, Warning, form+": not JSON, though Envoy takes it")
}

// here describes what stands at the position.
func (r *jsonReader) here() string {
	if r.pos >= len(r.src) {
		return "the end of the file"
	}
	c, _ := utf8.DecodeRune(r.src[r.pos:])
	return strconv.QuoteRune(c)
}

func (r *jsonReader) peek() byte {
	if r.pos < len(r.src) {
		return r.src[r.pos]
	}
	return 0
}

// advance passes n bytes that hold no line end.
func (r *jsonReader) advance(n int) {
	r.column += utf8.RuneCount(r.src[r.pos : r.pos+n])
	r.pos += n
}

func (r *jsonReader) space() {
	for r.pos < len(r.src) {
		switch r.src[r.pos] {
		case '\n':
			r.line, r.column = r.line+1, 0
		case ' ', '\t', '\r':
		default:
			return
		}
		r.pos++
		r.column++
	}
}

func (r *jsonReader) value(depth int) *node {
	n := &node{line: r.line, column: r.column}
	if depth > maxDepth {
		r.fail("nested deeper than %d levels", maxDepth)
		return n
	}
	switch c := r.peek(); {
	case c == '{':
		n.kind = dictKind
		r.sequence('}', func() { r.member(n, depth) })
	case c == '[':
		n.kind = listKind
		r.sequence(']', func() { n.items = append(n.items, r.value(depth+1)) })
	case c == '"' || c == '\'':
		n.kind, n.value = textKind, r.text()
	default:
		r.literal(n)
	}
	return n
}

// sequence reads what stands between brackets, separated by commas.
func (r *jsonReader) sequence(end byte, item func()) {
	line, column, begin := r.line, r.column, r.peek()
	r.advance(1)
	for r.space(); r.peek() != end; r.space() {
		if r.pos >= len(r.src) {
			r.failAt(line, column, "%q is never closed", begin)
			return
		}
		item()
		r.space()
		switch {
		case r.err != nil:
			return
		case r.peek() == end:
		case r.pos >= len(r.src):
			r.failAt(line, column, "%q is never closed", begin)
			return
		case r.peek() != ',':
			r.fail("%s where ',' or %q should stand", r.here(), end)
			return
		default:
			r.comma(end)
		}
	}
	r.advance(1)
}

// comma passes a comma and notes one that precedes a closing bracket.
func (r *jsonReader) comma(end byte) {
	ahead := bytes.TrimLeft(r.src[r.pos+1:], " \t\r\n")
	if len(ahead) > 0 && ahead[0] == end {
		r.lenient(fmt.Sprintf("',' before %q", end))
	}
	if r.err == nil {
		r.advance(1)
	}
}

func (r *jsonReader) member(n *node, depth int) {
	key := &node{kind: textKind, line: r.line, column: r.column}
	switch c := r.peek(); {
	case c == '"' || c == '\'':
		key.value = r.text()
	case isWord(c):
		r.lenient("key without quotes")
		key.value = r.word()
	default:
		r.fail("%s where a key in quotes should stand", r.here())
	}
	r.space()
	if r.err == nil && r.peek() != ':' {
		r.fail("%s where ':' should stand", r.here())
	}
	if r.err != nil {
		return
	}
	r.advance(1)
	r.space()
	n.pairs = append(n.pairs, pair{key, r.value(depth + 1)})
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func (r *jsonReader) word() string {
	end := r.pos
	for end < len(r.src) && (isWord(r.src[end]) || strings.IndexByte("+-.", r.src[end]) >= 0) {
		end++
	}
	word := string(r.src[r.pos:end])
	r.advance(end - r.pos)
	return word
}

func (r *jsonReader) literal(n *node) {
	if r.err != nil {
		return
	}
	if r.pos >= len(r.src) {
		r.fail("the file ends where a value should stand")
		return
	}
	if c := r.peek(); !isWord(c) && c != '-' && c != '+' && c != '.' {
		r.fail("%s where a value should stand", r.here())
		return
	}
	word := r.word()
	switch {
	case word == "null":
		n.kind = nullKind
	case word == "true", word == "false":
		n.kind, n.value = boolKind, word
	case jsonNumber.MatchString(word):
		n.kind, n.value = numberKind, word
	default:
		r.failAt(n.line, n.column, "%s is neither a number nor true, false or null; text stands in quotes", quote(word))
	}
	if r.strict {
		n.plain(word)
	}
}

// text reads a quoted string.
func (r *jsonReader) text() string {
	line, column, end := r.line, r.column, r.peek()
	if end == '\'' {
		r.lenient("single quotes")
		if r.err != nil {
			return ""
		}
	}
	r.advance(1)
	var b strings.Builder
	for r.pos < len(r.src) {
		switch c := r.src[r.pos]; {
		case c == end:
			r.advance(1)
			return b.String()
		case c == '\\':
			r.escape(&b)
		case c == '\n':
			r.failAt(line, column, "text is not closed on its line")
		case c < ' ':
			r.fail("control character %q in text", c)
		default:
			r.run(&b, end)
		}
	}
	r.failAt(line, column, "text is never closed")
	return ""
}

// run passes characters up to one that means something.
func (r *jsonReader) run(b *strings.Builder, end byte) {
	stop := r.pos
	for stop < len(r.src) && r.src[stop] != end && r.src[stop] != '\\' && r.src[stop] >= ' ' {
		stop++
	}
	plain := r.src[r.pos:stop]
	if !utf8.Valid(plain) {
		r.fail("text is not UTF-8")
		return
	}
	b.Write(plain)
	r.advance(len(plain))
}

var jsonEscapes = map[byte]byte{
	'"': '"', '\\': '\\', '/': '/', '\'': '\'', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

func (r *jsonReader) escape(b *strings.Builder) {
	if r.pos+1 >= len(r.src) {
		r.fail("text is never closed")
		return
	}
	c := r.src[r.pos+1]
	if plain, ok := jsonEscapes[c]; ok {
		b.WriteByte(plain)
		r.advance(2)
		return
	}
	if c != 'u' {
		r.fail(`unknown escape \%c`, c)
		return
	}
	high, ok := r.hex4(r.pos)
	if !ok {
		r.fail(`\u needs four hexadecimal digits`)
		return
	}
	if !utf16.IsSurrogate(high) {
		b.WriteRune(high)
		r.advance(6)
		return
	}
	low, ok := r.hex4(r.pos + 6)
	both := utf16.DecodeRune(high, low)
	if !ok || both == utf8.RuneError {
		r.fail(`\u%04x is half of a surrogate pair`, high)
		return
	}
	b.WriteRune(both)
	r.advance(12)
}

// hex4 reads the digits of a \u escape that begins at i.
func (r *jsonReader) hex4(i int) (rune, bool) {
	if i+6 > len(r.src) || r.src[i] != '\\' || r.src[i+1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(r.src[i+2:i+6]), 16, 16)
	return rune(v), err == nil
}
