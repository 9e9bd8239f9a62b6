package config

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// textPlaces notes where the values of a text protobuf stand. The text has been read
// by prototext before, so it is well formed; at anything unexpected the scan ends,
// and what comes after has the place of what is around it.
func textPlaces(file string, data []byte, md protoreflect.MessageDescriptor, root *place) {
	s := &textScan{file: file, data: data, line: 1, column: 1}
	s.message(root, md, 0)
}

// maxTextDepth is far above what prototext has read.
const maxTextDepth = 10_000

type textScan struct {
	file         string
	data         []byte
	line, column int
	broken       bool
	key          string // of the last map entry
}

func (s *textScan) pos() Pos { return Pos{s.file, s.line, s.column} }

// peek returns the next byte, 0 at the end.
func (s *textScan) peek() byte {
	if len(s.data) == 0 || s.broken {
		return 0
	}
	return s.data[0]
}

func (s *textScan) next() byte {
	c := s.peek()
	if c == 0 {
		return 0
	}
	s.data = s.data[1:]
	switch {
	case c == '\n':
		s.line, s.column = s.line+1, 1
	case c&0xc0 != 0x80: // columns count characters
		s.column++
	}
	return c
}

// space skips blanks, comments and what separates fields.
func (s *textScan) space() {
	for {
		switch s.peek() {
		case ' ', '\t', '\r', '\n', '\v', '\f', ';', ',', ':':
			s.next()
		case '#':
			for c := s.peek(); c != 0 && c != '\n'; c = s.peek() {
				s.next()
			}
		default:
			return
		}
	}
}

// message notes the fields up to the end of the message that is open. md is nil when
// its type is not known.
func (s *textScan) message(p *place, md protoreflect.MessageDescriptor, depth int) {
	s.broken = s.broken || depth > maxTextDepth
	for {
		s.space()
		switch c := s.peek(); {
		case c == 0:
			return
		case c == '}' || c == '>':
			s.next()
			return
		case c == '[': // the type of an Any, whose fields follow in its place
			s.any(p, depth)
		default:
			s.field(p, md, depth)
		}
	}
}

func (s *textScan) any(p *place, depth int) {
	s.next()
	url := s.take(func(c byte) bool { return c != ']' })
	s.next()
	s.space()
	var md protoreflect.MessageDescriptor
	if t, err := protoregistry.GlobalTypes.FindMessageByURL(strings.TrimSpace(url)); err == nil {
		md = t.Descriptor()
	}
	if c := s.next(); c != '{' && c != '<' {
		s.broken = true
		return
	}
	s.message(p, md, depth+1)
}

func (s *textScan) take(in func(byte) bool) string {
	begin := s.data
	n := 0
	for c := s.peek(); c != 0 && in(c); c = s.peek() {
		s.next()
		n++
	}
	return string(begin[:n])
}

func inName(c byte) bool {
	return c == '_' || c == '.' || c == '-' || c == '+' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (s *textScan) field(p *place, md protoreflect.MessageDescriptor, depth int) {
	at := s.pos()
	name := s.take(inName)
	if name == "" {
		s.broken = true
		return
	}
	var fd protoreflect.FieldDescriptor
	if md != nil {
		fd = md.Fields().ByTextName(name)
	}
	s.space()
	if s.peek() != '[' {
		s.value(p, name, fd, at, md != nil && md.IsMapEntry(), depth)
		return
	}
	for s.next(); ; {
		s.space()
		if c := s.peek(); c == ']' || c == 0 {
			s.next()
			return
		}
		s.value(p, name, fd, s.pos(), false, depth)
	}
}

// value notes one value of a field: a message stands where its key does, a scalar
// where its text does.
func (s *textScan) value(p *place, name string, fd protoreflect.FieldDescriptor, at Pos, entry bool, depth int) {
	var md protoreflect.MessageDescriptor
	if fd != nil {
		md = fd.Message()
	}
	if c := s.peek(); c == '{' || c == '<' {
		s.next()
		if fd != nil && fd.IsMap() {
			s.entry(s.list(p, name, at), md, at, depth)
			return
		}
		s.message(s.place(p, name, fd, at), md, depth+1)
		return
	}
	s.place(p, name, fd, s.pos())
	text := s.scalar()
	if entry && name == "key" {
		s.key = text
	}
}

// entry notes an entry of a map under its key.
func (s *textScan) entry(m *place, md protoreflect.MessageDescriptor, at Pos, depth int) {
	e, around := &place{}, s.key
	s.key = ""
	s.message(e, md, depth+1)
	c := m.child(step{kind: byKey, name: s.key}, at)
	s.key = around
	if v := e.get(step{name: "value"}); v != nil {
		c.pos, c.kids, c.items = v.pos, v.kids, v.items
		for _, kid := range c.kids {
			kid.parent = c
		}
	}
}

// list is the place of a repeated field, made with its first value.
func (s *textScan) list(p *place, name string, at Pos) *place {
	if l := p.get(step{name: name}); l != nil {
		return l
	}
	return p.child(step{name: name}, at)
}

func (s *textScan) place(p *place, name string, fd protoreflect.FieldDescriptor, at Pos) *place {
	if fd != nil && fd.IsList() {
		return s.list(p, name, at).child(step{kind: byIndex, index: len(s.list(p, name, at).items)}, at)
	}
	return p.child(step{name: name}, at)
}

// scalar skips a value and returns its text, without quotes.
func (s *textScan) scalar() string {
	if c := s.peek(); c != '"' && c != '\'' {
		text := s.take(inName)
		if text == "" {
			s.broken = true
		}
		return text
	}
	var text strings.Builder
	for c := s.peek(); c == '"' || c == '\''; c = s.peek() { // adjacent literals are one
		text.WriteString(s.quoted())
		s.space()
	}
	return text.String()
}

func (s *textScan) quoted() string {
	begin, n := s.data, 1
	quote := s.next()
	for c := s.next(); c != 0 && c != quote; c = s.next() {
		n++
		if c == '\\' {
			s.next()
			n++
		}
	}
	raw := string(begin[1:min(n, len(begin))])
	if text, err := strconv.Unquote(`"` + strings.ReplaceAll(raw, `"`, `\"`) + `"`); err == nil {
		return text
	}
	return raw
}
