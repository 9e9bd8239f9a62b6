package admin

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// A mask says which fields of a message stay. Without paths all do.
type mask struct {
	text  string
	paths [][]string
}

// parseMask reads paths of fields, separated by commas.
func parseMask(s string) mask {
	m := mask{text: s}
	for path := range strings.SplitSeq(s, ",") {
		if path != "" {
			m.paths = append(m.paths, strings.Split(path, "."))
		}
	}
	return m
}

// debug prints the mask's message in the text format, as Envoy's error does.
func (m mask) debug() string {
	var b strings.Builder
	for _, p := range m.paths {
		fmt.Fprintf(&b, "paths: %q\n", strings.Join(p, "."))
	}
	return b.String()
}

// trim clears all fields of msg that the mask does not name. It reports false, and
// changes nothing, when a path leads nowhere: through no field, or on from a field
// that is repeated or no message.
func (m mask) trim(msg protoreflect.Message) bool {
	for _, p := range m.paths {
		if !leads(msg.Descriptor(), p) {
			return false
		}
	}
	if len(m.paths) > 0 {
		keep(msg, m.paths)
	}
	return true
}

func leads(d protoreflect.MessageDescriptor, path []string) bool {
	for _, name := range path {
		if d == nil {
			return false
		}
		fd := d.Fields().ByName(protoreflect.Name(name))
		if fd == nil {
			return false
		}
		d = fd.Message()
		if fd.IsList() || fd.IsMap() {
			d = nil
		}
	}
	return true
}

// keep clears the fields of msg that no path begins with.
func keep(msg protoreflect.Message, paths [][]string) {
	msg.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		below, whole := 0, false
		var rest [][]string
		for _, p := range paths {
			if p[0] != string(fd.Name()) {
				continue
			}
			below++
			if whole = whole || len(p) == 1; !whole {
				rest = append(rest, p[1:])
			}
		}
		if below == 0 {
			msg.Clear(fd)
		} else if !whole {
			keep(msg.Mutable(fd).Message(), rest)
		}
		return true
	})
}

// trimResource trims an element of a dump. Its resource is inside an Any, where
// paths go on as if it were a plain message.
func (m mask) trimResource(msg protoreflect.Message) bool {
	var packed protoreflect.FieldDescriptor
	var outer, inner mask
	for _, p := range m.paths {
		fd := msg.Descriptor().Fields().ByName(protoreflect.Name(p[0]))
		if fd == nil || fd.IsList() || fd.Message() == nil || fd.Message().FullName() != anyName {
			outer.paths = append(outer.paths, p)
			continue
		}
		packed = fd
		outer.paths = append(outer.paths, p[:1])
		if len(p) > 1 {
			inner.paths = append(inner.paths, p[1:])
		}
	}
	if packed != nil && msg.Has(packed) && !inner.trimPacked(msg.Mutable(packed).Message().Interface()) {
		return false
	}
	return outer.trim(msg)
}

const anyName protoreflect.FullName = "google.protobuf.Any"

func (m mask) trimPacked(a proto.Message) bool {
	packed, ok := a.(*anypb.Any)
	if !ok {
		return false
	}
	msg, err := packed.UnmarshalNew()
	if err != nil || !m.trim(msg.ProtoReflect()) {
		return false
	}
	proto.Reset(packed)
	proto.Merge(packed, pack(msg))
	return true
}
