package proxyprotocol

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/proxyproto"
)

// NewListenerFilter implements filter.ListenerFilterFactory.
func (c *config) NewListenerFilter(env *filter.Env) (filter.ListenerFilter, error) {
	f := &proxy{config: c, stats: newStats(env.Stats, c.prefix)}
	return f, nil
}

// Peeks implements filter.ListenerFilterFactory.
func (c *config) Peeks() bool { return true }

// stats are under Envoy's names.
type stats struct {
	errors           filter.Counter // Envoy's before versions had their own
	allowed, refused filter.Counter // without a header
	versions         [3]versionStats
}

type versionStats struct{ found, disallowed, errors filter.Counter }

func newStats(root filter.Scope, prefix string) *stats {
	s := root.Scope(prefix)
	st := &stats{
		errors:  root.Counter("downstream_cx_proxy_proto_error"),
		allowed: s.Counter("not_found_allowed"), refused: s.Counter("not_found_disallowed"),
	}
	for v := 1; v <= 2; v++ {
		s := s.Scope(fmt.Sprintf("versions.v%d.", v))
		st.versions[v] = versionStats{s.Counter("found"), s.Counter("disallowed"), s.Counter("error")}
	}
	return st
}

// proxy is the running filter.
type proxy struct {
	*config
	stats *stats
}

// Inspect implements filter.ListenerFilter.
func (f *proxy) Inspect(info *filter.Info, p filter.Peeker) error {
	for need := 1; ; {
		b, perr := p.Peek(need)
		if len(b) > 0 {
			more, err := f.read(b, info, p)
			if more == 0 {
				return err
			}
			need = more
		}
		if perr != nil {
			return perr
		}
	}
}

// read looks for a header in the bytes that there are; more is how many it takes to say
// anything.
func (f *proxy) read(b []byte, info *filter.Info, p filter.Peeker) (more int, err error) {
	if f.optional && !(proxyproto.MayBe1(b) && !f.disallowed[1]) && !(proxyproto.MayBe2(b) && !f.disallowed[2]) {
		f.stats.allowed.Add(1)
		return 0, nil
	}
	h, more, err := proxyproto.Parse(b)
	version := &f.stats.versions[h.Version]
	switch {
	case errors.Is(err, proxyproto.ErrNotFound):
		f.stats.refused.Add(1)
		return 0, f.denied(err)
	case errors.Is(err, proxyproto.ErrLong): // is said before the version is looked at
	case f.disallowed[h.Version]:
		version.found.Add(1)
		version.disallowed.Add(1)
		return 0, fmt.Errorf("%w: version %d of the PROXY protocol is disallowed", filter.ErrDenied, h.Version)
	}
	switch {
	case err != nil:
		version.errors.Add(1)
		return 0, f.denied(err)
	case more > 0 && f.optional && h.Version == 0:
		return len(b) + 1, nil // the next byte may tell that there is no header
	case more > 0:
		return more, nil
	}
	f.apply(&h, info)
	if err := p.Discard(h.Len); err != nil {
		return 0, err
	}
	version.found.Add(1)
	return 0, nil
}

func (f *proxy) denied(err error) error {
	f.stats.errors.Add(1)
	return fmt.Errorf("%w: %w", filter.ErrDenied, err)
}

// apply tells the connection what its header says.
func (f *proxy) apply(h *proxyproto.Header, info *filter.Info) {
	f.find(h.TLVs, info)
	st := &proxyproto.State{Source: info.Remote, Destination: info.Local, TLVs: f.pass.Select(h.TLVs)}
	if !h.Local {
		st.Source, st.Destination = address(h.Source), address(h.Destination)
	}
	if _, ok := info.State.Get(proxyproto.StateKey); !ok {
		info.State.Set(filter.Entry{Name: proxyproto.StateKey, Object: st})
	}
	if h.Local {
		return
	}
	if at, ok := filter.IP(info.Local); !ok || at != h.Destination {
		info.RestoreLocal(st.Destination)
	}
	info.RestoreRemote(st.Source)
}

func address(a netip.AddrPort) net.Addr { return filter.IPAddr{AddrPort: a} }

// find puts the values of TLVs where rules say. In metadata the first of a type stays,
// and what was there before; in the filter state the last.
func (f *proxy) find(tlvs []proxyproto.TLV, info *filter.Info) {
	var found values
	for _, t := range tlvs {
		r, ok := f.rules[t.Type]
		switch {
		case !ok:
		case f.inState:
			found = found.with(r.key, r.text(t.Value))
		default:
			addMetadata(info, r.namespace, r.key, r.text(t.Value))
		}
	}
	if found != nil {
		info.State.Set(filter.Entry{Name: StateKey, Object: found})
	}
}

func addMetadata(info *filter.Info, namespace, key, value string) {
	old := info.Metadata[namespace].GetFields()
	if _, ok := old[key]; ok {
		return
	}
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(old)+1)}
	for k, v := range old {
		s.Fields[k] = v
	}
	s.Fields[key] = structpb.NewStringValue(value)
	info.MergeMetadata(filter.Metadata{namespace: s})
}
