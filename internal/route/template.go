package route

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A template is a compiled URI template: segments of text, * (one segment), ** (any
// number, and the last operator), and variables of these.
type template struct {
	text  string
	re    *regexp.Regexp
	names []string // of the variables, in order: groups 1, 2, ...
	glob  bool     // while compiling: ** was there, no operator may follow
}

// The characters of paths that operators stand for (RFC 3986, as Envoy takes it).
const pathChars = `a-zA-Z0-9\-._~%!$&'()*+,;:@=`

var (
	variableName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*$`)
	literalText  = regexp.MustCompile(`^[` + pathChars + `]+$`)
	templateText = regexp.MustCompile(`^/[` + pathChars + `/{}]*$`)
	rewriteText  = regexp.MustCompile(`^[` + pathChars + `/]*$`)
)

const (
	maxVariables = 5
	maxNameBytes = 16
)

func (t *template) fits(path string) bool { return t != nil && t.re.MatchString(path) }

// parseTemplate compiles a path template; nil with an error, whose text is Envoy's.
func parseTemplate(text string) (*template, error) {
	t := &template{text: text}
	expr, err := t.segments(text)
	if err == nil && len(t.names) > maxVariables {
		err = fmt.Errorf("Exceeded variable count limit (%d)", maxVariables) //nolint:staticcheck // Envoy's text
	}
	if err == nil {
		t.re, err = regexp.Compile(`\A` + expr + `\z`)
	}
	if err != nil {
		return nil, fmt.Errorf("path_match_policy.path_template %s is invalid: %w", text, err)
	}
	return t, nil
}

// segments turns a template into a regular expression.
func (t *template) segments(text string) (string, error) {
	if !templateText.MatchString(text) {
		return "", invalid("pattern", text)
	}
	var b strings.Builder
	for more := true; more; {
		var one string
		one, text, more = cutSegment(text[1:])
		expr, err := t.segment(one, !more)
		if err != nil {
			return "", err
		}
		b.WriteString("/" + expr)
	}
	return b.String(), nil
}

// cutSegment cuts text before the next slash that is in no variable at its beginning.
func cutSegment(text string) (one, rest string, more bool) {
	from := 0
	if strings.HasPrefix(text, "{") {
		from = max(strings.IndexByte(text, '}'), 0)
	}
	i := strings.IndexByte(text[from:], '/')
	if i < 0 {
		return text, "", false
	}
	return text[:from+i], text[from+i:], true
}

func (t *template) segment(text string, last bool) (string, error) {
	if text == "" && last { // a slash at the end
		return "", nil
	}
	if text != "" && text[0] == '*' {
		op, expr, err := t.operator(text)
		suffix := text[op:]
		switch {
		case err != nil || suffix == "":
			return expr, err
		case !last:
			return "", errors.New("Prefix match not supported.") //nolint:staticcheck // Envoy's text
		}
		return expr + regexp.QuoteMeta(suffix), literal("literal", suffix)
	}
	before, rest, found := strings.Cut(text, "{")
	if !found {
		return regexp.QuoteMeta(text), literal("literal", text)
	}
	of, after, closed := strings.Cut(rest, "}")
	switch {
	case before != "" && (!closed || !literalText.MatchString(before)):
		return "", invalid("literal", text)
	case !closed:
		return "", fmt.Errorf("Unmatched variable bracket in mixed pattern: \"%s\"", text) //nolint:staticcheck // Envoy's text
	case after != "" && !literalText.MatchString(after):
		return "", invalid("suffix literal", after)
	}
	expr, err := t.variable(of)
	return regexp.QuoteMeta(before) + "(" + expr + ")" + regexp.QuoteMeta(after), err
}

// operator compiles the operator that text begins with and returns its length.
func (t *template) operator(text string) (int, string, error) {
	if t.glob {
		return 1, "", errors.New("Glob after text glob.") //nolint:staticcheck // Envoy's text
	}
	if strings.HasPrefix(text, "**") {
		t.glob = true
		return 2, `[` + pathChars + `/]*`, nil
	}
	return 1, `[` + pathChars + `]+`, nil
}

// variable compiles name or name=pattern.
func (t *template) variable(text string) (string, error) {
	name, of, given := strings.Cut(text, "=")
	switch {
	case len(name) < 1 || len(name) > maxNameBytes:
		//nolint:staticcheck // Envoy's text
		return "", fmt.Errorf("Invalid variable name length (length of \"%s\" should be at least 1 and no more than %d)", name, maxNameBytes)
	case !variableName.MatchString(name):
		return "", invalid("variable name", name)
	case slices.Contains(t.names, name):
		return "", fmt.Errorf("Repeated variable name: \"%s\"", name) //nolint:staticcheck // Envoy's text
	case given && of == "":
		return "", errors.New("Empty variable match") //nolint:staticcheck // Envoy's text
	case !given:
		of = "*"
	}
	t.names = append(t.names, name)
	var exprs []string
	for _, one := range strings.Split(of, "/") {
		expr, err := regexp.QuoteMeta(one), literal("literal", one)
		if strings.HasPrefix(one, "*") {
			var n int
			if n, expr, err = t.operator(one); err == nil && n < len(one) {
				err = invalid("variable match", one[n:])
			}
		}
		if err != nil {
			return "", err
		}
		exprs = append(exprs, expr)
	}
	return strings.Join(exprs, "/"), nil
}

func literal(what, text string) error {
	if !literalText.MatchString(text) {
		return invalid(what, text)
	}
	return nil
}

func invalid(what, text string) error {
	return fmt.Errorf("Invalid %s: \"%s\"", what, text) //nolint:staticcheck // Envoy's text
}

// A segment of a rewritten path is text, and a variable after it.
type segment struct {
	text     string
	variable int // of the template, from 1; 0: none
}

// parseRewrite compiles what a path is rewritten to. Its errors are Envoy's.
func (t *template) parseRewrite(text string) ([]segment, error) {
	bad := fmt.Errorf("path_rewrite_policy.path_template_rewrite %s is invalid", text)
	if !strings.HasPrefix(text, "/") {
		return nil, bad
	}
	var out []segment
	for rest := text; rest != ""; {
		plain, after, found := strings.Cut(rest, "{")
		name, next, closed := strings.Cut(after, "}")
		if !rewriteText.MatchString(plain) || found != closed {
			return nil, bad
		}
		rest = next
		s := segment{text: plain}
		if found {
			if s.variable = slices.Index(t.names, name) + 1; s.variable == 0 {
				return nil, fmt.Errorf("mismatch between variables in path_match_policy %s and path_rewrite_policy %s", t.text, text)
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// rewrite returns the new path of one that fits; false if it does not.
func (t *template) rewrite(to []segment, path string) (string, bool) {
	m := t.re.FindStringSubmatch(path)
	if m == nil {
		return path, false
	}
	var b strings.Builder
	for _, s := range to {
		b.WriteString(s.text)
		if s.variable > 0 {
			b.WriteString(m[s.variable])
		}
	}
	return b.String(), true
}
