// Package originaldst is the listener filter that restores the addresses a connection
// had before it was redirected
// (envoy.extensions.filters.listener.original_dst.v3.OriginalDst).
//
// On an internal connection they come with it, as metadata or filter state. Where a
// socket's was going the kernel knows.
package originaldst

import (
	"net"

	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

// Namespace is the metadata namespace whose string field "local" is the original
// destination.
const Namespace = "envoy.filters.listener.original_dst"

var fields = extension.Fields{Message: &originaldstv3.OriginalDst{}}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&fields} }

// Register adds the filter to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.ListenerFilter, func(s *extension.Scope, m *originaldstv3.OriginalDst) filter.ListenerFilterFactory {
		fields.Check(s, m)
		return Factory{}
	})
}

// A Factory is the compiled configuration and the filter in one.
type Factory struct{}

// NewListenerFilter implements filter.ListenerFilterFactory.
func (f Factory) NewListenerFilter(*filter.Env) (filter.ListenerFilter, error) { return f, nil }

// Peeks implements filter.ListenerFilterFactory.
func (Factory) Peeks() bool { return false }

// Inspect implements filter.ListenerFilter.
func (Factory) Inspect(info *filter.Info, p filter.Peeker) error {
	if _, internal := info.DirectLocal().(filter.InternalAddr); !internal {
		socket(info, p.Stream())
		return nil
	}
	if local, ok := local(info); ok {
		info.RestoreLocal(local)
	}
	if remote, ok := filter.Get[state.Address](&info.State, state.OriginalRemoteKey); ok {
		info.RestoreRemote(filter.IPAddr{AddrPort: remote.AddrPort})
	}
	return nil
}

// socket restores the address also when it is the one that the connection has (Envoy): a
// cluster by original destination goes by that.
func socket(info *filter.Info, s filter.Stream) {
	if s, ok := s.(interface{ OriginalDst() (net.Addr, bool) }); ok {
		if to, ok := s.OriginalDst(); ok {
			info.RestoreLocal(to)
		}
	}
}

// local finds the original destination. A string in the metadata decides, even one
// that is no address (Envoy; reference internal-listeners 3.6).
func local(info *filter.Info) (filter.IPAddr, bool) {
	v := state.Walk(info.Metadata[Namespace], []string{"local"})
	if s, ok := v.GetKind().(*structpb.Value_StringValue); ok {
		return state.ParseIPPort(s.StringValue)
	}
	a, ok := filter.Get[state.Address](&info.State, state.OriginalLocalKey)
	return filter.IPAddr{AddrPort: a.AddrPort}, ok
}
