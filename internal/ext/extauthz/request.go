package extauthz

import (
	"crypto/x509"
	"net"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/apiaddr"
	"github.com/ginnel/ginnel/internal/certtext"
)

// request is what the service is told of a connection.
func (a *authz) request(i *filter.Info) *authv3.CheckRequest {
	x := &authv3.AttributeContext{
		Source:          &authv3.AttributeContext_Peer{Address: address(i.Remote)},
		Destination:     &authv3.AttributeContext_Peer{Address: address(i.Local), Labels: a.destination},
		MetadataContext: a.metadata(i),
	}
	if a.session {
		x.TlsSession = &authv3.AttributeContext_TLSSession{}
	}
	if t := i.Rest().DownTLS; t != nil {
		if len(t.Peer) > 0 {
			x.Source.Principal = principal(t.Peer[0])
			if a.certificate {
				x.Source.Certificate = certtext.PEM(t.Peer[0])
			}
		}
		if t.Local != nil {
			x.Destination.Principal = principal(t.Local)
		}
		if a.session {
			x.TlsSession.Sni = t.ServerName
		}
	}
	return &authv3.CheckRequest{Attributes: x}
}

// principal is who a certificate is for: its first URI, its first DNS name or its subject.
func principal(c *x509.Certificate) string {
	n := certtext.NamesOf(c)
	switch {
	case len(n.URI) > 0:
		return n.URI[0]
	case len(n.DNS) > 0:
		return n.DNS[0]
	}
	return certtext.Name(c.RawSubject)
}

func (a *authz) metadata(i *filter.Info) *corev3.Metadata {
	m := &corev3.Metadata{}
	for _, ns := range a.namespaces {
		if s := i.Metadata[ns]; s != nil {
			if m.FilterMetadata == nil {
				m.FilterMetadata = make(map[string]*structpb.Struct)
			}
			m.FilterMetadata[ns] = s
		}
	}
	return m
}

// address is that of a peer; an IPv4 address that is written as one of IPv6 is one of IPv4.
func address(a net.Addr) *corev3.Address {
	if ip, ok := filter.IP(a); ok {
		a = filter.IPAddr{AddrPort: netip.AddrPortFrom(ip.Addr().Unmap(), ip.Port())}
	}
	return apiaddr.Of(a)
}

// nodeLabels are the texts below a key of the node's metadata.
func nodeLabels(n *corev3.Node, key string) map[string]string {
	s := n.GetMetadata().GetFields()[key].GetStructValue()
	if key == "" || s == nil {
		return nil
	}
	out := make(map[string]string)
	for k, v := range s.GetFields() {
		if t, ok := v.GetKind().(*structpb.Value_StringValue); ok {
			out[k] = t.StringValue
		}
	}
	return out
}
