package config

import (
	"strconv"
	"strings"
)

// A place is a value of a configuration and where it stands. Places form a tree
// in the shape of the message: through Anys and TypedStructs, without wrappers.
// A nil place is one that is not known.
type place struct {
	parent *place
	step   step
	pos    Pos
	kids   map[string]*place // by field name, or by key
	items  []*place          // of a list

	failed      bool // its value could not be read
	null        bool // its value is null, that is absent
	whole       bool // a merge replaces it as a whole: an Any, an entry of a map
	typedStruct bool // an Any that was written as a TypedStruct
}

// A step is how a place is reached from its parent.
type step struct {
	kind  stepKind
	name  string // field name or key
	index int
}

type stepKind uint8

const (
	byField stepKind = iota
	byIndex
	byKey
)

func (s step) String() string {
	switch s.kind {
	case byIndex:
		return "[" + strconv.Itoa(s.index) + "]"
	case byKey:
		return "[" + strconv.Quote(s.name) + "]"
	default:
		return s.name
	}
}

// child adds a place; one that was there under the same name is dropped, as the
// value is when a key comes twice.
func (p *place) child(s step, pos Pos) *place {
	c := &place{parent: p, step: s, pos: pos}
	if s.kind == byIndex {
		p.items = append(p.items, c)
		return c
	}
	if p.kids == nil {
		p.kids = make(map[string]*place)
	}
	p.kids[s.name] = c
	return c
}

// get returns the place one step down, or nil.
func (p *place) get(s step) *place {
	if p == nil {
		return nil
	}
	if s.kind == byIndex {
		if s.index < 0 || s.index >= len(p.items) {
			return nil
		}
		return p.items[s.index]
	}
	return p.kids[s.name]
}

// path renders the field path of p.
func (p *place) path() string {
	if p == nil || p.parent == nil {
		return ""
	}
	return joinPath(p.parent.path(), p.step.String())
}

func joinPath(a, b string) string {
	if a == "" || b == "" || b[0] == '[' {
		return a + b
	}
	return a + "." + b
}

// nearest returns the position of p or of the nearest place around it that has one.
func (p *place) nearest() Pos {
	for q := p; q != nil; q = q.parent {
		if q.pos.Line > 0 {
			return q.pos
		}
	}
	if p != nil {
		return p.pos
	}
	return Pos{}
}

// find walks a field path as far as it is known.
func (p *place) find(path string) (found *place, exact bool) {
	for path != "" {
		s, rest, ok := cutStep(path)
		next := p.get(s)
		if !ok || next == nil {
			return p, false
		}
		p, path = next, rest
	}
	return p, p != nil
}

// cutStep splits the first step off a field path.
func cutStep(path string) (s step, rest string, ok bool) {
	if path[0] != '[' {
		path = strings.TrimPrefix(path, ".")
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		return step{kind: byField, name: path[:end]}, path[end:], end > 0
	}
	path = path[1:]
	if quoted, err := strconv.QuotedPrefix(path); err == nil {
		name, _ := strconv.Unquote(quoted)
		rest, ok = strings.CutPrefix(path[len(quoted):], "]")
		return step{kind: byKey, name: name}, rest, ok
	}
	digits, rest, ok := strings.Cut(path, "]")
	index, err := strconv.Atoi(digits)
	return step{kind: byIndex, index: index}, rest, ok && err == nil
}
