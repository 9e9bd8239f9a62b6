package httpmatch

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/stats"
)

// Regex compiles a matcher of whole strings (RE2::FullMatch).
func Regex(s *extension.Scope, m *matcherv3.RegexMatcher) func(string) bool {
	re, ok := pattern(s, m, true)
	if !ok {
		return never
	}
	return func(v string) bool { return re.MatchString(latin1(v)) }
}

// pattern compiles a regular expression over Latin-1, in which each byte is a character:
// so are Envoy's since 1.39.1.
func pattern(s *extension.Scope, m *matcherv3.RegexMatcher, whole bool) (*regexp.Regexp, bool) {
	if m == nil {
		s.Errorf("is required")
		return nil, false
	}
	regexFields.Check(s, m)
	text := latin1(m.Regex)
	re, err := regexp.Compile(text)
	if err == nil && whole {
		re, err = regexp.Compile(`\A(?:` + text + `)\z`)
	}
	if err != nil {
		s.Field("regex").Errorf("%s", stats.RE2Error(err))
	}
	return re, err == nil
}

// latin1 turns bytes into the characters that they are in Latin-1.
func latin1(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return expand(s)
		}
	}
	return s
}

func expand(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 8)
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// bytesOf is the way back from latin1.
func bytesOf(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return shrink(s)
		}
	}
	return s
}

func shrink(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// A Substitution replaces every match of a regular expression.
type Substitution struct {
	re    *regexp.Regexp
	parts []part
}

// A part of what is put in place of a match: text, or a group of it.
type part struct {
	text  string
	group int // -1: text
}

// Substitute compiles a substitution; nil if there is a fault.
func Substitute(s *extension.Scope, m *matcherv3.RegexMatchAndSubstitute) *Substitution {
	substituteFields.Check(s, m)
	re, ok := pattern(s.Field("pattern"), m.GetPattern(), false)
	if !ok {
		return nil
	}
	parts, err := rewriteParts(latin1(m.GetSubstitution()), re.NumSubexp())
	if err != nil {
		s.Field("substitution").Errorf("%v", err)
		return nil
	}
	return &Substitution{re, parts}
}

// rewriteParts reads RE2's rewrite syntax: \0 to \9 and \\. The errors are RE2's.
func rewriteParts(text string, groups int) ([]part, error) {
	var out []part
	var literal strings.Builder
	highest := -1
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			literal.WriteByte(text[i])
			continue
		}
		i++
		switch {
		case i == len(text):
			return nil, fmt.Errorf("Rewrite schema error: '\\' not allowed at end.") //nolint:staticcheck // RE2's text
		case text[i] == '\\':
			literal.WriteByte('\\')
		case text[i] >= '0' && text[i] <= '9':
			n := int(text[i] - '0')
			highest = max(highest, n)
			out = append(out, part{literal.String(), -1}, part{"", n})
			literal.Reset()
		default:
			return nil, fmt.Errorf("Rewrite schema error: '\\' must be followed by a digit or '\\'.") //nolint:staticcheck // RE2's text
		}
	}
	if highest > groups {
		return nil, fmt.Errorf("Rewrite schema requests %d matches, but the regexp only has %d parenthesized subexpressions.", highest, groups) //nolint:staticcheck // RE2's text
	}
	return append(out, part{literal.String(), -1}), nil
}

// Replace returns text with every match replaced, and whether there was one.
func (x *Substitution) Replace(text string) (string, bool) {
	in := latin1(text)
	found := x.re.FindAllStringSubmatchIndex(in, -1)
	if found == nil {
		return text, false
	}
	var out []byte
	at := 0
	for _, m := range found {
		out = append(out, in[at:m[0]]...)
		for _, p := range x.parts {
			out = append(out, p.text...)
			if p.group >= 0 && m[2*p.group] >= 0 {
				out = append(out, in[m[2*p.group]:m[2*p.group+1]]...)
			}
		}
		at = m[1]
	}
	return bytesOf(string(append(out, in[at:]...))), true
}
