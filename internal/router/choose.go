package router

import (
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// policiesOf returns what a cluster says in place of routes; nil: nothing.
func policiesOf(c filter.HTTPCluster) *route.Policies {
	p, _ := c.Info().Policies.(*route.Policies)
	return p
}

// aim finds out what chooses among the cluster's hosts.
func (x *call) aim() {
	if !x.cluster.Info().Hashing {
		return
	}
	var ok bool
	if x.hashed, x.cookies, ok = x.policies.Hash(x.stream.Request, x.stream.Info); ok {
		x.hash = &x.hashed
	}
}

// criteria merges subset criteria: those of the request win over the route's.
func criteria(base, over *structpb.Struct) *structpb.Struct {
	if base == nil || over == nil {
		if over != nil {
			return over
		}
		return base
	}
	out := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(base.Fields)+len(over.Fields))}
	for _, s := range []*structpb.Struct{base, over} {
		for k, v := range s.Fields {
			out.Fields[k] = v
		}
	}
	return out
}

// nameHost gives the request the name of the host that was chosen.
func (x *call) nameHost(r *httpmsg.Request, h *filter.Host) {
	if h.Hostname != "" {
		x.action.SetHost(r, h.Hostname, !x.router.config.Quiet)
	}
}
