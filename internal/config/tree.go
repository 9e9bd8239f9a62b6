package config

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// A node is a value as written, the common form of YAML and JSON. Nodes are
// shared where YAML has aliases, and never form a cycle.
type node struct {
	kind         kind
	line, column int
	value        string // of a scalar: "true" or "false", a JSON number, or the text
	source       string // of a scalar that YAML reads as something else: as written
	items        []*node
	pairs        []pair
}

type pair struct{ key, value *node }

type kind uint8

const (
	nullKind kind = iota
	boolKind
	numberKind
	textKind
	listKind
	dictKind
)

// written is the scalar as the user wrote it.
func (n *node) written() string {
	if n.source != "" {
		return n.source
	}
	return n.value
}

// String describes n for a message.
func (n *node) String() string {
	switch n.kind {
	case nullKind:
		return "null"
	case boolKind, numberKind:
		if n.source != "" && n.source != n.value {
			return n.source + " (which is " + n.value + ")"
		}
		return n.value
	case textKind:
		return quote(n.value)
	case listKind:
		return "a list"
	default:
		return "a mapping"
	}
}

// quote renders text from a configuration, shortened if it is long.
func quote(s string) string {
	const most = 80
	if len(s) <= most {
		return strconv.Quote(s)
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + fmt.Sprintf("... (%d bytes)", len(s))
}
