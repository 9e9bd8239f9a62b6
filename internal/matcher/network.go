package matcher

import (
	"crypto/x509"
	"net"
	"strings"

	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	sslv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/ssl/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/certtext"
	"github.com/ginnel/ginnel/internal/match"
	"github.com/ginnel/ginnel/internal/state"
)

var (
	filterStateFields     = extension.Fields{Message: &networkv3.FilterStateInput{}, Obeyed: []string{"key", "field"}}
	dynamicMetadataFields = extension.Fields{Message: &networkv3.DynamicMetadataInput{}, Obeyed: []string{"filter", "path"}}
)

// AddNetwork adds the inputs of connections. info returns what is known of one.
func AddNetwork[D any](in *Inputs[D], info func(D) *filter.Info) {
	read := func(f func(*filter.Info) Value) Input[D] { return func(d D) Value { return f(info(d)) } }
	local := func(i *filter.Info) net.Addr { return i.Local }
	remote := func(i *filter.Info) net.Addr { return i.Remote }
	Add(in, func(*extension.Scope, *networkv3.DestinationIPInput) Input[D] { return read(ipOf(local)) })
	Add(in, func(*extension.Scope, *networkv3.DestinationPortInput) Input[D] { return read(portOf(local)) })
	Add(in, func(*extension.Scope, *networkv3.SourceIPInput) Input[D] { return read(ipOf(remote)) })
	Add(in, func(*extension.Scope, *networkv3.SourcePortInput) Input[D] { return read(portOf(remote)) })
	Add(in, func(*extension.Scope, *networkv3.DirectSourceIPInput) Input[D] {
		return read(ipOf((*filter.Info).DirectRemote))
	})
	Add(in, func(*extension.Scope, *networkv3.SourceTypeInput) Input[D] { return read(sourceType) })
	Add(in, func(*extension.Scope, *networkv3.ServerNameInput) Input[D] { return read(serverName) })
	Add(in, func(*extension.Scope, *networkv3.TransportProtocolInput) Input[D] { return read(transportProtocol) })
	Add(in, func(*extension.Scope, *networkv3.ApplicationProtocolInput) Input[D] { return read(applicationProtocol) })
	Add(in, func(s *extension.Scope, m *networkv3.FilterStateInput) Input[D] { return read(filterState(s, m)) })
	Add(in, func(s *extension.Scope, m *networkv3.DynamicMetadataInput) Input[D] {
		return read(dynamicMetadata(s, m))
	})
}

// AddTLS adds the inputs of the certificate of a connection's peer. Nothing can be decided
// by them where there is no TLS (Envoy).
func AddTLS[D any](in *Inputs[D], info func(D) *filter.Info) {
	peer := func(f func(*x509.Certificate) string) Input[D] {
		return func(d D) Value {
			t := info(d).Rest().DownTLS
			if t == nil {
				return Pending()
			}
			if len(t.Peer) > 0 {
				if text := f(t.Peer[0]); text != "" {
					return Text(text)
				}
			}
			return Value{}
		}
	}
	Add(in, func(*extension.Scope, *sslv3.UriSanInput) Input[D] { return peer(uris) })
	Add(in, func(*extension.Scope, *sslv3.DnsSanInput) Input[D] { return peer(dnsNames) })
	Add(in, func(*extension.Scope, *sslv3.SubjectInput) Input[D] { return peer(subject) })
}

func uris(c *x509.Certificate) string     { return strings.Join(certtext.NamesOf(c).URI, ",") }
func dnsNames(c *x509.Certificate) string { return strings.Join(certtext.NamesOf(c).DNS, ",") }
func subject(c *x509.Certificate) string  { return certtext.Name(c.RawSubject) }

func ipOf(of func(*filter.Info) net.Addr) func(*filter.Info) Value {
	return func(i *filter.Info) Value {
		a, ok := filter.IP(of(i))
		if !ok {
			return Value{}
		}
		return Address(a.Addr().WithZone(""))
	}
}

func portOf(of func(*filter.Info) net.Addr) func(*filter.Info) Value {
	return func(i *filter.Info) Value {
		a, ok := filter.IP(of(i))
		if !ok {
			return Value{}
		}
		return Port(a.Port())
	}
}

// sourceType tells only who is local: the others have none (Envoy).
func sourceType(i *filter.Info) Value {
	if match.Local(i.Local, i.Remote) {
		return Text("local")
	}
	return Value{}
}

func serverName(i *filter.Info) Value {
	if name := i.Rest().Inspected.ServerName; name != "" {
		return Text(name)
	}
	return Value{}
}

func transportProtocol(i *filter.Info) Value {
	if p := i.Rest().Inspected.TransportProtocol; p != "" {
		return Text(p)
	}
	return Text("raw_buffer")
}

func applicationProtocol(i *filter.Info) Value {
	if list := i.Rest().Inspected.ApplicationProtocols; len(list) > 0 {
		return Quoted(list)
	}
	return Value{}
}

func filterState(s *extension.Scope, m *networkv3.FilterStateInput) func(*filter.Info) Value {
	filterStateFields.Check(s, m)
	key, field := m.GetKey(), m.GetField()
	if key == "" {
		s.Field("key").Errorf("is required")
	}
	return func(i *filter.Info) Value {
		o, ok := i.State.Get(key)
		if !ok {
			return Value{}
		}
		var text string
		if f, fielded := o.(filter.Fielded); fielded && field != "" {
			text, ok = f.Field(field)
		} else { // where there are no fields, naming one changes nothing (Envoy)
			text, ok = o.Serialize()
		}
		if !ok {
			return Value{}
		}
		return Text(text)
	}
}

func dynamicMetadata(s *extension.Scope, m *networkv3.DynamicMetadataInput) func(*filter.Info) Value {
	dynamicMetadataFields.Check(s, m)
	if m.GetFilter() == "" {
		s.Field("filter").Errorf("is required")
	}
	if len(m.GetPath()) == 0 {
		s.Field("path").Errorf("at least one is required")
	}
	var keys []string
	for _, seg := range m.GetPath() {
		keys = append(keys, seg.GetKey())
	}
	namespace := m.GetFilter()
	return func(i *filter.Info) Value { return Metadata(state.Walk(i.Metadata[namespace], keys)) }
}
