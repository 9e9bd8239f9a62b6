package admin

import (
	"net"
	"net/http"
	"strings"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
)

// formats are the choices of ?format=; anything but json is text (Envoy).
var formats = []string{"text", "json"}

func wantsJSON(r *http.Request) bool { return r.Form.Get("format") == "json" }

func (s *Server) listeners(w http.ResponseWriter, r *http.Request) {
	all := s.opts.Proxy.Listeners()
	if wantsJSON(r) {
		message(w, listenerStatuses(all), false)
		return
	}
	var b strings.Builder
	for i := range all {
		for _, a := range all[i].Addrs {
			b.WriteString(all[i].Name + "::" + a.String() + "\n")
		}
	}
	text(w, http.StatusOK, b.String())
}

func listenerStatuses(all []Listener) *adminv3.Listeners {
	out := &adminv3.Listeners{}
	for i := range all {
		st := &adminv3.ListenerStatus{Name: all[i].Name}
		for n, a := range all[i].Addrs {
			if n == 0 {
				st.LocalAddress = address(a)
			} else {
				st.AdditionalLocalAddresses = append(st.AdditionalLocalAddresses, address(a))
			}
		}
		out.ListenerStatuses = append(out.ListenerStatuses, st)
	}
	return out
}

// address gives a as the API has it.
func address(a net.Addr) *corev3.Address {
	switch a := a.(type) {
	case filter.InternalAddr:
		return &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{EnvoyInternalAddress: &corev3.EnvoyInternalAddress{
			AddressNameSpecifier: &corev3.EnvoyInternalAddress_ServerListenerName{ServerListenerName: a.Listener},
			EndpointId:           a.Endpoint,
		}}}
	case filter.UnixAddr:
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: a.Path}}}
	}
	ip, _ := filter.IP(a)
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       ip.Addr().String(),
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(ip.Port())},
	}}}
}

func (s *Server) drainListeners(w http.ResponseWriter, r *http.Request) {
	s.opts.Proxy.Drain(DrainOptions{
		InboundOnly: r.Form.Has("inboundonly"),
		Graceful:    r.Form.Has("graceful"),
		SkipExit:    r.Form.Has("skip_exit"),
	})
	ok(w)
}
