package rbac

import (
	"net"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/rbac/matchers/upstream_ip_port/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

var upstreamFields = extension.Fields{
	Message: &upstreamv3.UpstreamIpPortMatcher{},
	Obeyed:  []string{"upstream_ip", "upstream_port_range"},
}

// matched compiles a permission that is an extension: where a dynamic forward proxy has
// found what is asked for.
func matched(s *extension.Scope, m *corev3.TypedExtensionConfig) rule {
	return extended(s, m, "permission", upstream)
}

// upstream compiles a rule of where the name was found that a connection or request is for.
// Nobody is one of its own where no filter has saved that (save_upstream_address).
func upstream(s *extension.Scope, m *upstreamv3.UpstreamIpPortMatcher) rule {
	upstreamFields.Check(s, m)
	var all []rule
	if m.GetUpstreamIp() != nil {
		all = append(all, within(s.Field("upstream_ip"), m.UpstreamIp, upstreamOf))
	}
	if r := m.GetUpstreamPortRange(); r != nil {
		all = append(all, upstreamPort(r))
	}
	if len(all) == 0 {
		s.Errorf("Invalid UpstreamIpPortMatcher configuration - missing `upstream_ip` and/or `upstream_port_range`")
		return never
	}
	return allOf(all)
}

func upstreamPort(r *typev3.Int64Range) rule {
	return func(s subject) bool {
		a, ok := filter.IP(upstreamOf(s))
		return ok && r.GetStart() <= int64(a.Port()) && int64(a.Port()) <= r.GetEnd() // Envoy: the end is in it
	}
}

// upstreamOf returns where the name was found; nil: nobody has said.
func upstreamOf(s subject) net.Addr {
	for _, i := range []*filter.Info{s.info, s.conn} {
		if u, ok := filter.Get[state.UpstreamAddress](&i.State, state.UpstreamAddressKey); ok {
			return u.Addr
		}
	}
	return nil
}
