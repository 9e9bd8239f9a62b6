package config

import "strings"

// quoted passes text in quotes, over several lines if need be.
func (f *yamlFinder) quoted() {
	begin, quote := f.pos, f.src[f.pos]
	for f.pos++; f.pos < len(f.src); f.pos++ {
		switch c := f.src[f.pos]; {
		case c == '\\' && quote == '"':
			f.escape()
		case c == quote && quote == '\'' && strings.HasPrefix(f.src[f.pos+1:], "'"):
			f.pos++
		case c == quote:
			f.pos++
			return
		}
	}
	f.fail(begin, "the quote is never closed")
}

// escape passes the character that a backslash escapes.
func (f *yamlFinder) escape() {
	if f.pos+1 >= len(f.src) {
		return
	}
	c := f.src[f.pos+1]
	if !strings.ContainsRune("0abtnvfre \"/\\N_LPxuU\t\n\r", rune(c)) {
		f.fail(f.pos, `unknown escape \%c; in single quotes a backslash means itself`, c)
		return
	}
	if hex := f.src[f.pos+1:]; c == 'u' && len(hex) > 2 && (hex[1] == 'd' || hex[1] == 'D') && hex[2] >= '8' {
		f.fail(f.pos, `\u%s is half of a surrogate pair; write the character itself or \U`, hex[1:min(5, len(hex))])
		return
	}
	f.pos++
}

// flow passes a collection in brackets.
func (f *yamlFinder) flow() {
	type bracket struct {
		at     int
		colons int // since the last comma
	}
	var open []bracket
	for f.pos < len(f.src) {
		c := f.src[f.pos]
		switch {
		case c == '{' || c == '[':
			open = append(open, bracket{at: f.pos})
		case c == '}' || c == ']':
			if begin := f.src[open[len(open)-1].at]; c-begin != 2 { // '[' and ']', '{' and '}' are two apart
				f.fail(f.pos, "%q does not close %q of line %d", c, begin, f.lineOf(open[len(open)-1].at))
				return
			}
			if open = open[:len(open)-1]; len(open) == 0 {
				f.pos++
				return
			}
		case c == ',':
			open[len(open)-1].colons = 0
		case (c == '"' || c == '\'') && isFlowBoundary(f.src[f.pos-1]):
			if f.quoted(); f.fault != nil {
				return
			}
			continue
		case (c == '&' || c == '*') && isFlowBoundary(f.src[f.pos-1]):
			f.reference()
			continue
		case f.comment():
			f.nextLine()
			continue
		case f.colon():
			if open[len(open)-1].colons++; open[len(open)-1].colons > 1 {
				f.fail(f.pos, "a second ':' without a ',' before its key")
				return
			}
		case c == '\n' && f.blockFollows():
			at := open[len(open)-1].at
			f.fail(at, "%q is not closed before line %d", f.src[at], f.lineOf(f.pos+1))
			return
		}
		f.pos++
	}
	at := open[len(open)-1].at
	f.fail(at, "%q is never closed", f.src[at])
}

func isFlowBoundary(c byte) bool { return isBlank(c) || strings.IndexByte("{[,:", c) >= 0 }

// blockFollows reports whether the next line looks like block structure around
// the collection in brackets rather than like its contents.
func (f *yamlFinder) blockFollows() bool {
	line, _, _ := strings.Cut(f.src[f.pos+1:], "\n")
	text := strings.TrimLeft(line, " ")
	if len(f.levels) == 0 || text == "" || len(line)-len(text) > f.top().column {
		return false
	}
	if strings.HasPrefix(text, "- ") {
		return true
	}
	word := strings.TrimLeft(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
	return len(word) < len(text) && (word + " ")[0] == ':' && isBlank((word + "  ")[1])
}
