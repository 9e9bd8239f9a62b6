package upstream

import (
	"net"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/plan"
)

// The filter state that says what a connection asks of its transport, as Envoy names it.
// Lists are separated by commas.
const (
	serverNameKey = "envoy.network.upstream_server_name"
	serverSANsKey = "envoy.network.upstream_subject_alt_names"
	protocolsKey  = "envoy.network.application_protocols"
)

// asksOf returns what a connection asks of the host's transport; nil: nothing.
func (h *host) asksOf(i *filter.Info) *filter.TransportOptions {
	a := asksOf(&i.State)
	if h.preface != nil {
		if a == nil {
			a = new(filter.TransportOptions)
		}
		a.Preface = h.preface(i)
	}
	return a
}

// asksOf returns what filter state asks of the transport; nil: nothing.
func asksOf(s *filter.State) *filter.TransportOptions {
	name, sans, protocols := stateText(s, serverNameKey), stateText(s, serverSANsKey), stateText(s, protocolsKey)
	if name == "" && sans == "" && protocols == "" {
		return nil
	}
	return &filter.TransportOptions{ServerName: name, ServerSANs: listed(sans), Protocols: listed(protocols)}
}

func stateText(s *filter.State, key string) string {
	o, ok := s.Get(key)
	if !ok {
		return ""
	}
	text, _ := o.Serialize()
	return text
}

func listed(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// asks returns what a request asks of the transport of its connection, and the same as a
// part of its pool's key. "": just what all do.
func (h *host) asks(o *order) (*filter.TransportOptions, string) {
	if h.secure == nil {
		return nil, ""
	}
	a := h.asksOf(o.r.Info)
	if name := authorityName(&h.cluster.plan.HTTP, o.r.Info); name != "" {
		if a == nil {
			a = new(filter.TransportOptions)
		}
		if p := &h.cluster.plan.HTTP; p.AutoSNI && a.ServerName == "" && net.ParseIP(name) == nil {
			a.ServerName = name
		}
		if h.cluster.plan.HTTP.AutoSANs && a.ServerSANs == nil {
			a.ServerSANs = []string{name}
		}
	}
	if a == nil {
		return nil, ""
	}
	key := appendText(nil, a.ServerName)
	for _, list := range [][]string{a.ServerSANs, a.Protocols} {
		key = appendText(key, strings.Join(list, ","))
	}
	return a, string(appendText(key, a.Preface))
}

// authorityName is the host that a request is for, without its port, where the transport
// takes its name from there; "" elsewhere.
func authorityName(p *plan.HTTP, i *filter.Info) string {
	h := i.HTTP()
	if !p.AutoSNI && !p.AutoSANs || h == nil || h.Request == nil {
		return ""
	}
	name := h.Request.Authority
	if p.SNIHeader != "" {
		if v := h.Request.Header.Get(p.SNIHeader); v != "" {
			name = v
		}
	}
	if host, _, err := net.SplitHostPort(name); err == nil {
		return host
	}
	return strings.Trim(name, "[]")
}

// transportAsks are those of a pool's connections: beside the requests' own, the protocol
// that they speak is offered where the configuration offers none.
func (p *pool) transportAsks(o *filter.TransportOptions) *filter.TransportOptions {
	if p.host.secure == nil {
		return nil
	}
	var a filter.TransportOptions
	if o != nil {
		a = *o
	}
	switch {
	case p.negotiates():
		a.Fallback = []string{offers[1], offers[0]}
	case p.key.protocol == httpmsg.HTTP2:
		a.Fallback = slices.Clone(offers[1:])
	default:
		a.Fallback = slices.Clone(offers[:1])
	}
	return &a
}

// offers are the versions as ALPN names them.
var offers = [...]string{"http/1.1", "h2"}
