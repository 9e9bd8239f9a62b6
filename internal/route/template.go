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
}

// The characters of paths that operators stand for (RFC 3986, as Envoy takes it).
const pathChars = `a-zA-Z0-9\-._~%!$&'()*+,;:@=`

var (
	variableName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]{0,15}$`)
	literalText  = regexp.MustCompile(`^[` + pathChars + `]*$`)
)

const maxVariables = 5

func (t *template) fits(path string) bool { return t != nil && t.re.MatchString(path) }

// parseTemplate compiles a path template; nil with an error.
func parseTemplate(text string) (*template, error) {
	t := &template{text: text}
	expr, err := t.expression(text)
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

// expression turns a template into a regular expression.
func (t *template) expression(text string) (string, error) {
	if !strings.HasPrefix(text, "/") {
		return "", errors.New("it must begin with '/'")
	}
	var b strings.Builder
	last := false // ** was there: no operator may follow
	for text != "" {
		n, expr, operator, rest, err := t.piece(text)
		if err != nil {
			return "", err
		}
		if operator && last {
			return "", errors.New("there is an operator after '**'")
		}
		last = last || rest
		b.WriteString(expr)
		text = text[n:]
	}
	return b.String(), nil
}

// piece compiles what text begins with and returns its length; operator tells that it is
// one or has one, rest that it is **.
func (t *template) piece(text string) (n int, expr string, operator, rest bool, err error) {
	switch {
	case strings.HasPrefix(text, "**"):
		return 2, `[` + pathChars + `/]*`, true, true, nil
	case text[0] == '*':
		return 1, `[` + pathChars + `]+`, true, false, nil
	case text[0] == '/':
		return 1, `/`, false, false, nil
	case text[0] == '{':
		n = strings.IndexByte(text, '}')
		if n < 0 {
			return 0, "", false, false, fmt.Errorf("Unmatched variable bracket in \"%s\"", text) //nolint:staticcheck // Envoy's text
		}
		expr, operator, rest, err = t.variable(text[1:n])
		return n + 1, expr, operator, rest, err
	}
	n = strings.IndexAny(text, "/*{")
	if n < 0 {
		n = len(text)
	}
	if !literalText.MatchString(text[:n]) {
		return 0, "", false, false, fmt.Errorf("Invalid literal: \"%s\"", text[:n]) //nolint:staticcheck // Envoy's text
	}
	return n, regexp.QuoteMeta(text[:n]), false, false, nil
}

// variable compiles name or name=pattern.
func (t *template) variable(text string) (expr string, operator, rest bool, err error) {
	name, of, given := strings.Cut(text, "=")
	switch {
	case !variableName.MatchString(name):
		return "", false, false, fmt.Errorf("Invalid variable name: \"%s\"", name) //nolint:staticcheck // Envoy's text
	case slices.Contains(t.names, name):
		return "", false, false, fmt.Errorf("Repeated variable name: \"%s\"", name) //nolint:staticcheck // Envoy's text
	case !given:
		of = "*"
	case of == "":
		return "", false, false, errors.New("Empty variable match") //nolint:staticcheck // Envoy's text
	}
	t.names = append(t.names, name)
	var b strings.Builder
	for of != "" {
		if of[0] == '{' {
			return "", false, false, fmt.Errorf("Invalid variable match: \"%s\"", text) //nolint:staticcheck // Envoy's text
		}
		n, e, op, all, err := t.piece(of)
		if err != nil {
			return "", false, false, err
		}
		if op && rest {
			return "", false, false, errors.New("there is an operator after '**'")
		}
		operator, rest = operator || op, rest || all
		b.WriteString(e)
		of = of[n:]
	}
	return "(" + b.String() + ")", operator, rest, nil
}

// A segment of a rewritten path is text, or a variable.
type segment struct {
	text     string
	variable int // of the template, from 1; 0: text
}

// parseRewrite compiles what a path is rewritten to.
func (t *template) parseRewrite(text string) ([]segment, error) {
	if !strings.HasPrefix(text, "/") {
		return nil, errors.New("it must begin with '/'")
	}
	var out []segment
	for text != "" {
		if text[0] != '{' {
			literal, _, _ := strings.Cut(text, "{")
			if strings.Contains(literal, "}") {
				return nil, errors.New("Unmatched variable bracket") //nolint:staticcheck // Envoy's text
			}
			out, text = append(out, segment{text: literal}), text[len(literal):]
			continue
		}
		name, rest, ok := strings.Cut(text[1:], "}")
		switch i := slices.Index(t.names, name); {
		case !ok:
			return nil, errors.New("Unmatched variable bracket") //nolint:staticcheck // Envoy's text
		case strings.HasPrefix(rest, "{"):
			return nil, errors.New("Invalid rewrite variable placement") //nolint:staticcheck // Envoy's text
		case i < 0:
			return nil, fmt.Errorf("mismatch between variables in path_match_policy %s and path_rewrite_policy", t.text)
		default:
			out, text = append(out, segment{variable: i + 1}), rest
		}
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
