package admin

import (
	"net/http"
	"strings"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"

	"github.com/ginnel/ginnel/internal/apiaddr"
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
				st.LocalAddress = apiaddr.Of(a)
			} else {
				st.AdditionalLocalAddresses = append(st.AdditionalLocalAddresses, apiaddr.Of(a))
			}
		}
		out.ListenerStatuses = append(out.ListenerStatuses, st)
	}
	return out
}

func (s *Server) drainListeners(w http.ResponseWriter, r *http.Request) {
	s.opts.Proxy.Drain(DrainOptions{
		InboundOnly: r.Form.Has("inboundonly"),
		Graceful:    r.Form.Has("graceful"),
		SkipExit:    r.Form.Has("skip_exit"),
	})
	ok(w)
}
