package upstream

import (
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/plan"
)

// A request names the host of each of its tries: in a header, and then in its metadata.
// The policy chooses where it names none that is there. The chosen one is written down.
func TestOverrideHost(t *testing.T) {
	p := cluster("c", internal("a", ""), internal("b", ""), internal("bad", ""))
	p.Assignment.Localities[0].Endpoints[2].Health = 2 // UNHEALTHY
	p.LB.Override = &plan.Override{
		Sources: []plan.OverrideSource{
			{Header: "to"}, {Metadata: plan.MetadataKey{Namespace: "envoy.lb", Path: []string{"x", "to"}}},
		},
		Selected: plan.MetadataKey{Namespace: "chosen", Path: []string{"at", "last"}},
	}
	s, _ := run(t, Options{}, p)
	c := s.get(t, "c").(*Cluster)
	a, b, bad := c.roster.Load().hosts[0], c.roster.Load().hosts[1], c.roster.Load().hosts[2]
	name := func(h *host) string { return h.Addr.String() }
	for what, x := range map[string]struct {
		headers  []string
		metadata string
		try      int
		want     *host // nil: the policy chooses
	}{
		"nothing":                 {want: nil},
		"a header":                {headers: []string{name(b)}, want: b},
		"a header with blanks":    {headers: []string{" nobody , " + name(b) + " "}, want: b},
		"the second line":         {headers: []string{"", name(b)}, want: b},
		"the second of a list":    {headers: []string{name(b) + "," + name(a)}, try: 1, want: a},
		"twice the same":          {headers: []string{name(b), name(b)}, try: 1, want: b},
		"the metadata behind it":  {headers: []string{name(b)}, metadata: "nobody," + name(a), try: 1, want: a},
		"no more":                 {headers: []string{name(b)}, try: 1, want: nil},
		"the metadata":            {metadata: name(b), want: b},
		"one that is not healthy": {headers: []string{name(bad)}, want: bad},
	} {
		t.Run(what, func(t *testing.T) {
			info := &filter.Info{}
			r := &httpmsg.Request{}
			for _, v := range x.headers {
				r.Header.Add("to", v)
			}
			info.More().HTTP = &filter.HTTPInfo{Request: r}
			chosen, _ := structpb.NewStruct(map[string]any{"kept": "1", "at": map[string]any{"first": "2"}})
			info.Metadata = filter.Metadata{"chosen": chosen}
			if x.metadata != "" {
				info.Metadata["envoy.lb"], _ = structpb.NewStruct(map[string]any{"x": map[string]any{"to": x.metadata}})
			}
			before := info.Metadata
			h := c.pickFor(&filter.StreamRequest{Info: info, Try: x.try})
			if x.want != nil && h != x.want || x.want == nil && (h == nil || h == bad) || c.named(info, x.try) != x.want {
				t.Errorf("chosen %v, want %v", h.Addr, x.want)
			}
			c.tell(info, h)
			got := info.Metadata["chosen"].AsMap()
			if at := got["at"].(map[string]any); got["kept"] != "1" || at["first"] != "2" || at["last"] != name(h) {
				t.Errorf("it says %v", got)
			}
			if len(before["chosen"].Fields["at"].GetStructValue().Fields) != 1 {
				t.Error("the metadata of before was written to")
			}
		})
	}
	if c.named(&filter.Info{}, 0) != nil {
		t.Error("a connection that names no host has one")
	}
}
