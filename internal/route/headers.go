package route

import (
	"regexp"
	"slices"
	"strings"
	"unsafe"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httpmatch"
	"github.com/ginnel/ginnel/internal/state"
)

// Mutations change headers, one after the other.
type Mutations []*mutation

// Apply changes headers: those of the request or response that info has.
func (ms Mutations) Apply(h *httpmsg.Header, info *filter.Info) {
	for _, m := range ms {
		m.apply(h, info)
	}
}

// A mutation is what one level changes: first it removes, then it adds.
type mutation struct {
	remove   []string          // lower case
	removeIf func(string) bool // nil: no more
	add      []addition
}

// An addition is a header that is added.
type addition struct {
	name string // lower case
	value
	action    corev3.HeaderValueOption_HeaderAppendAction
	keepEmpty bool
}

// A value is text, or a format.
type value struct {
	text   string
	format state.Formatter // nil: text
}

func (v *value) print(info *filter.Info) string {
	if v.format == nil {
		return v.text
	}
	b := v.format.Append(make([]byte, 0, 64), info, filter.NotSet)
	return unsafe.String(unsafe.SliceData(b), len(b)) // nobody else has b
}

// apply works as Envoy does: all values are printed before any header changes, what
// overwrites comes before what is appended.
func (m *mutation) apply(h *httpmsg.Header, info *filter.Info) {
	for _, name := range m.remove {
		h.Del(name)
	}
	if m.removeIf != nil {
		*h = slices.DeleteFunc(*h, func(f httpmsg.Field) bool { return m.removeIf(f.Name) })
	}
	var few [8]change
	changes := few[:0]
	for i := range m.add {
		a := &m.add[i]
		if v := a.print(info); a.wanted(v, h) {
			changes = append(changes, change{a.name, v, a.overwrites()})
		}
	}
	for _, c := range changes {
		if c.overwrite {
			h.Set(c.name, c.value)
		}
	}
	for _, c := range changes {
		if !c.overwrite {
			h.Add(c.name, c.value)
		}
	}
}

// A change is an addition that is decided.
type change struct {
	name, value string
	overwrite   bool
}

// wanted reports whether a value is added to headers as they are.
func (a *addition) wanted(v string, h *httpmsg.Header) bool {
	if v == "" && !a.keepEmpty {
		return false
	}
	switch a.action {
	case corev3.HeaderValueOption_ADD_IF_ABSENT:
		return !h.Has(a.name)
	case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:
		return h.Has(a.name)
	}
	return true
}

func (a *addition) overwrites() bool {
	return a.action == corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD || a.action == corev3.HeaderValueOption_OVERWRITE_IF_EXISTS
}

// compileHeaders compiles the mutations of one level: <what>_to_add and <what>_to_remove. It
// returns nil for none.
func compileHeaders(s *extension.Scope, what string, add []*corev3.HeaderValueOption, remove []string) *mutation {
	return compileMutation(s, what, add, remove, state.Options{})
}

func compileMutation(s *extension.Scope, what string, add []*corev3.HeaderValueOption, remove []string, o state.Options) *mutation {
	if len(add)+len(remove) == 0 {
		return nil
	}
	m := &mutation{}
	for i, name := range remove {
		if fixed(name) {
			s.Field(what + "_to_remove").Index(i).Errorf(":-prefixed or host headers may not be removed")
		}
		m.remove = append(m.remove, lowerCase(name))
	}
	for i, v := range add {
		m.add = append(m.add, compileAddition(s.Field(what+"_to_add").Index(i), v, o))
	}
	return m
}

// CompileMutations compiles headers to add and to remove, as they stand in the fields
// <what>_to_add and <what>_to_remove of the message at s. Of the options of their formats
// OmitEmpty does not count: a missing value is empty.
func CompileMutations(s *extension.Scope, what string, add []*corev3.HeaderValueOption, remove []string, o state.Options) Mutations {
	if m := compileMutation(s, what, add, remove, o); m != nil {
		return Mutations{m}
	}
	return nil
}

// CompileSteps compiles mutations that work one after the other; options as for CompileMutations.
func CompileSteps(s *extension.Scope, list []*mutationv3.HeaderMutation, o state.Options) Mutations {
	var out Mutations
	for i, m := range list {
		out = append(out, compileStep(s.Index(i), m, o))
	}
	return out
}

func compileStep(s *extension.Scope, m *mutationv3.HeaderMutation, o state.Options) *mutation {
	stepFields.Check(s, m)
	switch a := m.GetAction().(type) {
	case *mutationv3.HeaderMutation_Remove:
		if fixed(a.Remove) {
			s.Field("remove").Errorf(":-prefixed or host headers may not be removed")
		}
		return &mutation{remove: []string{lowerCase(a.Remove)}}
	case *mutationv3.HeaderMutation_Append:
		return &mutation{add: []addition{compileAddition(s.Field("append"), a.Append, o)}}
	case *mutationv3.HeaderMutation_RemoveOnMatch_:
		return &mutation{removeIf: httpmatch.String(s.Field("remove_on_match.key_matcher"), a.RemoveOnMatch.GetKeyMatcher())}
	}
	s.Errorf("an action is required")
	return &mutation{}
}

// fixed reports whether a header may not be changed.
func fixed(name string) bool { return strings.HasPrefix(name, ":") || lowerCase(name) == "host" }

func compileAddition(s *extension.Scope, m *corev3.HeaderValueOption, o state.Options) addition {
	optionFields.Check(s, m)
	h := m.GetHeader()
	if h == nil {
		s.Field("header").Errorf("is required")
		return addition{}
	}
	headerValueFields.Check(s.Field("header"), h)
	if fixed(h.Key) {
		s.Field("header.key").Errorf(":-prefixed or host headers may not be modified")
	}
	a := addition{name: lowerCase(h.Key), action: m.GetAppendAction(), keepEmpty: m.GetKeepEmptyValue()}
	a.value, _ = compileFormat(s.Field("header.value"), h.Value, o)
	if v := m.GetAppend(); v != nil { //nolint:staticcheck // deprecated, and in use
		if a.action != 0 {
			s.Errorf("Both append and append_action are set and it's not allowed")
		}
		if !v.Value {
			a.action = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		}
	}
	return a
}

// compileValue compiles a format of which missing values are empty.
func compileValue(s *extension.Scope, text string) (value, bool) {
	return compileFormat(s, text, state.Options{})
}

func compileFormat(s *extension.Scope, text string, o state.Options) (value, bool) {
	text = modern(text)
	if !strings.Contains(text, "%") {
		return value{text: text}, true
	}
	o.OmitEmpty = true
	f, ok := state.CompileText(s, text, o)
	if !ok {
		return value{}, false
	}
	return value{format: f}, true
}

var (
	oldMetadata = regexp.MustCompile(`%(UPSTREAM|DYNAMIC)_METADATA\(\[(.*?)\]\)%`)
	oldState    = regexp.MustCompile(`%PER_REQUEST_STATE\((.*?)\)%`)
	quoted      = regexp.MustCompile(`^\s*"|"\s*,\s*"|"\s*$`)
)

// modern rewrites the forms that header values had of their own: metadata named by a JSON
// list, and PER_REQUEST_STATE.
func modern(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	text = oldMetadata.ReplaceAllStringFunc(text, func(c string) string {
		m := oldMetadata.FindStringSubmatch(c)
		return "%" + m[1] + "_METADATA(" + strings.Trim(quoted.ReplaceAllString(m[2], ":"), ":") + ")%"
	})
	return oldState.ReplaceAllString(text, "%FILTER_STATE($1:PLAIN)%")
}
