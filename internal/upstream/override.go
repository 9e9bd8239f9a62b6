package upstream

import (
	"iter"
	"maps"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// named returns the host that a request or connection names for a try, of which there were
// so many before: each goes to the next one of those that the cluster has. It may be
// unhealthy (Envoy). nil: the policy chooses.
func (c *Cluster) named(i *filter.Info, try int) *host {
	if c.plan.LB.Override == nil {
		return nil
	}
	return c.searched(i, try) // apart, for it makes closures
}

func (c *Cluster) searched(i *filter.Info, try int) *host {
	r := c.roster.Load()
	for _, s := range c.plan.LB.Override.Sources {
		for list := range overrides(&s, i) {
			for addr := range strings.SplitSeq(list, ",") {
				h := r.byAddr()[strings.TrimSpace(addr)]
				if h == nil {
					continue
				}
				if try == 0 {
					return h
				}
				try--
			}
		}
	}
	return nil
}

// overrides returns the lists of addresses at a source.
func overrides(s *plan.OverrideSource, i *filter.Info) iter.Seq[string] {
	if h := i.HTTP(); s.Header != "" && h != nil && h.Request != nil {
		return h.Request.Values(s.Header)
	}
	return func(yield func(string) bool) {
		v := structpb.NewStructValue(i.Metadata[s.Metadata.Namespace])
		for _, key := range s.Metadata.Path {
			v = v.GetStructValue().GetFields()[key]
		}
		if text := v.GetStringValue(); text != "" {
			yield(text)
		}
	}
}

// tell writes the address of the chosen host where the configuration wants it.
func (c *Cluster) tell(i *filter.Info, h *host) {
	if c.plan.LB.Override == nil || c.plan.LB.Override.Selected.Namespace == "" {
		return
	}
	k := c.plan.LB.Override.Selected
	all := maps.Clone(i.Metadata) // tries that run at the same time share what there was
	if all == nil {
		all = make(filter.Metadata, 1)
	}
	all[k.Namespace] = with(all[k.Namespace], k.Path, structpb.NewStringValue(h.Addr.String()))
	i.Metadata = all
}

// with returns s with v at a path of keys; s stays as it is.
func with(s *structpb.Struct, path []string, v *structpb.Value) *structpb.Struct {
	out := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(s.GetFields())+1)}
	maps.Copy(out.Fields, s.GetFields())
	if len(path) > 1 {
		v = structpb.NewStructValue(with(s.GetFields()[path[0]].GetStructValue(), path[1:], v))
	}
	out.Fields[path[0]] = v
	return out
}
