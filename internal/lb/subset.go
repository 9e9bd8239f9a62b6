package lb

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// subsets are the hosts divided by their metadata. A host is in as many subsets as there
// are selectors whose keys it has. The balancer of a subset is made when it is first asked
// for, so that a change of hosts costs no more than their division.
type subsets struct {
	plan       *plan.Subset
	selectors  []*selector // for redundant keys those of most keys first
	everything *subset
	fallback   *subset // where no subset is found; nil: no host
	standard   *subset // default_subset
	duplicates int     // hosts that are not the one of their subset
}

// A selector finds the subset of criteria that have its keys.
type selector struct {
	keys     []string
	fallback plan.SubsetFallback
	reduced  *selector // of KeysSubset; nil: no selector has those keys
	single   bool
	byValues map[string]*subset // by the encoded values of keys
}

// A subset is hosts and, from the first choice on, their balancer.
type subset struct {
	policy plan.LB
	hosts  Hosts
	seed   uint64
	single *filter.Host // always this one; nil: the policy chooses

	mu       sync.Mutex
	balancer atomic.Pointer[Balancer]
}

func (s *subset) pick(q *Request) Choice {
	if s.single != nil {
		return Choice{Host: s.single}
	}
	b := s.balancer.Load()
	if b == nil {
		b = s.build()
	}
	return b.Pick(*q)
}

func (s *subset) build() *Balancer {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.balancer.Load()
	if b == nil {
		b = New(s.policy, s.hosts, s.seed)
		s.balancer.Store(b)
	}
	return b
}

func newSubsets(policy plan.LB, hosts Hosts, groups [][]Locality, seed uint64) *subsets {
	d := divider{of: policy.Subset, policy: policy, hosts: hosts, seed: seed}
	d.policy.Subset = nil
	d.policy.LocalityWeights = policy.LocalityWeights && policy.Subset.LocalityWeights
	for _, g := range groups {
		d.places = append(d.places, merge(g)...)
	}
	s := &subsets{plan: policy.Subset, selectors: d.selectors()}
	for i := range d.places {
		for j := range d.places[i].Endpoints {
			d.divide(s, i, &d.places[i].Endpoints[j])
		}
	}
	d.weigh(s)
	s.everything = d.where(func(*Endpoint) bool { return true })
	s.standard = d.where(d.isStandard)
	switch policy.Subset.Fallback {
	case plan.AnyEndpoint:
		s.fallback = s.everything
	case plan.DefaultSubset:
		s.fallback = s.standard
	}
	return s
}

// A divider is what subsets are made of.
type divider struct {
	of     *plan.Subset
	policy plan.LB // within subsets
	hosts  Hosts
	places []Locality // one for each place and priority, those of lower priorities first
	seed   uint64
}

// selectors returns the selectors, of those with the same keys one: what the first of them
// says counts (Envoy).
func (d *divider) selectors() []*selector {
	var out []*selector
	for _, p := range d.of.Selectors {
		i := slices.IndexFunc(out, func(s *selector) bool { return slices.Equal(s.keys, p.Keys) })
		if i >= 0 {
			out[i].fallback = cmp.Or(out[i].fallback, p.Fallback)
			continue
		}
		out = append(out, &selector{keys: p.Keys, fallback: p.Fallback, single: p.Single, byValues: make(map[string]*subset)})
	}
	for _, p := range d.of.Selectors {
		if p.Fallback == plan.KeysSubset {
			find(out, p.Keys).reduced = find(out, p.FallbackKeys)
		}
	}
	if d.of.Redundant {
		slices.SortStableFunc(out, func(a, b *selector) int { return cmp.Compare(len(b.keys), len(a.keys)) })
	}
	return out
}

func find(in []*selector, keys []string) *selector {
	for _, s := range in {
		if slices.Equal(s.keys, keys) {
			return s
		}
	}
	return nil
}

// divide puts a host into its subsets.
func (d *divider) divide(s *subsets, place int, e *Endpoint) {
	have := e.Host.Metadata.GetFilterMetadata()["envoy.lb"].GetFields()
	for _, sel := range s.selectors {
		d.values(have, sel.keys, nil, func(values []byte) {
			in := sel.byValues[string(values)]
			if in == nil {
				in = d.empty()
				sel.byValues[string(values)] = in
			}
			switch {
			case !sel.single:
				in.add(place, e)
			case in.single == nil:
				in.single = e.Host
			default:
				s.duplicates++
			}
		})
	}
}

// values calls yield with the encoded values that a host has of keys, each combination
// where elements of lists count. Without one of the keys there is none.
func (d *divider) values(have map[string]*structpb.Value, keys []string, before []byte, yield func([]byte)) {
	if len(keys) == 0 {
		yield(before)
		return
	}
	v, ok := have[keys[0]]
	if !ok {
		return
	}
	list, is := v.GetKind().(*structpb.Value_ListValue)
	if !is || !d.of.ListAny {
		d.values(have, keys[1:], appendValue(before, v), yield)
		return
	}
	for _, v := range list.ListValue.GetValues() {
		d.values(have, keys[1:], appendValue(slices.Clip(before), v), yield)
	}
}

// empty returns a subset with all localities, but no hosts.
func (d *divider) empty() *subset {
	s := &subset{policy: d.policy, hosts: d.hosts, seed: d.seed}
	s.hosts.Localities = slices.Clone(d.places)
	for i := range s.hosts.Localities {
		s.hosts.Localities[i].Endpoints = nil
	}
	return s
}

// add adds a host; it may have been the last one already, by another element of a list.
func (s *subset) add(place int, e *Endpoint) {
	in := &s.hosts.Localities[place].Endpoints
	if n := len(*in); n == 0 || (*in)[n-1].Host != e.Host {
		*in = append(*in, *e)
	}
}

// where returns the subset of some hosts.
func (d *divider) where(is func(*Endpoint) bool) *subset {
	s := d.empty()
	for i := range d.places {
		for j := range d.places[i].Endpoints {
			if e := &d.places[i].Endpoints[j]; is(e) {
				s.add(i, e)
			}
		}
	}
	d.scale(s)
	return s
}

// isStandard reports whether a host is in the default subset.
func (d *divider) isStandard(e *Endpoint) bool {
	have := e.Host.Metadata.GetFilterMetadata()["envoy.lb"].GetFields()
	for k, want := range d.of.Default.GetFields() {
		same := func(v *structpb.Value) bool { return string(appendValue(nil, v)) == string(appendValue(nil, want)) }
		v, ok := have[k]
		if list, is := v.GetKind().(*structpb.Value_ListValue); is && d.of.ListAny {
			ok = slices.ContainsFunc(list.ListValue.GetValues(), same)
		} else {
			ok = ok && same(v)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (d *divider) weigh(s *subsets) {
	for _, sel := range s.selectors {
		for _, in := range sel.byValues {
			d.scale(in)
		}
	}
}

// scale lets localities have weight by how many of their hosts are in the subset, if that
// is wanted.
func (d *divider) scale(s *subset) {
	if !d.policy.LocalityWeights || !d.of.ScaleWeights {
		return
	}
	for i := range s.hosts.Localities {
		l := &s.hosts.Localities[i]
		if all := len(d.places[i].Endpoints); all > 0 {
			l.Weight = uint32(math.Round(float64(l.Weight) * float64(len(l.Endpoints)) / float64(all)))
		}
	}
}

// pick chooses a host of the subset that is asked for. Where criteria have a list of
// others, they are tried in order until there is a host.
func (s *subsets) pick(q *Request) Choice {
	base := criteria{base: q.Match.GetFields()}
	list, has := base.base[listKey]
	if !s.plan.FallbackList || !has {
		return s.choose(q, &base)
	}
	base.list = true
	all := list.GetListValue().GetValues()
	if len(all) == 0 {
		return s.choose(q, &base)
	}
	var out Choice
	for _, v := range all {
		base.over = v.GetStructValue().GetFields()
		c := s.choose(q, &base)
		out.Panics, out.Selected = out.Panics+c.Panics, out.Selected+c.Selected
		if c.Host != nil {
			out.Host, out.Fallback, out.FallbackPanic = c.Host, c.Fallback, c.FallbackPanic
			break
		}
	}
	return out
}

// choose does so for one set of criteria.
func (s *subsets) choose(q *Request, c *criteria) Choice {
	var room [128]byte
	sel, values := s.selector(c, room[:0])
	for ; sel != nil; sel = sel.reduced {
		if values == nil {
			values, _ = c.values(sel.keys, room[:0])
		}
		if in := sel.byValues[string(values)]; in != nil {
			out := in.pick(q)
			out.Selected++
			return out
		}
		switch sel.fallback {
		case plan.NoFallback:
			return Choice{}
		case plan.AnyEndpoint:
			return s.everything.pick(q)
		case plan.DefaultSubset:
			return s.standard.pick(q)
		case plan.Undefined:
			return s.fallBack(q)
		}
		values = nil
	}
	return s.fallBack(q)
}

// selector returns the one that has the keys of criteria, or most of them if they may have
// more, with their values; nil: there is none.
func (s *subsets) selector(c *criteria, room []byte) (*selector, []byte) {
	n := c.size()
	for _, sel := range s.selectors {
		if len(sel.keys) != n && (!s.plan.Redundant || len(sel.keys) > n) {
			continue
		}
		if values, ok := c.values(sel.keys, room); ok {
			return sel, values
		}
	}
	return nil, nil
}

func (s *subsets) fallBack(q *Request) Choice {
	if s.fallback == nil {
		return Choice{}
	}
	c := s.fallback.pick(q)
	if c.Host != nil {
		c.Fallback = true
		return c
	}
	if s.plan.PanicAny {
		last := s.everything.pick(q)
		c.Host, c.Panics, c.FallbackPanic = last.Host, c.Panics+last.Panics, last.Host != nil
	}
	return c
}

// SubsetChanges are how many subsets came and went, and how many hosts are not the one of
// their subset.
type SubsetChanges struct{ Created, Removed, Duplicates int }

// SubsetChanges compares the subsets with those of a balancer before; nil: there was none.
// ok is false when there are none on either side.
func (b *Balancer) SubsetChanges(was *Balancer) (c SubsetChanges, ok bool) {
	now, then := b.division(), was.division()
	if now != nil {
		c.Created, c.Duplicates = now.without(then), now.duplicates
	}
	if then != nil {
		c.Removed = then.without(now)
	}
	return c, now != nil || then != nil
}

// Subsets is how many subsets there are.
func (b *Balancer) Subsets() int {
	if b.subsets == nil {
		return 0
	}
	return b.subsets.without(nil)
}

func (b *Balancer) division() *subsets {
	if b == nil {
		return nil
	}
	return b.subsets
}

// without is how many subsets other does not have.
func (s *subsets) without(other *subsets) (n int) {
	for _, sel := range s.selectors {
		var there *selector
		if other != nil {
			there = find(other.selectors, sel.keys)
		}
		for values := range sel.byValues {
			if there == nil || there.byValues[values] == nil {
				n++
			}
		}
	}
	return n
}
