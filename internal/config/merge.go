package config

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// override merges YAML over what was read from the file, as Envoy does.
func (l *loader) override(data []byte) {
	over := l.target.ProtoReflect().New()
	root := l.decode(OverrideFile, formatYAML, data, over.Interface())
	proto.Merge(l.target, over.Interface())
	l.unmerged(root, over, l.target.ProtoReflect())
	l.root.merge(root)
}

// unmerged warns of values of the override that the merge did not set: one that
// is the default does not replace another, and of a duration only the parts that
// are not zero do.
func (l *loader) unmerged(at *place, over, merged protoreflect.Message) {
	for name, kid := range at.kids {
		fd := over.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case fd == nil || fd.IsList() || fd.IsMap() || kid.failed || kid.null:
		case fd.Message() == nil || isLeaf(fd.Message().FullName()):
			if !over.Get(fd).Equal(merged.Get(fd)) {
				l.report.add(finding{at: kid, Issue: Issue{
					Pos: kid.pos, Severity: Warning,
					Message: "does not replace what the file says: merging protobuf, as Envoy does, cannot set a value back to its default",
				}})
			}
		case over.Has(fd) && !isFree(fd.Message().FullName()):
			l.unmerged(kid, over.Get(fd).Message(), merged.Get(fd).Message())
		}
	}
}

// isLeaf reports whether a message is written as a scalar.
func isLeaf(name protoreflect.FullName) bool {
	return isWrapper(name) || name == durationName || name == timestampName
}

// isFree reports whether the members of a message are not its fields.
func isFree(name protoreflect.FullName) bool {
	return name == anyName || name == structName || name == valueName || name == listValueName
}

// merge lays the places of over on those of p as proto.Merge does with the
// messages: lists append, Anys and entries of maps are replaced, the rest merges.
func (p *place) merge(over *place) {
	for _, item := range over.items {
		item.parent, item.step.index = p, len(p.items)
		p.items = append(p.items, item)
	}
	for name, kid := range over.kids {
		have := p.kids[name]
		if have == nil || kid.whole || kid.leaf() {
			kid.parent = p
			if p.kids == nil {
				p.kids = make(map[string]*place)
			}
			p.kids[name] = kid
			continue
		}
		have.failed = have.failed || kid.failed
		have.merge(kid)
	}
}

func (p *place) leaf() bool { return len(p.items) == 0 && len(p.kids) == 0 }
