package lb_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
)

func fields(t testing.TB, json string) *structpb.Struct {
	s := new(structpb.Struct)
	if err := protojson.Unmarshal([]byte(json), s); err != nil {
		t.Fatal(json, err)
	}
	return s
}

// described returns an endpoint with metadata for each text.
func described(t testing.TB, metadata ...string) []lb.Endpoint {
	e := ports(1, make([]uint32, len(metadata))...)
	for i, text := range metadata {
		e[i].Host.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.lb": fields(t, text)}}
	}
	return e
}

// serving are the ports of the hosts that criteria lead to.
func serving(t testing.TB, b *lb.Balancer, criteria string) string {
	parts, _ := drawFor(b, 64, lb.Request{Match: fields(t, criteria)})
	var out []string
	for port := range parts {
		out = append(out, fmt.Sprint(port))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// Criteria and the hosts they lead to; the script lb_subsets holds the same to Envoy. 0: none.
func TestSubsets(t *testing.T) {
	keys := func(k ...string) plan.SubsetSelector { return plan.SubsetSelector{Keys: k} }
	hosts := []string{`{"v":"1","s":"a"}`, `{"v":"2","s":"a"}`, `{"v":"1","s":"b","l":["x","y","x"]}`, `{"l":"x"}`}
	for _, c := range []struct {
		name     string
		plan     plan.Subset
		criteria string
		want     string
	}{
		{"exact", plan.Subset{Selectors: []plan.SubsetSelector{keys("v")}}, `{"v":"1"}`, "1 3"},
		{"two keys", plan.Subset{Selectors: []plan.SubsetSelector{keys("v"), keys("s", "v")}}, `{"v":"1","s":"b"}`, "3"},
		{"more keys", plan.Subset{Selectors: []plan.SubsetSelector{keys("v")}}, `{"v":"1","x":0}`, "0"},
		{"texts side by side", plan.Subset{Selectors: []plan.SubsetSelector{keys("s", "v")}}, `{"s":"a1","v":""}`, "0"},
		{"list", plan.Subset{Selectors: []plan.SubsetSelector{keys("l")}}, `{"l":["x","y","x"]}`, "3"},
		{"element", plan.Subset{ListAny: true, Selectors: []plan.SubsetSelector{keys("l")}}, `{"l":"x"}`, "3 4"},
		{"redundant", plan.Subset{Redundant: true, Selectors: []plan.SubsetSelector{keys("v"), keys("s", "v")}}, `{"v":"1","s":"b","x":0}`, "3"},
		{"redundant, the first of equals", plan.Subset{Redundant: true, Selectors: []plan.SubsetSelector{keys("s"), keys("v")}}, `{"v":"1","s":"a"}`, "1 2"},
		{"redundant, none", plan.Subset{Redundant: true, Selectors: []plan.SubsetSelector{keys("s", "v")}}, `{"v":"1","x":0}`, "0"},
		{"default", plan.Subset{Fallback: plan.DefaultSubset, Default: fields(t, `{"s":"a","v":"2"}`)}, `{}`, "2"},
		{"default of anything", plan.Subset{Fallback: plan.DefaultSubset}, `{}`, "1 2 3 4"},
		{"default by element", plan.Subset{ListAny: true, Fallback: plan.DefaultSubset, Default: fields(t, `{"l":"y"}`)}, `{}`, "3"},
		{"list of criteria", plan.Subset{FallbackList: true, Selectors: []plan.SubsetSelector{keys("v"), keys("s", "v")}},
			`{"v":"1","fallback_list":[{"v":"9"},{"s":"b"}]}`, "3"},
		{"that list is no criterion", plan.Subset{FallbackList: true, Selectors: []plan.SubsetSelector{keys("v")}}, `{"v":"2","fallback_list":1}`, "2"},
		{"but else it is", plan.Subset{Selectors: []plan.SubsetSelector{keys("v")}}, `{"v":"2","fallback_list":1}`, "0"},
		{"fewer keys, of no selector", plan.Subset{Fallback: plan.AnyEndpoint, Selectors: []plan.SubsetSelector{
			{Keys: []string{"s", "v"}, Fallback: plan.KeysSubset, FallbackKeys: []string{"s"}}}}, `{"s":"b","v":"9"}`, "1 2 3 4"},
		{"same keys twice", plan.Subset{Selectors: []plan.SubsetSelector{keys("v"), {Keys: []string{"v"}, Fallback: plan.AnyEndpoint}}},
			`{"v":"9"}`, "1 2 3 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := lb.New(plan.LB{PanicPercent: 50, Subset: &c.plan}, lb.Hosts{Localities: one(described(t, hosts...))}, 0)
			if got := serving(t, b, c.criteria); got != c.want {
				t.Errorf("%s leads to %s, want %s", c.criteria, got, c.want)
			}
		})
	}
}

// The only host of a subset is that of the first priority, well or not.
func TestSingleHostOfSubset(t *testing.T) {
	e := described(t, `{"v":"1"}`, `{"v":"1"}`, `{"v":"2"}`)
	e[0].Health = lb.Unhealthy
	b := lb.New(plan.LB{Subset: &plan.Subset{Selectors: []plan.SubsetSelector{{Keys: []string{"v"}, Single: true}}}},
		lb.Hosts{Localities: []lb.Locality{{Priority: 1, Endpoints: e[1:]}, {Endpoints: e[:1]}}}, 0)
	if got := serving(t, b, `{"v":"1"}`); got != "1" {
		t.Error(got)
	}
	d, ok := b.SubsetChanges(nil)
	if want := (lb.SubsetChanges{Created: 2, Duplicates: 1}); !ok || d != want {
		t.Errorf("%+v, want %+v", d, want)
	}
}

func TestSubsetChanges(t *testing.T) {
	with := func(metadata ...string) *lb.Balancer {
		return lb.New(plan.LB{Subset: &plan.Subset{Selectors: []plan.SubsetSelector{{Keys: []string{"v"}}}}},
			lb.Hosts{Localities: one(described(t, metadata...))}, 0)
	}
	d, ok := with(`{"v":1}`, `{"v":2}`, `{"v":3}`).SubsetChanges(with(`{"v":1}`, `{"v":4}`))
	if want := (lb.SubsetChanges{Created: 2, Removed: 1}); !ok || d != want {
		t.Errorf("%+v, want %+v", d, want)
	}
	if _, ok := lb.New(plan.LB{}, lb.Hosts{}, 0).SubsetChanges(nil); ok {
		t.Error("there are no subsets")
	}
}

// A choice among many subsets allocates nothing, whatever the criteria.
func TestSubsetAllocations(t *testing.T) {
	var metadata []string
	for i := range 100 {
		metadata = append(metadata, fmt.Sprintf(`{"version":"v%d","stage":"prod","zone":%d}`, i, i%3))
	}
	s := &plan.Subset{Fallback: plan.AnyEndpoint, FallbackList: true, Selectors: []plan.SubsetSelector{
		{Keys: []string{"version"}}, {Keys: []string{"stage", "version", "zone"}, Fallback: plan.KeysSubset, FallbackKeys: []string{"version"}},
	}}
	b := lb.New(plan.LB{Subset: s}, lb.Hosts{Localities: one(described(t, metadata...))}, 0)
	for _, criteria := range []string{
		`{"version":"v7"}`, `{"version":"v7","stage":"prod","zone":7}`, `{"version":"v7","stage":"prod","zone":1}`,
		`{"x":1}`, `{"version":"v0","fallback_list":[{"version":"none"},{"version":"v8"}]}`,
	} {
		q := lb.Request{Match: fields(t, criteria)}
		b.Pick(q) // the subset's balancer is made by the first choice
		if n := testing.AllocsPerRun(100, func() {
			q.Random = rand.Uint64()
			if b.Pick(q).Host == nil {
				t.Error("no host")
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", criteria, n)
		}
	}
}

// Members of a chain share the traffic as the priorities of one cluster would.
func TestChain(t *testing.T) {
	members := func(all ...string) (out []lb.Member) {
		for i, priorities := range all {
			name := fmt.Sprint("c", i)
			var l []lb.Locality
			for p, letters := range strings.Split(priorities, " ") {
				e := states(100*i+10*p+1, letters)
				for j := range e {
					e[j].Host.Cluster, e[j].Host.Priority = name, uint32(p)
				}
				l = append(l, lb.Locality{Priority: uint32(p), Endpoints: e})
			}
			out = append(out, lb.Member{Cluster: name, Balancer: lb.New(plan.LB{PanicPercent: 50}, lb.Hosts{Localities: l}, 0)})
		}
		return out
	}
	for _, c := range []struct {
		members []string // priorities of each, as in TestSpread
		panic   float64
		tried   []*filter.Host
		want    map[int]float64 // by port, which has the member's number in the hundreds
	}{
		{[]string{"h", "h"}, 50, nil, map[int]float64{1: 1}},
		{[]string{"u", "h"}, 50, nil, map[int]float64{101: 1}},
		{[]string{"hu", "h"}, 50, nil, map[int]float64{1: .7, 101: .3}},
		{[]string{"u h", "h"}, 50, nil, map[int]float64{11: 1}},
		{[]string{"", "u", "h"}, 50, nil, map[int]float64{201: 1}},
		{[]string{"d", "u"}, 50, nil, map[int]float64{1: 1}},
		{[]string{"d", "h"}, 50, nil, map[int]float64{101: 1}},
		{[]string{"u", "uu"}, 50, nil, map[int]float64{1: .34, 101: .33, 102: .33}}, // all in panic: by number
		{[]string{"h", "h"}, 50, []*filter.Host{{Cluster: "c0"}}, map[int]float64{101: 1}},
		{[]string{"h h", "h"}, 50, []*filter.Host{{Cluster: "c0"}, {Cluster: "c0", Priority: 1}}, map[int]float64{101: 1}},
		{[]string{"h", "h"}, 50, []*filter.Host{{Cluster: "gone"}}, map[int]float64{1: 1}},
		{[]string{"", ""}, 50, nil, map[int]float64{0: 1}},
		{nil, 50, nil, map[int]float64{0: 1}},
	} {
		chain, all := lb.NewChain(c.panic, members(c.members...)), members(c.members...)
		got, rnd := make(map[int]float64), rand.New(rand.NewPCG(1, 2))
		const n = 10000
		for range n {
			q, port := lb.Request{Random: rnd.Uint64(), Tried: c.tried, Every: 1}, 0
			if i, at, ok := chain.Pick(q); ok {
				q.Place = &at
				a, _ := filter.IP(all[i].Balancer.Pick(q).Host.Addr)
				port = int(a.Port())
			}
			got[port] += 1. / n
		}
		for port := range got {
			if d := got[port] - c.want[port]; d > .02 || d < -.02 {
				t.Errorf("%q: parts %v, want %v", c.members, got, c.want)
				break
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%q: parts %v, want %v", c.members, got, c.want)
		}
	}
	// A place that the member does not have any more leads nowhere.
	b := members("h")[0].Balancer
	if c := b.Pick(lb.Request{Place: &lb.Place{Priority: 3}}); c.Host != nil {
		t.Error(c.Host.Addr)
	}
}
