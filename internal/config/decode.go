package config

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// A decoder fills messages from nodes. It goes on after a fault, leaving the
// faulty field as it was, so that one run reports everything.
type decoder struct {
	file    string
	report  *report
	unknown Severity // of unknown fields
	depth   int
	budget  int  // of values that may still come: aliases repeat some
	spent   bool // the budget, and that is reported
	// enclosing holds the types around the value, for hints about indentation.
	enclosing []protoreflect.MessageDescriptor
	urls      urlHints
}

func (d *decoder) pos(n *node) Pos { return Pos{d.file, n.line, n.column} }

// fault reports an error at n, which is (part of) the value at the place.
func (d *decoder) fault(n *node, at *place, i Issue) {
	i.Pos = d.pos(n)
	d.report.add(finding{Issue: i, at: at})
}

// mismatch reports that n is not what the place wants.
func (d *decoder) mismatch(n *node, at *place, expected, suggestion string) {
	at.failed = true
	d.fault(n, at, Issue{Message: "got " + n.String(), Expected: expected, Suggestion: suggestion})
}

// enter counts a level of nesting, and the values that aliases multiply.
func (d *decoder) enter(n *node, at *place) bool {
	d.budget -= 1 + len(n.items) + len(n.pairs)
	switch {
	case d.report.full():
		return false
	case d.depth >= maxDepth:
		at.failed = true
		d.fault(n, at, Issue{Message: fmt.Sprintf("nested deeper than %d levels", maxDepth)})
		return false
	case d.budget < 0:
		if !d.spent {
			d.fault(n, at, Issue{Message: fmt.Sprintf("aliases expand to more than %d values", maxAliased)})
		}
		d.spent = true
		return false
	}
	d.depth++
	return true
}

func (d *decoder) leave() { d.depth-- }

// message fills m from n.
func (d *decoder) message(n *node, m protoreflect.Message, at *place) {
	if !d.enter(n, at) {
		return
	}
	defer d.leave()
	if d.wellKnown(n, m, at) {
		return
	}
	if n.kind != dictKind {
		d.mismatch(n, at, "a mapping with fields of "+string(m.Descriptor().FullName()), "")
		return
	}
	d.fields(n.pairs, m, at)
}

// fields fills m from the members of a mapping.
func (d *decoder) fields(pairs []pair, m protoreflect.Message, at *place) {
	md := m.Descriptor()
	d.enclosing = append(d.enclosing, md)
	defer func() { d.enclosing = d.enclosing[:len(d.enclosing)-1] }()
	seen := make([]seenField, 0, len(pairs))
	for _, p := range pairs {
		fd := fieldByName(md, p.key.value)
		if fd == nil {
			d.unknownField(p, m, at)
			continue
		}
		if i := indexField(seen, fd); i >= 0 {
			d.duplicate(p.key, seen[i].key, at)
			m.Clear(fd)
			seen[i].key = p.key
		} else {
			seen = append(seen, seenField{fd, p.key})
		}
		d.field(p, fd, m, at)
	}
}

type seenField struct {
	fd  protoreflect.FieldDescriptor
	key *node
}

func indexField(seen []seenField, fd protoreflect.FieldDescriptor) int {
	for i := range seen {
		if seen[i].fd == fd {
			return i
		}
	}
	return -1
}

// fieldByName takes the name of the API definition and the one of protobuf's JSON.
func fieldByName(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByName(protoreflect.Name(name)); fd != nil {
		return fd
	}
	return md.Fields().ByJSONName(name)
}

// duplicate warns of a key that comes twice; Envoy takes the last without a word.
func (d *decoder) duplicate(key, first *node, at *place) {
	d.fault(key, at, Issue{
		Severity: Warning,
		Message:  fmt.Sprintf("key %s is there twice (first in line %d): the last one counts", quote(key.value), first.line),
	})
}

// field fills one field of m.
func (d *decoder) field(p pair, fd protoreflect.FieldDescriptor, m protoreflect.Message, parent *place) {
	at := parent.child(step{kind: byField, name: string(fd.Name())}, d.placeOf(p))
	if p.value.kind == nullKind && !takesNull(fd) {
		at.null = true
		return
	}
	if !d.claimOneof(p, fd, m, at) {
		return
	}
	switch {
	case fd.IsMap():
		d.mapping(p.value, fd, m, at)
	case fd.IsList():
		d.list(p.value, fd, m.Mutable(fd).List(), at)
	case fd.Message() != nil:
		at.whole = fd.Message().FullName() == anyName
		d.message(p.value, m.Mutable(fd).Message(), at)
	default:
		if v, ok := d.scalar(p.value, fd, at); ok {
			m.Set(fd, v)
		}
	}
}

// placeOf is where an entry stands: a scalar at its text, a collection at its key.
func (d *decoder) placeOf(p pair) Pos {
	if p.value.kind == listKind || p.value.kind == dictKind || p.value.kind == nullKind {
		return d.pos(p.key)
	}
	return d.pos(p.value)
}

// takesNull reports whether null is a value of a field rather than its absence.
func takesNull(fd protoreflect.FieldDescriptor) bool {
	if fd.IsList() || fd.IsMap() {
		return false
	}
	if md := fd.Message(); md != nil {
		return md.FullName() == valueName
	}
	return fd.Enum() != nil && fd.Enum().FullName() == nullEnumName
}

// claimOneof reports a second member of a oneof.
func (d *decoder) claimOneof(p pair, fd protoreflect.FieldDescriptor, m protoreflect.Message, at *place) bool {
	od := fd.ContainingOneof()
	if od == nil || od.IsSynthetic() {
		return true
	}
	set := m.WhichOneof(od)
	if set == nil || set == fd {
		return true
	}
	at.failed = true
	first := at.parent.get(step{kind: byField, name: string(set.Name())})
	d.fault(p.key, at, Issue{
		Message:  fmt.Sprintf("%s is already set in line %d, and only one of them can be", set.Name(), first.nearest().Line),
		Expected: "one of " + strings.Join(oneofNames(od), ", "),
	})
	return false
}

func oneofNames(od protoreflect.OneofDescriptor) []string {
	names := make([]string, od.Fields().Len())
	for i := range names {
		names[i] = string(od.Fields().Get(i).Name())
	}
	return names
}

// list fills a repeated field. Envoy takes a single value as a list of one.
func (d *decoder) list(n *node, fd protoreflect.FieldDescriptor, list protoreflect.List, at *place) {
	if !d.enter(n, at) {
		return
	}
	defer d.leave()
	items := n.items
	if n.kind != listKind {
		d.fault(n, at, Issue{Severity: Warning, Message: "got " + n.String() + ", taken as a list of one", Expected: "a list"})
		items = []*node{n}
	}
	for i, item := range items {
		if d.report.full() {
			return
		}
		p := at.child(step{kind: byIndex, index: i}, d.pos(item))
		if item.kind == nullKind && !isNullable(fd) {
			d.fault(item, p, Issue{Severity: Warning, Message: "null in a list, taken as an empty value"})
			list.Append(list.NewElement())
			continue
		}
		list.Append(d.element(item, fd, list.NewElement(), p))
	}
}

func isNullable(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().FullName() == valueName
}

// element reads an item of a list or the value of a map. One that is faulty
// stays as it is, so that the items after it keep their index.
func (d *decoder) element(n *node, fd protoreflect.FieldDescriptor, v protoreflect.Value, at *place) protoreflect.Value {
	if fd.Message() != nil {
		d.message(n, v.Message(), at)
		return v
	}
	if read, ok := d.scalar(n, fd, at); ok {
		return read
	}
	return v
}

// mapping fills a map field.
func (d *decoder) mapping(n *node, fd protoreflect.FieldDescriptor, m protoreflect.Message, at *place) {
	if n.kind != dictKind {
		d.mismatch(n, at, "a mapping of keys to values", "")
		return
	}
	if !d.enter(n, at) {
		return
	}
	defer d.leave()
	entries, value := m.Mutable(fd).Map(), fd.MapValue()
	for _, p := range d.unique(n, at) {
		key, ok := d.mapKey(p.key, fd.MapKey(), at)
		if !ok {
			continue
		}
		entry := at.child(step{kind: byKey, name: key.String()}, d.placeOf(p))
		entry.whole = true
		v := entries.NewValue()
		if p.value.kind != nullKind || isNullable(value) {
			v = d.element(p.value, value, v, entry)
		}
		entries.Set(key, v)
	}
}

func (d *decoder) mapKey(n *node, fd protoreflect.FieldDescriptor, at *place) (protoreflect.MapKey, bool) {
	if fd.Kind() == protoreflect.StringKind {
		return protoreflect.ValueOfString(n.value).MapKey(), true
	}
	v, ok := d.scalar(n, fd, at)
	if !ok {
		return protoreflect.MapKey{}, false
	}
	return v.MapKey(), true
}

// unique returns the members of a mapping, of equal keys the last, and warns of
// the others.
func (d *decoder) unique(n *node, at *place) []pair {
	index := make(map[string]int, len(n.pairs))
	out := make([]pair, 0, len(n.pairs))
	for _, p := range n.pairs {
		i, dup := index[p.key.value]
		if !dup {
			index[p.key.value] = len(out)
			out = append(out, p)
			continue
		}
		d.duplicate(p.key, out[i].key, at)
		out[i] = p
	}
	return out
}
