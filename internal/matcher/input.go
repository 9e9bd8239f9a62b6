package matcher

import (
	"maps"
	"os"
	"slices"
	"strings"

	corev3 "github.com/cncf/xds/go/xds/core/v3"
	environmentv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/environment_variable/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ginnel/ginnel/extension"
)

// Inputs are those that a place has, by message. The zero value has but the one of
// environment variables, which needs no D.
type Inputs[D any] struct {
	known map[protoreflect.FullName]compileInput[D]
	why   map[protoreflect.FullName]string
}

type compileInput[D any] func(*extension.Scope, proto.Message) Input[D]

// Add adds an input: compile turns its message into it.
func Add[M proto.Message, D any](in *Inputs[D], compile func(*extension.Scope, M) Input[D]) {
	if in.known == nil {
		in.known = make(map[protoreflect.FullName]compileInput[D])
	}
	var m M
	in.known[m.ProtoReflect().Descriptor().FullName()] = func(s *extension.Scope, m proto.Message) Input[D] {
		return compile(s, m.(M))
	}
}

// Refuse says why the place cannot have an input.
func (in *Inputs[D]) Refuse(why string, list ...proto.Message) {
	if in.why == nil {
		in.why = make(map[protoreflect.FullName]string)
	}
	for _, m := range list {
		in.why[m.ProtoReflect().Descriptor().FullName()] = why
	}
}

// Strict marks inputs that a real Envoy refuses in the place.
func (in *Inputs[D]) Strict(why string, list ...proto.Message) {
	for _, m := range list {
		name := m.ProtoReflect().Descriptor().FullName()
		compile := in.known[name]
		in.known[name] = func(s *extension.Scope, m proto.Message) Input[D] {
			s.Strictf("%s: %s", name, why)
			return compile(s, m)
		}
	}
}

func (in *Inputs[D]) compile(s *extension.Scope, m *corev3.TypedExtensionConfig) Input[D] {
	none := func(D) Value { return Value{} }
	msg, s, ok := unpack(s, m)
	if !ok {
		return none
	}
	if env, ok := msg.(*environmentv3.Config); ok {
		return environment[D](s, env)
	}
	name := msg.ProtoReflect().Descriptor().FullName()
	if compile := in.known[name]; compile != nil {
		return compile(s, msg)
	}
	if why := in.why[name]; why != "" {
		s.Errorf("%s: %s", name, why)
		return none
	}
	known := []string{string((*environmentv3.Config)(nil).ProtoReflect().Descriptor().FullName())}
	for name := range maps.Keys(in.known) {
		known = append(known, string(name))
	}
	slices.Sort(known)
	s.Errorf("%s is a known type, but ginnel does not implement it as an input here (implemented: %s)", name, strings.Join(known, ", "))
	return none
}

// environment reads a variable, once.
func environment[D any](s *extension.Scope, m *environmentv3.Config) Input[D] {
	if m.GetName() == "" {
		s.Field("name").Errorf("is required")
	}
	var v Value
	if text, ok := os.LookupEnv(m.GetName()); ok {
		v = Text(text)
	}
	return func(D) Value { return v }
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
