package admin

import (
	"net/http"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
)

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	state, status := s.opts.Proxy.State(), http.StatusOK
	if state != adminv3.ServerInfo_LIVE {
		status = http.StatusServiceUnavailable
	}
	text(w, status, state.String()+"\n")
}

func (s *Server) failHealth(fail bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s.opts.Proxy.FailHealth(fail)
		ok(w)
	}
}

func (s *Server) reopenLogs(w http.ResponseWriter, _ *http.Request) {
	if err := s.opts.Proxy.ReopenLogs(); err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	ok(w)
}

func (s *Server) resetCounters(w http.ResponseWriter, _ *http.Request) {
	s.opts.Stats.ResetCounters()
	ok(w)
}

// quit may answer after Quit: a server that is closing lets answers under way finish.
func (s *Server) quit(w http.ResponseWriter, _ *http.Request) {
	s.opts.Proxy.Quit()
	ok(w)
}
