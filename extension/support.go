package extension

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Fields says what ginnel does with each field of a message. What is in neither
// list is refused when it is set: a configuration is never half obeyed.
type Fields struct {
	Message proto.Message     // a value of the message, for its type
	Where   string            // whose message it is, where others treat theirs in another way: "cluster"; "": all
	Obeyed  []string          // field names
	Ignored map[string]string // field name -> why ignoring it changes nothing a user relies on
	// Defaults lists fields that are refused unless they hold the value that ginnel
	// behaves as, e.g. {"transparent": "false"}. Enums are given by name, wrapped values
	// as the value itself.
	Defaults map[string]string
	// Refused gives the reasons of refusals that are not for want of time.
	Refused map[string]string
}

// Check reports an error for every set field of m that f neither obeys nor ignores.
func (f *Fields) Check(s *Scope, m proto.Message) {
	m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := string(fd.Name())
		if slices.Contains(f.Obeyed, name) {
			return true
		}
		if _, ok := f.Ignored[name]; ok {
			return true
		}
		if want, ok := f.Defaults[name]; ok && text(fd, v) == want {
			return true
		}
		if why, ok := f.Refused[name]; ok {
			s.Field(name).Errorf("not supported: %s", why)
			return true
		}
		s.Field(name).Errorf("not supported yet: ginnel would not do what this field asks for")
		return true
	})
}

func text(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if fd.Kind() == protoreflect.EnumKind && !fd.IsList() {
		if ev := fd.Enum().Values().ByNumber(v.Enum()); ev != nil {
			return string(ev.Name())
		}
	}
	if !fd.IsList() && !fd.IsMap() && fd.Message() != nil && fd.Message().ParentFile().Package() == "google.protobuf" {
		m := v.Message()
		if value := m.Descriptor().Fields().ByName("value"); value != nil && m.Descriptor().Fields().Len() == 1 {
			return fmt.Sprint(m.Get(value).Interface()) // a wrapper
		}
	}
	return fmt.Sprint(v.Interface())
}
