package httpmatch

import (
	"net/netip"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

// A Metadata judges by one value of metadata.
type Metadata struct {
	namespace string
	keys      []string
	fits      func(*structpb.Value) bool
	invert    bool
}

// CompileMetadata compiles a matcher of metadata.
func CompileMetadata(s *extension.Scope, m *matcherv3.MetadataMatcher) Metadata {
	metadataFields.Check(s, m)
	out := Metadata{namespace: m.GetFilter(), invert: m.GetInvert()}
	for _, seg := range m.GetPath() {
		out.keys = append(out.keys, seg.GetKey())
	}
	out.fits = Value(s.Field("value"), m.GetValue())
	return out
}

// Match judges metadata.
func (m *Metadata) Match(md filter.Metadata) bool { return m.Fits(m.Value(md)) != m.invert }

// Value returns the value that counts; nil: it is not there.
func (m *Metadata) Value(md filter.Metadata) *structpb.Value {
	return state.Walk(md[m.namespace], m.keys)
}

// Fits judges a value by itself, without invert.
func (m *Metadata) Fits(v *structpb.Value) bool { return m.fits(v) }

// Value compiles a matcher of values. nil is a value that is not there, which nothing
// fits.
func Value(s *extension.Scope, m *matcherv3.ValueMatcher) func(*structpb.Value) bool {
	none := func(*structpb.Value) bool { return false }
	if m == nil {
		s.Errorf("is required")
		return none
	}
	valueFields.Check(s, m)
	switch x := m.MatchPattern.(type) {
	case *matcherv3.ValueMatcher_NullMatch_:
		return func(v *structpb.Value) bool { _, ok := v.GetKind().(*structpb.Value_NullValue); return ok }
	case *matcherv3.ValueMatcher_BoolMatch:
		return func(v *structpb.Value) bool {
			b, ok := v.GetKind().(*structpb.Value_BoolValue)
			return ok && b.BoolValue == x.BoolMatch
		}
	case *matcherv3.ValueMatcher_PresentMatch:
		return func(v *structpb.Value) bool { return x.PresentMatch && v.GetKind() != nil }
	case *matcherv3.ValueMatcher_StringMatch:
		match := String(s.Field("string_match"), x.StringMatch)
		return func(v *structpb.Value) bool {
			t, ok := v.GetKind().(*structpb.Value_StringValue)
			return ok && match(t.StringValue)
		}
	case *matcherv3.ValueMatcher_DoubleMatch:
		return number(x.DoubleMatch)
	case *matcherv3.ValueMatcher_ListMatch:
		return anyOf(Value(s.Field("list_match.one_of"), x.ListMatch.GetOneOf()))
	case *matcherv3.ValueMatcher_OrMatch:
		return or(s.Field("or_match.value_matchers"), x.OrMatch.GetValueMatchers())
	}
	s.Errorf("a match pattern is required")
	return none
}

func number(m *matcherv3.DoubleMatcher) func(*structpb.Value) bool {
	from, to := m.GetRange().GetStart(), m.GetRange().GetEnd()
	_, ranged := m.GetMatchPattern().(*matcherv3.DoubleMatcher_Range)
	return func(v *structpb.Value) bool {
		n, ok := v.GetKind().(*structpb.Value_NumberValue)
		switch {
		case !ok:
			return false
		case ranged:
			return n.NumberValue >= from && n.NumberValue < to
		}
		return n.NumberValue == m.GetExact()
	}
}

// anyOf judges the elements of a list.
func anyOf(one func(*structpb.Value) bool) func(*structpb.Value) bool {
	return func(v *structpb.Value) bool {
		for _, e := range v.GetListValue().GetValues() {
			if one(e) {
				return true
			}
		}
		return false
	}
}

func or(s *extension.Scope, ms []*matcherv3.ValueMatcher) func(*structpb.Value) bool {
	if len(ms) < 2 {
		s.Errorf("at least two matchers are required")
	}
	var some []func(*structpb.Value) bool
	for i, m := range ms {
		some = append(some, Value(s.Index(i), m))
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

// FilterState compiles a matcher of one object of the filter state; without it nothing
// matches.
func FilterState(s *extension.Scope, m *matcherv3.FilterStateMatcher) func(*filter.State) bool {
	filterStateFields.Check(s, m)
	key := m.GetKey()
	switch x := m.GetMatcher().(type) {
	case *matcherv3.FilterStateMatcher_StringMatch:
		match := String(s.Field("string_match"), x.StringMatch)
		return func(st *filter.State) bool {
			o, ok := st.Get(key)
			if !ok {
				return false
			}
			text, ok := o.Serialize()
			return ok && match(text)
		}
	case *matcherv3.FilterStateMatcher_AddressMatch:
		match := Address(s.Field("address_match"), x.AddressMatch)
		return func(st *filter.State) bool {
			o, _ := st.Get(key)
			switch a := o.(type) {
			case state.IP:
				return match(a.Addr)
			case state.Address:
				return match(a.Addr())
			}
			return false
		}
	}
	s.Errorf("one of string_match and address_match is required")
	return func(*filter.State) bool { return false }
}

// Address compiles a matcher of IP addresses.
func Address(s *extension.Scope, m *matcherv3.AddressMatcher) func(netip.Addr) bool {
	addressFields.Check(s, m)
	nets, invert := Prefixes(s.Field("ranges"), m.GetRanges()), m.GetInvertMatch()
	return func(a netip.Addr) bool {
		a = a.Unmap().WithZone("")
		for _, p := range nets {
			if p.Contains(a) {
				return !invert
			}
		}
		return invert
	}
}

// A CIDR is an address range, of Envoy's API or of xDS's.
type CIDR interface {
	GetAddressPrefix() string
	GetPrefixLen() *wrapperspb.UInt32Value
}

// Prefixes compiles a list of address ranges.
func Prefixes[T CIDR](s *extension.Scope, list []T) []netip.Prefix {
	var out []netip.Prefix
	for i, r := range list {
		if p, ok := Prefix(s.Index(i), r); ok {
			out = append(out, p)
		}
	}
	return out
}

// Prefix compiles an address range.
func Prefix[T CIDR](s *extension.Scope, r T) (netip.Prefix, bool) {
	a, err := netip.ParseAddr(r.GetAddressPrefix())
	if err != nil {
		s.Field("address_prefix").Errorf("malformed IP address: %s", r.GetAddressPrefix())
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	bits := min(int(r.GetPrefixLen().GetValue()), a.BitLen()) // Envoy: cut to what there is
	return netip.PrefixFrom(a, bits).Masked(), true
}
