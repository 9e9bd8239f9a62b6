package matcher

import (
	"strings"

	corev3 "github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	commonv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"
	envoymatcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// A Context is where a matcher is used.
type Context[D, A any] struct {
	Inputs *Inputs[D]
	// Action compiles the message of an action; what is wrong is reported to the scope.
	Action func(*extension.Scope, proto.Message) A
	// Keep allows keep_matching: who matches does something with what is kept.
	Keep bool
	// Runtime returns the runtime that fractions ask; nil: none has a say.
	Runtime func(D) filter.Runtime
}

// maxDepth bounds how deep matchers and predicates are nested in each other. (Envoy ends
// at what its readers of text and protobuf nest.)
const maxDepth = 100

// Compile compiles a matcher; nil is one without a match. What is wrong is reported to
// the scope, and the tree is not to be used then.
func Compile[D, A any](s *extension.Scope, m *matcherv3.Matcher, c Context[D, A]) *Tree[D, A] {
	if m == nil {
		return &Tree[D, A]{}
	}
	x := &compiler[D, A]{Context: c}
	return &Tree[D, A]{x.matcher(s, m)}
}

// FromEnvoy returns Envoy's own form of a matcher as the one of xDS: both have the same
// fields under the same numbers.
func FromEnvoy(m *commonv3.Matcher) (*matcherv3.Matcher, error) {
	out := new(matcherv3.Matcher)
	return out, convert(out, m)
}

func convert(to, from proto.Message) error {
	b, err := proto.Marshal(from)
	if err != nil {
		return err
	}
	return proto.Unmarshal(b, to)
}

type compiler[D, A any] struct {
	Context[D, A]
	depth int
}

// nested runs f one level deeper, if there may be one.
func (c *compiler[D, A]) nested(s *extension.Scope, f func()) {
	if c.depth == maxDepth {
		s.Errorf("nested more than %d deep", maxDepth)
		return
	}
	c.depth++
	f()
	c.depth--
}

func (c *compiler[D, A]) matcher(s *extension.Scope, m *matcherv3.Matcher) (out node[D, A]) {
	matcherFields.Check(s, m)
	out = &list[D, A]{}
	c.nested(s, func() {
		none := c.onMatch(s.Field("on_no_match"), m.GetOnNoMatch())
		switch t := m.GetMatcherType().(type) {
		case nil:
			out = &list[D, A]{noMatch: none}
		case *matcherv3.Matcher_MatcherList_:
			out = &list[D, A]{c.fields(s.Field("matcher_list"), t.MatcherList), none}
		case *matcherv3.Matcher_MatcherTree_:
			out = c.tree(s.Field("matcher_tree"), t.MatcherTree, none)
		}
	})
	return out
}

// required compiles what follows a match, which must be there.
func (c *compiler[D, A]) required(s *extension.Scope, m *matcherv3.Matcher_OnMatch) *onMatch[D, A] {
	if m == nil {
		s.Errorf("is required")
	}
	return c.onMatch(s, m)
}

// onMatch returns nil for nil.
func (c *compiler[D, A]) onMatch(s *extension.Scope, m *matcherv3.Matcher_OnMatch) *onMatch[D, A] {
	if m == nil {
		return nil
	}
	onMatchFields.Check(s, m)
	if m.GetKeepMatching() && !c.Keep {
		s.Field("keep_matching").Errorf("keep_matching is not supported in this context")
	}
	out := &onMatch[D, A]{keep: m.GetKeepMatching()}
	switch on := m.GetOnMatch().(type) {
	case *matcherv3.Matcher_OnMatch_Matcher:
		out.inner = c.matcher(s.Field("matcher"), on.Matcher)
	case *matcherv3.Matcher_OnMatch_Action:
		if msg, s, ok := unpack(s.Field("action"), on.Action); ok {
			out.action = c.Action(s, msg)
		}
	case nil:
		s.Errorf("one of matcher and action is required")
	}
	return out
}

// unpack returns the message of an extension, and its scope.
func unpack(s *extension.Scope, m *corev3.TypedExtensionConfig) (proto.Message, *extension.Scope, bool) {
	if m.GetTypedConfig() == nil {
		s.Field("typed_config").Errorf("is required")
		return nil, s, false
	}
	s = s.Field("typed_config")
	msg, ok := s.Unpack(m.TypedConfig)
	return msg, s, ok
}

func (c *compiler[D, A]) fields(s *extension.Scope, m *matcherv3.Matcher_MatcherList) []field[D, A] {
	if len(m.GetMatchers()) == 0 {
		s.Field("matchers").Errorf("at least one is required")
	}
	var out []field[D, A]
	for i, f := range m.GetMatchers() {
		s := s.Field("matchers").Index(i)
		out = append(out, field[D, A]{
			c.predicate(s.Field("predicate"), f.GetPredicate()),
			c.required(s.Field("on_match"), f.GetOnMatch()),
		})
	}
	return out
}

func never[D any](D) Outcome { return NoMatch }

func (c *compiler[D, A]) predicate(s *extension.Scope, m *matcherv3.Matcher_MatcherList_Predicate) (out predicate[D]) {
	out = never[D]
	c.nested(s, func() {
		switch p := m.GetMatchType().(type) {
		case *matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_:
			out = c.single(s.Field("single_predicate"), p.SinglePredicate)
		case *matcherv3.Matcher_MatcherList_Predicate_OrMatcher:
			out = or(c.predicates(s.Field("or_matcher"), p.OrMatcher))
		case *matcherv3.Matcher_MatcherList_Predicate_AndMatcher:
			out = and(c.predicates(s.Field("and_matcher"), p.AndMatcher))
		case *matcherv3.Matcher_MatcherList_Predicate_NotMatcher:
			out = not(c.predicate(s.Field("not_matcher"), p.NotMatcher))
		case nil:
			s.Errorf("one of single_predicate, or_matcher, and_matcher and not_matcher is required")
		}
	})
	return out
}

func (c *compiler[D, A]) predicates(s *extension.Scope, m *matcherv3.Matcher_MatcherList_Predicate_PredicateList) []predicate[D] {
	s = s.Field("predicate")
	if len(m.GetPredicate()) < 2 {
		s.Errorf("at least two are required")
	}
	var out []predicate[D]
	for i, p := range m.GetPredicate() {
		out = append(out, c.predicate(s.Index(i), p))
	}
	return out
}

func (c *compiler[D, A]) single(s *extension.Scope, m *matcherv3.Matcher_MatcherList_Predicate_SinglePredicate) predicate[D] {
	in := c.Inputs.compile(s.Field("input"), m.GetInput())
	switch t := m.GetMatcher().(type) {
	case *matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch:
		fits := text(s.Field("value_match"), t.ValueMatch)
		return single(in, func(v Value, _ D) bool { return v.kind != byMeta && fits(v.String()) })
	case *matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_CustomMatch:
		return single(in, c.custom(s.Field("custom_match"), t.CustomMatch))
	}
	s.Errorf("one of value_match and custom_match is required")
	return never[D]
}

// text compiles a matcher of texts: Envoy's has the same fields under the same numbers.
func text(s *extension.Scope, m *matcherv3.StringMatcher) func(string) bool {
	var same envoymatcherv3.StringMatcher
	if err := convert(&same, m); err != nil {
		s.Errorf("%v", err)
	}
	switch {
	case m.GetSafeRegex() != nil && m.GetSafeRegex().GetGoogleRe2() == nil:
		s.Field("safe_regex.google_re2").Errorf("is required")
	case emptyPart(m):
		s.Errorf("the text of prefix, suffix and contains must not be empty")
	}
	return httpmatch.String(s, &same)
}

// emptyPart reports whether every text has what m asks for.
func emptyPart(m *matcherv3.StringMatcher) bool {
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Prefix:
		return p.Prefix == ""
	case *matcherv3.StringMatcher_Suffix:
		return p.Suffix == ""
	case *matcherv3.StringMatcher_Contains:
		return p.Contains == ""
	}
	return false
}

func (c *compiler[D, A]) tree(s *extension.Scope, m *matcherv3.Matcher_MatcherTree, none *onMatch[D, A]) node[D, A] {
	out := &tree[D, A]{input: c.Inputs.compile(s.Field("input"), m.GetInput()), noMatch: none, entries: exact[D, A]{}}
	switch t := m.GetTreeType().(type) {
	case *matcherv3.Matcher_MatcherTree_ExactMatchMap:
		out.entries = exact[D, A](c.matchMap(s.Field("exact_match_map"), t.ExactMatchMap))
	case *matcherv3.Matcher_MatcherTree_PrefixMatchMap:
		out.entries = newPrefixes(c.matchMap(s.Field("prefix_match_map"), t.PrefixMatchMap))
	case *matcherv3.Matcher_MatcherTree_CustomMatch:
		if l := c.customTree(s.Field("custom_match"), t.CustomMatch); l != nil {
			out.entries, out.whole = l, true
		}
	case nil:
		s.Errorf("one of exact_match_map, prefix_match_map and custom_match is required")
	}
	return out
}

func (c *compiler[D, A]) matchMap(s *extension.Scope, m *matcherv3.Matcher_MatcherTree_MatchMap) map[string]*onMatch[D, A] {
	s = s.Field("map")
	if len(m.GetMap()) == 0 {
		s.Errorf("at least one entry is required")
	}
	out := make(map[string]*onMatch[D, A], len(m.GetMap()))
	for _, key := range sortedKeys(m.GetMap()) { // so that errors come in the same order
		out[key] = c.required(s.Key(key), m.Map[key])
	}
	return out
}

func (c *compiler[D, A]) customTree(s *extension.Scope, m *corev3.TypedExtensionConfig) lookup[D, A] {
	msg, s, ok := unpack(s, m)
	if !ok {
		return nil
	}
	switch m := msg.(type) {
	case *matcherv3.IPMatcher:
		return c.ipMatcher(s, m)
	case *matcherv3.ServerNameMatcher:
		return c.serverNames(s, m)
	}
	notImplemented(s, msg, "a matcher of a tree", "xds.type.matcher.v3.IPMatcher", "xds.type.matcher.v3.ServerNameMatcher")
	return nil
}

func notImplemented(s *extension.Scope, m proto.Message, as string, implemented ...string) {
	s.Errorf("%s is a known type, but ginnel does not implement it as %s (implemented: %s)",
		m.ProtoReflect().Descriptor().FullName(), as, strings.Join(implemented, ", "))
}

func (c *compiler[D, A]) ipMatcher(s *extension.Scope, m *matcherv3.IPMatcher) lookup[D, A] {
	out := new(ranges[D, A])
	for i, r := range m.GetRangeMatchers() {
		s := s.Field("range_matchers").Index(i)
		if len(r.GetRanges()) == 0 {
			s.Field("ranges").Errorf("at least one is required")
		}
		on := choice[D, A]{c.required(s.Field("on_match"), r.GetOnMatch()), r.GetExclusive()}
		for _, p := range httpmatch.Prefixes(s.Field("ranges"), r.GetRanges()) {
			out.add(p, on)
		}
	}
	out.done()
	return out
}

func (c *compiler[D, A]) serverNames(s *extension.Scope, m *matcherv3.ServerNameMatcher) lookup[D, A] {
	out := &names[D, A]{exact: make(map[string]*onMatch[D, A]), wild: make(map[string]*onMatch[D, A])}
	for i, dm := range m.GetDomainMatchers() {
		s := s.Field("domain_matchers").Index(i)
		if len(dm.GetDomains()) == 0 {
			s.Field("domains").Errorf("at least one is required")
		}
		on := c.required(s.Field("on_match"), dm.GetOnMatch())
		for j, name := range dm.GetDomains() {
			out.add(s.Field("domains").Index(j), name, on)
		}
	}
	return out
}

// add enters a name; the errors are Envoy's.
func (n *names[D, A]) add(s *extension.Scope, name string, on *onMatch[D, A]) {
	rest, wild := strings.CutPrefix(name, "*.")
	duplicate := false
	switch {
	case name == "":
		s.Errorf("Empty domain in ServerNameMatcher")
	case name == "*":
		duplicate = n.any != nil
		n.any = on
	case wild && rest != "" && !strings.Contains(rest, "*"):
		_, duplicate = n.wild[rest]
		n.wild[rest] = on
	case wild && rest != "":
		s.Errorf("Invalid wildcard domain format: %s. Multiple wildcards are not supported", name)
	case strings.Contains(name, "*"):
		s.Errorf("Invalid wildcard domain format: %s. Only '*' and '*.domain' patterns are supported", name)
	default:
		_, duplicate = n.exact[name]
		n.exact[name] = on
	}
	if duplicate {
		s.Errorf("Duplicate domain in ServerNameMatcher: %s", name)
	}
}
