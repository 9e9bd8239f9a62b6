package router

import (
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// accept looks whether the host has accepted a tunnel. If so the client's bytes begin to
// flow, which were held back till now. If not they never do, and the answer goes to the
// client; but for an answer to a websocket that is neither yes nor no.
func (x *call) accept(t *try, resp *httpmsg.Response) (*httpmsg.Response, bool) {
	r, s := x.stream.Request, x.stream
	switch {
	case x.ends, r.Connect() && resp.Status/100 == 2, r.Upgrade != "" && resp.Status == 101:
		x.mu.Lock()
		x.answer.open = true
		x.due[routeClock] = 0
		x.mu.Unlock()
		s.Upgraded()
		if t.body != nil {
			t.pass()
		}
	case strings.EqualFold(r.Upgrade, "websocket") && resp.Status < 400:
		t.finish()
		x.answer.try = nil
		status := resp.Status
		if s.Info.HTTP().Protocol == httpmsg.HTTP2 && status/100 == 2 {
			status = 502 // there, any 2xx says yes (Envoy: a tunnel to nowhere)
		}
		x.count(status, s.Info.Up.Host)
		return s.Reply(filter.LocalReply{Status: status, Details: "websocket_handshake_unsuccessful"}), true
	}
	return nil, false
}
