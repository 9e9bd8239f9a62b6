package tcpproxy

import (
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/proxyproto"
)

// A Merge says what the configured TLVs are to those of the client's own header.
type Merge = tcpproxyv3.ProxyProtocolTlvMergePolicy

// addTLVs tells hosts that want a PROXY protocol header of the configured TLVs. It is called
// once, when the cluster is known: of each attempt, as in Envoy, TLVs that are appended would
// become more and more.
func (p *Proxy) addTLVs(i *filter.Info, c filter.Cluster) {
	if len(p.config.TLVs) == 0 {
		return
	}
	st, ok := filter.Get[*proxyproto.State](&i.State, proxyproto.StateKey)
	if ok && p.config.Merge == tcpproxyv3.ProxyProtocolTlvMergePolicy_ADD_IF_ABSENT {
		return
	}
	if c, ok := c.(filter.HTTPCluster); ok {
		i.Up.ClusterInfo = c.Info()
	}
	own := p.config.TLVs.TLVs(i)
	switch {
	case !ok:
		st = &proxyproto.State{Source: i.Remote, Destination: i.Local, TLVs: own}
	case p.config.Merge == tcpproxyv3.ProxyProtocolTlvMergePolicy_APPEND_IF_EXISTS_OR_ADD:
		st = &proxyproto.State{Source: st.Source, Destination: st.Destination, TLVs: append(st.TLVs[:len(st.TLVs):len(st.TLVs)], own...)}
	default:
		st = &proxyproto.State{Source: st.Source, Destination: st.Destination, TLVs: proxyproto.Over(own, st.TLVs)}
	}
	i.State.Set(filter.Entry{Name: proxyproto.StateKey, Object: st})
}
