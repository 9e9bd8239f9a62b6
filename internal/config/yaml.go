package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseYAML reads the first document of data.
func parseYAML(data []byte, note noteFunc) (*node, *syntaxError) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	doc, err := nextDocument(dec)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, locateYAML(data, err)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	c := yamlConverter{done: make(map[*yaml.Node]*node)}
	n := c.convert(doc.Content[0], 0)
	if c.err != nil {
		return nil, c.err
	}
	// The cheap look comes first: most files hold no marker at all.
	if bytes.Contains(data, []byte("\n---")) {
		if next, err := nextDocument(dec); err == nil {
			note(next.Line, next.Column, Warning, "a second YAML document: only the first is read")
		}
	}
	return n, nil
}

// nextDocument guards against the panics that the YAML parser has had on
// malformed input.
func nextDocument(dec *yaml.Decoder) (doc *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	doc = &yaml.Node{}
	return doc, dec.Decode(doc)
}

// A yamlConverter makes nodes of YAML nodes.
type yamlConverter struct {
	done map[*yaml.Node]*node // of anchored nodes; nil while under way
	err  *syntaxError
}

func (c *yamlConverter) fail(y *yaml.Node, format string, a ...any) *node {
	if c.err == nil {
		c.err = &syntaxError{y.Line, y.Column, fmt.Sprintf(format, a...)}
	}
	return nil
}

func (c *yamlConverter) convert(y *yaml.Node, depth int) *node {
	if depth > maxDepth {
		return c.fail(y, "nested deeper than %d levels", maxDepth)
	}
	if y.Kind == yaml.AliasNode {
		n := c.done[y.Alias]
		if n == nil {
			return c.fail(y, "anchor %s contains itself", quote(y.Value))
		}
		return n
	}
	if y.Anchor == "" {
		return c.value(y, depth)
	}
	c.done[y] = nil
	n := c.value(y, depth)
	c.done[y] = n
	return n
}

func (c *yamlConverter) value(y *yaml.Node, depth int) *node {
	n := &node{line: y.Line, column: y.Column}
	switch y.Kind {
	case yaml.ScalarNode:
		if isText(y) {
			n.kind, n.value = textKind, y.Value
		} else {
			n.plain(y.Value)
		}
	case yaml.SequenceNode:
		n.kind = listKind
		n.items = make([]*node, 0, len(y.Content))
		for i := 0; i < len(y.Content) && c.err == nil; i++ {
			n.items = append(n.items, c.convert(y.Content[i], depth+1))
		}
	case yaml.MappingNode:
		n.kind = dictKind
		c.mapping(n, y, depth)
	}
	return n
}

// isText reports whether a scalar is text whatever it looks like: it is quoted, a
// block, or tagged so. Any other tag makes even quoted text a plain scalar.
func isText(y *yaml.Node) bool {
	if y.Style&yaml.TaggedStyle != 0 {
		return y.Tag == "!" || y.ShortTag() == "!!str"
	}
	return y.Style != 0
}

func (c *yamlConverter) mapping(n *node, y *yaml.Node, depth int) {
	n.pairs = make([]pair, 0, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content) && c.err == nil; i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		value := c.convert(v, depth+1) // also of an ignored key: it may hold anchors
		if k.Tag == "!ignore" {        // Envoy: a place for anchors
			continue
		}
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			c.fail(k, "a key must be a plain value, not a list or a mapping")
			return
		}
		key := &node{kind: textKind, line: y.Content[i].Line, column: y.Content[i].Column, value: k.Value}
		n.pairs = append(n.pairs, pair{key, value})
	}
}

// plain gives an unquoted scalar the type that Envoy 1.40 does: yaml-cpp's
// booleans, and integers that fit 32 bits; all else, fractions and large
// integers too, is text, which the field's type then reads.
func (n *node) plain(s string) {
	n.value, n.source = s, s
	switch s {
	case "", "~", "null", "Null", "NULL":
		n.kind = nullKind
		return
	}
	if b, ok := yamlBool(s); ok {
		n.kind, n.value = boolKind, strconv.FormatBool(b)
		return
	}
	n.kind = textKind
	i, ok := yamlInt(s)
	if !ok {
		return
	}
	n.value = strconv.FormatInt(i, 10)
	if i >= math.MinInt32 && i <= math.MaxInt32 {
		n.kind = numberKind
	}
}

// yamlBool reads the booleans of YAML 1.1 in lower, upper or capitalised case.
func yamlBool(s string) (value, ok bool) {
	if len(s) > len("false") {
		return false, false
	}
	lower := strings.ToLower(s)
	if s != lower && s != strings.ToUpper(s) && s != strings.ToUpper(s[:1])+lower[1:] {
		return false, false
	}
	switch lower {
	case "y", "yes", "true", "on":
		return true, true
	case "n", "no", "false", "off":
		return false, true
	}
	return false, false
}

// yamlInt reads a decimal, hexadecimal (0x) or octal (0) integer.
func yamlInt(s string) (int64, bool) {
	digits := strings.TrimLeft(s, "+-")
	if digits == "" || len(s)-len(digits) > 1 || strings.ContainsAny(digits, "_oObB") && !isHex(digits) {
		return 0, false
	}
	i, err := strconv.ParseInt(s, 0, 64)
	return i, err == nil
}

func isHex(s string) bool {
	return len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') && !strings.Contains(s, "_")
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// locateYAML turns an error of the YAML parser, which tells a line at best, and
// for some errors that of the enclosing collection, into one with a position:
// that of the fault our own scanner finds, or else the start of the line.
func locateYAML(data []byte, err error) *syntaxError {
	if fault := findYAMLFault(string(data)); fault != nil {
		return fault
	}
	line, what := 1, err.Error()
	if m := yamlLine.FindStringSubmatch(what); m != nil {
		what = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	return &syntaxError{line, firstColumn(data, line), "invalid YAML: " + what}
}

// firstColumn returns where the text of a line begins.
func firstColumn(data []byte, line int) int {
	for ; line > 1; line-- {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			return 1
		}
		data = data[i+1:]
	}
	return 1 + len(data) - len(bytes.TrimLeft(data, " "))
}
