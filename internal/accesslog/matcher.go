package accesslog

import (
	"regexp"
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/state"
)

var (
	headerFilterFields = extension.Fields{Message: &accesslogv3.HeaderFilter{}, Obeyed: []string{"header"}}
	headerFields       = extension.Fields{
		Message: &routev3.HeaderMatcher{},
		Obeyed: []string{"name", "exact_match", "safe_regex_match", "range_match", "present_match", "prefix_match",
			"suffix_match", "contains_match", "string_match", "invert_match", "treat_missing_header_as_empty"},
	}
	metadataFilterFields = extension.Fields{
		Message: &accesslogv3.MetadataFilter{},
		Obeyed:  []string{"matcher", "match_if_key_not_found"},
	}
	metadataFields = extension.Fields{
		Message: &matcherv3.MetadataMatcher{},
		Obeyed:  []string{"filter", "path", "value"},
		Ignored: map[string]string{"invert": "Envoy 1.40 ignores it in access log filters"},
	}
	valueFields = extension.Fields{
		Message: &matcherv3.ValueMatcher{},
		Obeyed: []string{"null_match", "double_match", "string_match", "bool_match", "present_match",
			"list_match", "or_match"},
	}
	stringFields = extension.Fields{
		Message: &matcherv3.StringMatcher{},
		Obeyed:  []string{"exact", "prefix", "suffix", "contains", "safe_regex", "ignore_case"},
	}
	regexFields = extension.Fields{
		Message: &matcherv3.RegexMatcher{},
		Obeyed:  []string{"regex"},
		Ignored: map[string]string{"google_re2": "it names the only engine there is"},
	}
)

func matcherSupport() []*extension.Fields {
	return []*extension.Fields{
		&headerFilterFields, &headerFields, &metadataFilterFields, &metadataFields,
		&valueFields, &stringFields, &regexFields,
	}
}

// header judges by a header, which TCP connections do not have: it is missing.
func header(s *extension.Scope, m *accesslogv3.HeaderFilter) predicate {
	headerFilterFields.Check(s, m)
	s, h := s.Field("header"), m.GetHeader()
	if h == nil {
		s.Errorf("is required")
		return always
	}
	headerFields.Check(s, h)
	var match func(string) bool
	switch x := h.GetHeaderMatchSpecifier().(type) {
	case nil: // any value
		return constant(h.InvertMatch)
	case *routev3.HeaderMatcher_PresentMatch:
		return constant(x.PresentMatch == h.InvertMatch)
	case *routev3.HeaderMatcher_StringMatch:
		match = text(s.Field("string_match"), x.StringMatch)
	case *routev3.HeaderMatcher_ExactMatch:
		match = func(v string) bool { return v == x.ExactMatch }
	case *routev3.HeaderMatcher_PrefixMatch:
		match = func(v string) bool { return strings.HasPrefix(v, x.PrefixMatch) }
	case *routev3.HeaderMatcher_SuffixMatch:
		match = func(v string) bool { return strings.HasSuffix(v, x.SuffixMatch) }
	case *routev3.HeaderMatcher_ContainsMatch:
		match = func(v string) bool { return strings.Contains(v, x.ContainsMatch) }
	case *routev3.HeaderMatcher_SafeRegexMatch:
		match = regex(s.Field("safe_regex_match"), x.SafeRegexMatch)
	default: // range_match: an empty value is no number
		match = func(string) bool { return false }
	}
	if !h.TreatMissingHeaderAsEmpty {
		return never // Envoy: a missing header does not match, inverted or not
	}
	return constant(match("") != h.InvertMatch)
}

// metadata judges by a value of the dynamic metadata.
func metadata(s *extension.Scope, m *accesslogv3.MetadataFilter) predicate {
	metadataFilterFields.Check(s, m)
	missing := true
	if b := m.GetMatchIfKeyNotFound(); b != nil {
		missing = b.GetValue()
	}
	x := m.GetMatcher()
	if x == nil {
		return constant(missing)
	}
	s = s.Field("matcher")
	metadataFields.Check(s, x)
	var keys []string
	for _, seg := range x.GetPath() {
		keys = append(keys, seg.GetKey())
	}
	match := value(s.Field("value"), x.GetValue())
	return func(e event) bool {
		v := state.Walk(e.info.Metadata[x.GetFilter()], keys)
		if v.GetKind() == nil {
			return missing
		}
		return match(v)
	}
}

// value compiles a matcher of values that are there.
func value(s *extension.Scope, m *matcherv3.ValueMatcher) func(*structpb.Value) bool {
	if m == nil {
		s.Errorf("is required")
		return func(*structpb.Value) bool { return false }
	}
	valueFields.Check(s, m)
	switch x := m.GetMatchPattern().(type) {
	case *matcherv3.ValueMatcher_NullMatch_:
		return func(v *structpb.Value) bool { _, ok := v.Kind.(*structpb.Value_NullValue); return ok }
	case *matcherv3.ValueMatcher_BoolMatch:
		return func(v *structpb.Value) bool {
			b, ok := v.Kind.(*structpb.Value_BoolValue)
			return ok && b.BoolValue == x.BoolMatch
		}
	case *matcherv3.ValueMatcher_PresentMatch:
		return func(*structpb.Value) bool { return x.PresentMatch }
	case *matcherv3.ValueMatcher_StringMatch:
		match := text(s.Field("string_match"), x.StringMatch)
		return func(v *structpb.Value) bool {
			t, ok := v.Kind.(*structpb.Value_StringValue)
			return ok && match(t.StringValue)
		}
	case *matcherv3.ValueMatcher_DoubleMatch:
		match := double(x.DoubleMatch)
		return func(v *structpb.Value) bool {
			n, ok := v.Kind.(*structpb.Value_NumberValue)
			return ok && match(n.NumberValue)
		}
	case *matcherv3.ValueMatcher_ListMatch:
		one := value(s.Field("list_match.one_of"), x.ListMatch.GetOneOf())
		return func(v *structpb.Value) bool {
			for _, e := range v.GetListValue().GetValues() {
				if one(e) {
					return true
				}
			}
			return false
		}
	case *matcherv3.ValueMatcher_OrMatch:
		return orValue(s.Field("or_match.value_matchers"), x.OrMatch.GetValueMatchers())
	}
	s.Errorf("a match pattern is required")
	return func(*structpb.Value) bool { return false }
}

func orValue(s *extension.Scope, ms []*matcherv3.ValueMatcher) func(*structpb.Value) bool {
	if len(ms) < 2 {
		s.Errorf("at least two matchers are required")
	}
	var some []func(*structpb.Value) bool
	for i, m := range ms {
		some = append(some, value(s.Index(i), m))
	}
	return func(v *structpb.Value) bool {
		for _, match := range some {
			if match(v) {
				return true
			}
		}
		return false
	}
}

func double(m *matcherv3.DoubleMatcher) func(float64) bool {
	if r, ok := m.GetMatchPattern().(*matcherv3.DoubleMatcher_Range); ok {
		return func(v float64) bool { return v >= r.Range.GetStart() && v < r.Range.GetEnd() }
	}
	return func(v float64) bool { return v == m.GetExact() }
}

func text(s *extension.Scope, m *matcherv3.StringMatcher) func(string) bool {
	stringFields.Check(s, m)
	fold := func(v string) string { return v }
	if m.GetIgnoreCase() {
		fold = strings.ToLower
	}
	switch x := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return func(v string) bool { return fold(v) == fold(x.Exact) }
	case *matcherv3.StringMatcher_Prefix:
		return func(v string) bool { return strings.HasPrefix(fold(v), fold(x.Prefix)) }
	case *matcherv3.StringMatcher_Suffix:
		return func(v string) bool { return strings.HasSuffix(fold(v), fold(x.Suffix)) }
	case *matcherv3.StringMatcher_Contains:
		return func(v string) bool { return strings.Contains(fold(v), fold(x.Contains)) }
	case *matcherv3.StringMatcher_SafeRegex:
		return regex(s.Field("safe_regex"), x.SafeRegex)
	case nil:
		s.Errorf("a match pattern is required")
	}
	return func(string) bool { return false }
}

// regex matches whole strings, as RE2::FullMatch does.
func regex(s *extension.Scope, m *matcherv3.RegexMatcher) func(string) bool {
	regexFields.Check(s, m)
	re, err := regexp.Compile(`\A(?:` + m.GetRegex() + `)\z`)
	if err != nil {
		s.Field("regex").Errorf("%v", err)
		return func(string) bool { return false }
	}
	return re.MatchString
}
