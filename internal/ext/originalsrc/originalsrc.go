// Package originalsrc is the listener filter that lets connections to hosts come from the
// client's address (envoy.extensions.filters.listener.original_src.v3.OriginalSrc). The
// way back must lead through the proxy, which is for routing rules to see to.
package originalsrc

import (
	"net/netip"

	originalsrcv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_src/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

var fields = extension.Fields{
	Message: &originalsrcv3.OriginalSrc{},
	Obeyed:  []string{"mark"},
	Ignored: map[string]string{"bind_port": "Envoy 1.40 ignores it too: the port is the system's choice"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&fields} }

// Register adds the filter to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.ListenerFilter, func(s *extension.Scope, m *originalsrcv3.OriginalSrc) filter.ListenerFilterFactory {
		fields.Check(s, m)
		return source{mark: m.GetMark()}
	})
}

// source is the compiled configuration and the filter in one.
type source struct{ mark uint32 }

// NewListenerFilter implements filter.ListenerFilterFactory.
func (f source) NewListenerFilter(*filter.Env) (filter.ListenerFilter, error) { return f, nil }

// Peeks implements filter.ListenerFilterFactory.
func (source) Peeks() bool { return false }

// Inspect implements filter.ListenerFilter. The address is the one that is known by now: a
// filter that restores it belongs before this one.
func (f source) Inspect(info *filter.Info, _ filter.Peeker) error {
	if a, ok := filter.IP(info.Remote); ok {
		from := filter.IPAddr{AddrPort: netip.AddrPortFrom(a.Addr(), 0)}
		info.More().Source = &filter.Source{Addr: from, Mark: f.mark}
	}
	return nil
}
