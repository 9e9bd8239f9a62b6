package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// findYAMLFault looks for the fault of text that the YAML parser refused, which
// tells little of its place. It knows the layout of YAML, not all of it, and
// returns nil rather than guess.
func findYAMLFault(src string) *syntaxError {
	f := yamlFinder{src: src, anchors: make(map[string]bool)}
	if at, what := badCharacter(src); what != "" {
		f.fail(at, "%s", what)
	}
	for f.fault == nil && !f.unsure && f.pos < len(f.src) {
		f.lineStart()
	}
	if f.unsure {
		return nil
	}
	return f.fault
}

// badCharacter finds a byte that YAML text may not hold.
func badCharacter(src string) (at int, what string) {
	for i, c := range src {
		if c == utf8.RuneError && !strings.HasPrefix(src[i:], "\uFFFD") {
			return i, "text is not UTF-8"
		}
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return i, fmt.Sprintf("control character %q", c)
		}
	}
	return 0, ""
}

// A yamlFinder reads block structure line by line and flow collections and
// quoted text across lines.
type yamlFinder struct {
	src     string
	pos     int
	levels  []yamlLevel // open block collections, outermost first
	last    yamlValue   // what the last entry holds
	anchors map[string]bool
	fault   *syntaxError
	unsure  bool // met what this does not know
}

type yamlLevel struct {
	column int // from 0
	list   bool
}

// yamlValue is what stands after a key or a dash.
type yamlValue uint8

const (
	yamlNothing yamlValue = iota // a deeper collection may follow
	yamlPlain                    // text that deeper lines may continue
	yamlClosed                   // quoted, in brackets, or an alias
)

// fail records a fault at an offset, and ends the search.
func (f *yamlFinder) fail(at int, format string, a ...any) {
	if f.fault != nil {
		return
	}
	begin := strings.LastIndexByte(f.src[:at], '\n') + 1
	f.fault = &syntaxError{
		line:   1 + strings.Count(f.src[:at], "\n"),
		column: 1 + utf8.RuneCountInString(f.src[begin:at]),
		what:   "invalid YAML: " + fmt.Sprintf(format, a...),
	}
	f.pos = len(f.src)
}

func (f *yamlFinder) lineOf(at int) int { return 1 + strings.Count(f.src[:at], "\n") }

// column is the distance of an offset from its line start.
func (f *yamlFinder) column(at int) int { return at - strings.LastIndexByte(f.src[:at], '\n') - 1 }

func (f *yamlFinder) peek() byte {
	if f.pos < len(f.src) {
		return f.src[f.pos]
	}
	return '\n'
}

func (f *yamlFinder) blanks() {
	for f.peek() == ' ' || f.peek() == '\t' {
		f.pos++
	}
}

// rest is the text up to the end of the line.
func (f *yamlFinder) rest() string {
	line, _, _ := strings.Cut(f.src[f.pos:], "\n")
	return strings.TrimRight(line, "\r")
}

func (f *yamlFinder) nextLine() {
	if i := strings.IndexByte(f.src[f.pos:], '\n'); i >= 0 {
		f.pos += i + 1
	} else {
		f.pos = len(f.src)
	}
}

// endOfLine passes blanks and a comment; it reports whether nothing else is left.
func (f *yamlFinder) endOfLine() bool {
	f.blanks()
	if rest := f.rest(); rest == "" || rest[0] == '#' {
		f.nextLine()
		return true
	}
	return false
}

// lineStart reads a line that begins with block structure.
func (f *yamlFinder) lineStart() {
	begin := f.pos
	for f.peek() == ' ' {
		f.pos++
	}
	tab := f.pos
	if f.endOfLine() {
		return
	}
	rest := f.rest()
	switch {
	case f.src[tab] == '\t' && f.last != yamlPlain:
		f.fail(tab, "a tab in the indentation; use blanks")
		return
	case begin == f.pos && (strings.HasPrefix(rest, "---") || strings.HasPrefix(rest, "...")):
		if len(rest) > 3 {
			f.unsure = true
		}
		f.levels, f.last = nil, yamlNothing
		f.nextLine()
		return
	case begin == f.pos && rest[0] == '%', strings.HasPrefix(rest, "? "):
		f.unsure = true
		return
	}
	f.entry(true)
}

// entry reads a list item or a member of a mapping, or text that continues.
func (f *yamlFinder) entry(first bool) {
	begin := f.pos
	if len(f.levels) > maxDepth {
		f.unsure = true
		return
	}
	if f.peek() == '-' && (begin+1 >= len(f.src) || isBlank(f.src[begin+1])) {
		if f.open(begin, true) {
			f.pos++
			f.last = yamlNothing
			if !f.endOfLine() {
				f.entry(false)
			}
		}
		return
	}
	key, isKey := f.key()
	switch {
	case f.fault != nil || f.unsure:
	case isKey:
		if f.open(begin, false) {
			f.last = yamlNothing
			f.value()
		}
	case first && f.last == yamlPlain && f.deeper(begin): // continues the text
		f.pos = begin
		f.nextLine()
	case first && f.inMapping(begin):
		hint := ""
		if strings.Contains(key, ":") {
			hint = "; a blank follows the ':' of a key"
		}
		f.fail(begin, "':' is missing after %s%s", quote(strings.TrimSpace(key)), hint)
	default:
		f.pos = begin
		f.value()
	}
}

func (f *yamlFinder) deeper(at int) bool {
	return len(f.levels) == 0 || f.column(at) > f.levels[len(f.levels)-1].column
}

func (f *yamlFinder) inMapping(at int) bool {
	for _, l := range f.levels {
		if l.column == f.column(at) && !l.list {
			return true
		}
	}
	return false
}

// key reads a key and its colon; without a colon it returns the text of the line.
func (f *yamlFinder) key() (string, bool) {
	begin := f.pos
	f.properties()
	if c := f.peek(); c == '"' || c == '\'' {
		if f.quoted(); f.fault != nil {
			return "", false
		}
	} else if c == '{' || c == '[' || c == '|' || c == '>' {
		return f.rest(), false
	} else {
		for f.peek() != '\n' && !f.colon() && !f.comment() {
			f.pos++
		}
	}
	text := f.src[begin:f.pos]
	f.blanks()
	if !f.colon() {
		return text, false
	}
	f.pos++
	return text, true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// colon reports whether a ':' stands here that ends a key.
func (f *yamlFinder) colon() bool {
	return f.peek() == ':' && (f.pos+1 >= len(f.src) || isBlank(f.src[f.pos+1]))
}

// comment reports whether a comment begins here.
func (f *yamlFinder) comment() bool {
	return f.peek() == '#' && (f.pos == 0 || isBlank(f.src[f.pos-1]))
}

// open makes the collection at a column the innermost one, beginning it if need be.
func (f *yamlFinder) open(at int, list bool) bool {
	column, dedented := f.column(at), false
	for len(f.levels) > 0 && f.top().column > column {
		f.levels, dedented = f.levels[:len(f.levels)-1], true
	}
	switch {
	case len(f.levels) == 0 || f.top().column < column:
		return f.begin(at, yamlLevel{column, list}, dedented)
	case f.top().list == list:
	case list && f.last == yamlNothing && !dedented: // a list may stand below its key
		f.levels = append(f.levels, yamlLevel{column, true})
	case list:
		f.fail(at, "a list item where a key of the mapping should stand")
	case len(f.levels) > 1 && f.levels[len(f.levels)-2].column == column:
		f.levels = f.levels[:len(f.levels)-1]
	default:
		f.fail(at, "a key where an item of the list, with '- ', should stand")
	}
	return f.fault == nil
}

func (f *yamlFinder) top() yamlLevel { return f.levels[len(f.levels)-1] }

// begin opens a deeper collection, if one may stand here.
func (f *yamlFinder) begin(at int, l yamlLevel, dedented bool) bool {
	switch {
	case dedented || len(f.levels) == 0 && l.column > 0 && f.last != yamlNothing:
		f.fail(at, "indented by %d, which is not the indentation of any line this could belong to", l.column)
	case f.last == yamlNothing:
		f.levels = append(f.levels, l)
	default:
		f.fail(at, "indented deeper than the line above, which has a value already")
	}
	return f.fault == nil
}

// properties passes anchors and tags.
func (f *yamlFinder) properties() {
	for f.peek() == '&' || f.peek() == '!' {
		word, _, _ := strings.Cut(f.rest(), " ")
		if word[0] == '&' {
			f.anchors[word[1:]] = true
		}
		f.pos += len(word)
		f.blanks()
	}
}

// value reads what stands after a key or a dash, to the end of its last line.
func (f *yamlFinder) value() {
	f.blanks()
	f.properties()
	if f.endOfLine() {
		return
	}
	f.last = yamlClosed
	switch c := f.peek(); c {
	case '"', '\'':
		begin := f.pos
		f.quoted()
		f.nothingAfter("the text in quotes", begin)
	case '{', '[':
		begin := f.pos
		f.flow()
		f.nothingAfter("the brackets", begin)
	case '|', '>':
		f.block()
	case '*':
		f.alias()
	case '}', ']', ',', '@', '`', '%':
		f.fail(f.pos, "a value cannot begin with %q unless it is quoted", c)
	default:
		f.last = yamlPlain
		f.plain()
	}
}

// plain reads unquoted text to the end of the line.
func (f *yamlFinder) plain() {
	if rest := f.rest(); strings.HasPrefix(rest, "- ") {
		f.fail(f.pos, "a list item cannot stand on the line of its key")
		return
	}
	for f.peek() != '\n' && !f.comment() {
		if f.colon() {
			f.fail(f.pos, "a second ':' on the line; quote the value if it is text")
			return
		}
		f.pos++
	}
	f.nextLine()
}

// nothingAfter expects the end of the line after a value that began at an offset.
func (f *yamlFinder) nothingAfter(what string, begin int) {
	if f.fault != nil || f.endOfLine() {
		return
	}
	switch c := f.peek(); c {
	case ']', '}':
		f.fail(f.pos, "%q closes nothing", c)
	default:
		f.fail(f.pos, "text after %s that began in line %d", what, f.lineOf(begin))
	}
}

// block passes a literal or folded scalar: all lines deeper than its parent.
func (f *yamlFinder) block() {
	header, _, _ := strings.Cut(f.rest(), " #")
	if strings.Trim(header, "|>+-0123456789 \t") != "" {
		f.fail(f.pos, "text on the line of %q; it begins on the next", header[0])
		return
	}
	parent := -1
	if len(f.levels) > 0 {
		parent = f.top().column
	}
	for f.nextLine(); f.pos < len(f.src); f.nextLine() {
		rest := f.rest()
		if text := strings.TrimLeft(rest, " "); text != "" && len(rest)-len(text) <= parent {
			return
		}
	}
}

func (f *yamlFinder) alias() {
	begin := f.pos
	f.reference()
	f.nothingAfter("the alias", begin)
}

// reference passes an anchor, which it remembers, or an alias, which must be known.
func (f *yamlFinder) reference() {
	begin := f.pos
	for f.pos++; !isBlank(f.peek()) && strings.IndexByte(",[]{}", f.peek()) < 0; f.pos++ {
	}
	name := f.src[begin+1 : f.pos]
	if f.src[begin] == '&' {
		f.anchors[name] = true
	} else if !f.anchors[name] {
		f.fail(begin, "no anchor &%s stands before this", name)
	}
}
