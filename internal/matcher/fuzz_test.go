package matcher_test

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	typematcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/internal/matcher"
)

// Whatever matcher is made of the bytes, it decides as the naive reading of it does.
func FuzzMatch(f *testing.F) {
	f.Add([]byte{})
	random := rand.NewChaCha8([32]byte{})
	for range 500 {
		seed := make([]byte, 300)
		_, _ = random.Read(seed)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed []byte) {
		g := &generator{bytes: seed[:min(len(seed), 512)]}
		m := g.matcher(4)
		tree, issues := compile(m, true)
		if len(issues) > 0 {
			if i := issues[0]; !strings.Contains(i.Message, "Duplicate domain") {
				t.Fatalf("%v\n%v", i, m)
			}
			return
		}
		for range 8 {
			in := given{"a": g.value(), "b": g.value()}
			d := data{"a": in["a"].value(), "b": in["b"].value()}
			var kept, wantKept []string
			got, out := tree.Match(d, func(a string) { kept = append(kept, a) })
			n := naive{in, func(a string) { wantKept = append(wantKept, a) }}
			want, wantOut := n.matcher(m)
			if got != want || out != wantOut || !slices.Equal(kept, wantKept) {
				t.Fatalf("%v leads to %q (%d) and keeps %q, want %q (%d) and %q\n%v", in, got, out, kept, want, wantOut, wantKept, m)
			}
		}
	})
}

// A generator makes matchers and values of bytes; behind their end all are 0.
type generator struct{ bytes []byte }

func (g *generator) n(below int) int {
	if len(g.bytes) == 0 {
		return 0
	}
	b := g.bytes[0]
	g.bytes = g.bytes[1:]
	return int(b) % below
}

var (
	words   = []string{"", "a", "ab", "abc", "b", "ba", "10.0.0.1", "10.0.1.1", "10.1.0.1", "11.0.0.1", "::1", "2001:db8::1", "a.b", "x.a.b", "b.", "80"}
	domains = []string{"a.b", "*.b", "*.a.b", "*", "ab", "*.0.1", "x.a.b"}
	nets    = []string{"10.0.0.0", "10.0.0.1", "10.1.0.0", "11.0.0.0", "::", "2001:db8::", "::1"}
)

func (g *generator) word() string { return words[g.n(len(words))] }

// A seen is a value as the naive evaluator sees it.
type seen struct {
	text           string
	none           bool
	later, pending bool
}

type given map[string]seen

func (g *generator) value() seen {
	kind := g.n(8)
	return seen{text: g.word(), none: kind == 1, later: kind == 2, pending: kind == 3}
}

func (s seen) value() matcher.Value {
	v := matcher.Text(s.text)
	if a, err := netip.ParseAddr(s.text); err == nil && a.IsGlobalUnicast() {
		v = matcher.Address(a)
	}
	switch {
	case s.pending:
		return matcher.Pending()
	case s.none:
		return matcher.Value{}
	case s.later:
		return v.Growing()
	case s.text == "80":
		return matcher.Port(80)
	}
	return v
}

func config(m proto.Message) *corev3.TypedExtensionConfig {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return &corev3.TypedExtensionConfig{Name: "x", TypedConfig: a}
}

func (g *generator) input() *corev3.TypedExtensionConfig {
	return config(&typematcherv3.HttpRequestHeaderMatchInput{HeaderName: []string{"a", "b"}[g.n(2)]})
}

func (g *generator) onMatch(depth int) *matcherv3.Matcher_OnMatch {
	out := &matcherv3.Matcher_OnMatch{KeepMatching: g.n(8) == 7}
	if depth > 0 && g.n(3) > 0 {
		out.OnMatch = &matcherv3.Matcher_OnMatch_Matcher{Matcher: g.matcher(depth - 1)}
		return out
	}
	out.OnMatch = &matcherv3.Matcher_OnMatch_Action{Action: config(wrapperspb.String(string(rune('A' + g.n(26)))))}
	return out
}

func (g *generator) matcher(depth int) *matcherv3.Matcher {
	m := &matcherv3.Matcher{}
	if g.n(2) > 0 {
		m.OnNoMatch = g.onMatch(depth)
	}
	switch kind := g.n(6); kind {
	case 0:
	case 1:
		list := &matcherv3.Matcher_MatcherList{}
		for range 1 + g.n(3) {
			list.Matchers = append(list.Matchers, &matcherv3.Matcher_MatcherList_FieldMatcher{Predicate: g.predicate(depth), OnMatch: g.onMatch(depth)})
		}
		m.MatcherType = &matcherv3.Matcher_MatcherList_{MatcherList: list}
	default:
		m.MatcherType = &matcherv3.Matcher_MatcherTree_{MatcherTree: g.tree(kind, depth)}
	}
	return m
}

func (g *generator) tree(kind, depth int) *matcherv3.Matcher_MatcherTree {
	t := &matcherv3.Matcher_MatcherTree{Input: g.input()}
	switch kind {
	case 2:
		t.TreeType = &matcherv3.Matcher_MatcherTree_ExactMatchMap{ExactMatchMap: g.matchMap(depth)}
	case 3:
		t.TreeType = &matcherv3.Matcher_MatcherTree_PrefixMatchMap{PrefixMatchMap: g.matchMap(depth)}
	case 4:
		ip := &matcherv3.IPMatcher{}
		for range 1 + g.n(4) {
			r := &matcherv3.IPMatcher_IPRangeMatcher{OnMatch: g.onMatch(depth), Exclusive: g.n(2) > 0}
			for range 1 + g.n(2) {
				r.Ranges = append(r.Ranges, &corev3.CidrRange{AddressPrefix: nets[g.n(len(nets))], PrefixLen: wrapperspb.UInt32(uint32(8 * g.n(5)))})
			}
			ip.RangeMatchers = append(ip.RangeMatchers, r)
		}
		t.TreeType = &matcherv3.Matcher_MatcherTree_CustomMatch{CustomMatch: config(ip)}
	case 5:
		names := &matcherv3.ServerNameMatcher{}
		for range 1 + g.n(4) {
			names.DomainMatchers = append(names.DomainMatchers, &matcherv3.ServerNameMatcher_DomainMatcher{
				Domains: []string{domains[g.n(len(domains))]}, OnMatch: g.onMatch(depth)})
		}
		t.TreeType = &matcherv3.Matcher_MatcherTree_CustomMatch{CustomMatch: config(names)}
	}
	return t
}

func (g *generator) matchMap(depth int) *matcherv3.Matcher_MatcherTree_MatchMap {
	m := map[string]*matcherv3.Matcher_OnMatch{}
	for range 1 + g.n(6) {
		m[g.word()] = g.onMatch(depth)
	}
	return &matcherv3.Matcher_MatcherTree_MatchMap{Map: m}
}

func (g *generator) predicate(depth int) *matcherv3.Matcher_MatcherList_Predicate {
	several := func() *matcherv3.Matcher_MatcherList_Predicate_PredicateList {
		l := &matcherv3.Matcher_MatcherList_Predicate_PredicateList{}
		for range 2 + g.n(2) {
			l.Predicate = append(l.Predicate, g.predicate(depth-1))
		}
		return l
	}
	kind := g.n(6)
	if depth <= 0 {
		kind = 0
	}
	p := &matcherv3.Matcher_MatcherList_Predicate{}
	switch kind {
	case 1:
		p.MatchType = &matcherv3.Matcher_MatcherList_Predicate_OrMatcher{OrMatcher: several()}
	case 2:
		p.MatchType = &matcherv3.Matcher_MatcherList_Predicate_AndMatcher{AndMatcher: several()}
	case 3:
		p.MatchType = &matcherv3.Matcher_MatcherList_Predicate_NotMatcher{NotMatcher: g.predicate(depth - 1)}
	default:
		p.MatchType = &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{SinglePredicate: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input:   g.input(),
			Matcher: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: g.word()}}},
		}}
	}
	return p
}

// A naive evaluator reads the message again for each value.
type naive struct {
	in   given
	kept func(string)
}

func unpacked[M proto.Message](x *corev3.TypedExtensionConfig) M {
	m, err := x.TypedConfig.UnmarshalNew()
	if err != nil {
		panic(err)
	}
	return m.(M)
}

func (n naive) of(x *corev3.TypedExtensionConfig) seen {
	return n.in[unpacked[*typematcherv3.HttpRequestHeaderMatchInput](x).HeaderName]
}

func (n naive) onMatch(m *matcherv3.Matcher_OnMatch) (string, matcher.Outcome) {
	if m == nil {
		return "", matcher.NoMatch
	}
	a, out := "", matcher.Matched
	if m.GetMatcher() != nil {
		a, out = n.matcher(m.GetMatcher())
	} else {
		a = unpacked[*wrapperspb.StringValue](m.GetAction()).Value
	}
	if out == matcher.Matched && m.KeepMatching {
		n.kept(a)
		return "", matcher.NoMatch
	}
	return a, out
}

func (n naive) matcher(m *matcherv3.Matcher) (string, matcher.Outcome) {
	var a string
	out := matcher.NoMatch
	if l := m.GetMatcherList(); l != nil {
		for _, f := range l.Matchers {
			if out = n.predicate(f.Predicate); out == matcher.Matched {
				a, out = n.onMatch(f.OnMatch)
			}
			if out != matcher.NoMatch {
				return a, out
			}
		}
	}
	if t := m.GetMatcherTree(); t != nil {
		v := n.of(t.Input)
		if v.pending || v.later && t.GetCustomMatch() != nil {
			return "", matcher.Undecided
		}
		if !v.none {
			for _, on := range candidates(t, v.text) {
				if a, out = n.onMatch(on); out != matcher.NoMatch {
					return a, out
				}
			}
		}
		if v.later {
			return "", matcher.Undecided
		}
	}
	return n.onMatch(m.OnNoMatch)
}

// candidates are what a text leads to, the best first.
func candidates(t *matcherv3.Matcher_MatcherTree, text string) (out []*matcherv3.Matcher_OnMatch) {
	if m := t.GetExactMatchMap(); m != nil {
		return []*matcherv3.Matcher_OnMatch{m.Map[text]}
	}
	if m := t.GetPrefixMatchMap(); m != nil {
		keys := slices.SortedFunc(maps.Keys(m.Map), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
		for _, key := range keys {
			if strings.HasPrefix(text, key) {
				out = append(out, m.Map[key])
			}
		}
		return out
	}
	custom, _ := t.GetCustomMatch().TypedConfig.UnmarshalNew()
	if ip, ok := custom.(*matcherv3.IPMatcher); ok {
		return holding(ip, text)
	}
	return named(custom.(*matcherv3.ServerNameMatcher), text)
}

func holding(m *matcherv3.IPMatcher, text string) (out []*matcherv3.Matcher_OnMatch) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return nil
	}
	type one struct {
		bits int
		of   *matcherv3.IPMatcher_IPRangeMatcher
	}
	var all []one
	for _, r := range m.RangeMatchers {
		for _, c := range r.Ranges {
			if p := netip.PrefixFrom(netip.MustParseAddr(c.AddressPrefix), int(c.PrefixLen.Value)); p.Contains(a) {
				all = append(all, one{p.Bits(), r})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b one) int { return cmp.Compare(b.bits, a.bits) })
	for i, x := range all {
		if i == 0 || !x.of.Exclusive {
			out = append(out, x.of.OnMatch)
		}
	}
	return out
}

func named(m *matcherv3.ServerNameMatcher, text string) (out []*matcherv3.Matcher_OnMatch) {
	if text == "" {
		return nil
	}
	all := map[string]*matcherv3.Matcher_OnMatch{}
	for _, d := range m.DomainMatchers {
		all[d.Domains[0]] = d.OnMatch
	}
	out = append(out, all[text])
	for i := range text {
		if text[i] == '.' {
			out = append(out, all["*"+text[i:]])
		}
	}
	return append(out, all["*"])
}

func (n naive) predicate(p *matcherv3.Matcher_MatcherList_Predicate) matcher.Outcome {
	switch p := p.MatchType.(type) {
	case *matcherv3.Matcher_MatcherList_Predicate_NotMatcher:
		return []matcher.Outcome{matcher.NoMatch: matcher.Matched, matcher.Matched: matcher.NoMatch, matcher.Undecided: matcher.Undecided}[n.predicate(p.NotMatcher)]
	case *matcherv3.Matcher_MatcherList_Predicate_AndMatcher:
		for _, x := range p.AndMatcher.Predicate {
			if out := n.predicate(x); out != matcher.Matched {
				return out
			}
		}
		return matcher.Matched
	case *matcherv3.Matcher_MatcherList_Predicate_OrMatcher:
		var outs []matcher.Outcome
		for _, x := range p.OrMatcher.Predicate {
			outs = append(outs, n.predicate(x))
		}
		for _, out := range []matcher.Outcome{matcher.Matched, matcher.Undecided} {
			if slices.Contains(outs, out) {
				return out
			}
		}
		return matcher.NoMatch
	}
	v, want := n.of(p.GetSinglePredicate().Input), p.GetSinglePredicate().GetValueMatch().GetExact()
	switch {
	case v.pending:
		return matcher.Undecided
	case !v.none && v.text == want:
		return matcher.Matched
	case v.later:
		return matcher.Undecided
	}
	return matcher.NoMatch
}
