package hcm

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// Whether an upgrade is allowed: the connection manager says, the route knows better.
func TestUpgrades(t *testing.T) {
	routes := map[string]string{
		"unset": `{}`,
		"on":    `{"upgrade_configs": [{"upgrade_type": "WebSocket"}]}`,
		"off":   `{"upgrade_configs": [{"upgrade_type": "websocket", "enabled": false}]}`,
	}
	for _, c := range []struct {
		manager []upgrade
		route   string
		allowed bool
	}{
		{nil, "unset", false}, {nil, "on", true}, {nil, "off", false},
		{[]upgrade{{kind: "websocket", enabled: true}}, "unset", true},
		{[]upgrade{{kind: "websocket", enabled: true}}, "off", false},
		{[]upgrade{{kind: "websocket"}}, "unset", false},
		{[]upgrade{{kind: "websocket"}}, "on", true},
		{[]upgrade{{kind: "other", enabled: true}}, "unset", false},
	} {
		text := `{"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": ` +
			`{"cluster": "c"` + with(routes[c.route]) + `}}]}]}`
		r := start(t, &Config{Upgrades: c.manager, Routes: table(t, text)}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
			s.Upgraded()
			return &httpmsg.Response{Status: 101}, nil
		})
		q := get("/")
		q.Upgrade = "WebSocket"
		_, resp := r.do(q)
		if allowed := resp.Status == 101; allowed != c.allowed {
			t.Errorf("%+v, route %s: %d", c.manager, c.route, resp.Status)
		}
		want := int64(1)
		if !c.allowed {
			want = 0
			if resp.Status != 403 || r.log.last(t).details != "upgrade_failed" || len(r.codec.drains()) != 1 || r.stats.value("downstream_rq_ws_on_non_ws_route") != 1 {
				t.Errorf("refused with %d %+v", resp.Status, r.log.last(t))
			}
		}
		if r.stats.value("downstream_cx_upgrades_total") != want || r.stats.value("downstream_cx_upgrades_active") != 0 {
			t.Errorf("%d upgrades, %d active", r.stats.value("downstream_cx_upgrades_total"), r.stats.value("downstream_cx_upgrades_active"))
		}
	}
}

// with is the fields of a JSON object behind others.
func with(object string) string {
	if object == "{}" {
		return ""
	}
	return "," + object[1:len(object)-1]
}

// What no route takes is refused by the router, an upgrade like anything else.
func TestUpgradeWithoutRoute(t *testing.T) {
	r := start(t, &Config{Routes: table(t, `{}`)}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		if s.Route() != nil {
			t.Error("there is a route")
		}
		return s.Reply(filter.LocalReply{Status: 404}), nil
	})
	q := get("/")
	q.Upgrade = "websocket"
	if _, resp := r.do(q); resp.Status != 404 {
		t.Errorf("%d", resp.Status)
	}
}

// A tunnel whose response has ended goes on until the client's side has, too; other
// requests end with their response.
func TestTunnelOutlivesResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := make(pieces)
		got := make(chan string, 1)
		r := start(t, &Config{Upgrades: []upgrade{{kind: "connect", enabled: true}}, Limits: defaults}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
			s.Upgraded()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				all, body := "", s.Request.Body
				for {
					p, err := body.Next()
					all += string(p)
					if err != nil {
						break
					}
				}
				got <- all
			}()
			s.OnEnd(func() { <-sent })
			return &httpmsg.Response{Status: 200}, nil
		})
		q := &httpmsg.Request{Method: "CONNECT", Authority: "host:1"}
		w := r.begin(q, func(*responder) httpmsg.Body { return up })
		up <- []byte("late ")
		synctest.Wait()
		if !w.ended {
			t.Error("the end of the response did not arrive")
		}
		up <- []byte("bytes")
		close(up)
		<-w.answered
		if s := <-got; s != "late bytes" {
			t.Errorf("the upstream got %q", s)
		}
		if w.why != nil {
			t.Errorf("reset: %v", w.why)
		}
		if e := r.log.last(t); e.received != 10 || e.code != 200 {
			t.Errorf("log %+v", e)
		}
	})
}

// A request that nobody reads to its end is given up when the response has been sent.
func TestEarlyResponse(t *testing.T) {
	r := start(t, &Config{}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		read := make(chan struct{})
		go func() {
			defer close(read)
			for {
				if _, err := s.Request.Body.Next(); err != nil {
					return
				}
			}
		}()
		s.OnEnd(func() { <-read })
		return hello(s)
	})
	w := r.begin(get("/"), nothing)
	<-w.answered
	if w.last(t).Status != 200 || w.stopWhy == nil {
		t.Errorf("status %d, request stopped %v", w.last(t).Status, w.stopWhy)
	}
	if n := r.stats.value("downstream_rq_response_before_rq_complete"); n != 1 {
		t.Errorf("downstream_rq_response_before_rq_complete = %d", n)
	}
}

// How a client went away is told to the handlers and noted.
func TestClientGone(t *testing.T) {
	for _, c := range []struct {
		why            httpmsg.ResetError
		flags, details string
	}{
		{httpmsg.ResetError{Reason: httpmsg.ConnectionTermination}, "DC", "downstream_remote_disconnect"},
		{httpmsg.ResetError{Reason: httpmsg.RemoteReset, Code: 8}, "DR", "http2.remote_reset"},
		{httpmsg.ResetError{Reason: httpmsg.RemoteReset}, "-", ""},
		{httpmsg.ResetError{Reason: httpmsg.ProtocolError, Details: "http2.violation"}, "DPE", "http2.violation"},
	} {
		waits := make(chan struct{})
		r := start(t, &Config{Codec: HTTP2}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
			end := make(chan *httpmsg.ResetError, 1)
			s.OnReset(func(why *httpmsg.ResetError) { end <- why })
			close(waits)
			return nil, <-end
		})
		w := r.begin(get("/"), nil)
		<-waits
		w.goAway(&c.why)
		<-w.answered
		if len(w.heads) > 0 {
			t.Errorf("%v: a response was sent", &c.why)
		}
		if e := r.log.last(t); e.flags != c.flags || e.details != c.details || e.code != 0 {
			t.Errorf("%v: log %+v", &c.why, e)
		}
		if r.stats.value("downstream_rq_rx_reset") != 1 || r.stats.value("downstream_rq_active") != 0 {
			t.Errorf("%v: rx_reset %d, active %d", &c.why, r.stats.value("downstream_rq_rx_reset"), r.stats.value("downstream_rq_active"))
		}
	}
}

// A stream that has been used before knows nothing of that.
func TestStreamsAreClean(t *testing.T) {
	n := 0
	r := start(t, &Config{}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		if n++; n == 1 {
			s.Info.State.Set(filter.Entry{Name: "k"})
			s.Info.Flags |= filter.FaultInjected
			s.Info.MergeMetadata(filter.Metadata{"ns": nil})
			s.OnEnd(func() { n += 100 })
			return s.Reply(filter.LocalReply{Status: 500, Body: "x", Details: "d"}), nil
		}
		if len(s.Info.State.Entries()) != 0 || s.Info.Flags != 0 || s.Info.Metadata != nil || s.Info.Rest().Details != "" || s.Info.HTTP().Code != 0 {
			t.Errorf("%+v", s.Info)
		}
		return hello(s)
	})
	r.do(get("/"))
	if n != 101 {
		t.Errorf("hooks ran %d times", n/100)
	}
	r.do(get("/"))
	if n != 102 {
		t.Errorf("n = %d: a hook ran again", n)
	}
}

// An error of the handlers resets the stream, a panic is a 500; both leave the
// connection alone.
func TestBrokenHandlers(t *testing.T) {
	ended := 0
	r := start(t, &Config{}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		switch s.Request.Path {
		case "/error":
			return nil, errors.New("no")
		case "/connect":
			return nil, &httpmsg.ResetError{Reason: httpmsg.ConnectError}
		case "/panic":
			panic("no")
		case "/body":
			return &httpmsg.Response{Status: 200, Body: broken{}}, nil
		case "/end":
			s.OnEnd(func() { ended++ })
			s.OnEnd(func() { panic("no") })
		}
		return hello(s)
	})
	w := r.begin(get("/error"), nil)
	<-w.answered
	if w.why == nil || w.why.Code != internalError || len(w.heads) > 0 {
		t.Errorf("after an error: %v, %d heads", w.why, len(w.heads))
	}
	w = r.begin(get("/connect"), nil)
	<-w.answered
	if w.why == nil || w.why.Reason != httpmsg.ConnectError {
		t.Errorf("after a failed tunnel: %v", w.why)
	}
	if _, resp := r.do(get("/panic")); resp.Status != 500 || r.stats.value("downstream_rq_panic") != 1 {
		t.Errorf("after a panic: %d", resp.Status)
	}
	w = r.begin(get("/body"), nil)
	<-w.answered
	if w.why == nil || w.why.Code != internalError || r.stats.value("downstream_rq_panic") != 2 {
		t.Errorf("after a panic in a body: %v", w.why)
	}
	if _, resp := r.do(get("/end")); resp.Status != 200 || ended != 1 || r.stats.value("downstream_rq_panic") != 3 {
		t.Errorf("after a panic at the end: %d, %d other hooks ran", resp.Status, ended)
	}
	if _, resp := r.do(get("/")); resp.Status != 200 {
		t.Errorf("then: %d", resp.Status)
	}
}

// broken is a body of a filter that panics.
type broken struct{ httpmsg.Body }

func (broken) Next() ([]byte, error) { panic("no") }
func (broken) Ready() bool           { return true }

// Informational responses go on only where that is asked for.
func TestInformational(t *testing.T) {
	for _, proxied := range []bool{false, true} {
		var expect bool
		r := start(t, &Config{Request: requestOptions{proxyContinue: proxied}}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
			expect = s.Request.Header.Has("expect")
			for _, status := range []int{100, 102, 103} {
				if err := s.Inform(&httpmsg.Response{Status: status}); err != nil {
					t.Error(err)
				}
			}
			return hello(s)
		})
		w, _ := r.do(get("/", "expect", "100-Continue"))
		var got []int
		for _, h := range w.heads {
			got = append(got, h.Status)
		}
		switch {
		case proxied && (!expect || len(got) != 3 || got[0] != 100 || got[1] != 103):
			t.Errorf("proxied: %v, expect %v", got, expect)
		case !proxied && (expect || len(got) != 2 || got[0] != 100):
			t.Errorf("answered here: %v, expect %v", got, expect)
		}
	}
}

// Filters wrap each other, the first outermost; routes switch them off and on.
func TestFilterChain(t *testing.T) {
	const routes = `{"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
		{"match": {"path": "/switched"}, "route": {"cluster": "c"}, "typed_per_filter_config": {
			"a": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true},
			"b": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}}},
		{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]}`
	var order string
	c := &Config{Routes: table(t, routes)}
	for _, name := range []string{"a", "b", "c"} {
		c.Filters = append(c.Filters, httpFilter{name: name, disabled: name == "b", filter: noting(func() { order += name })})
	}
	r := start(t, c, hello)
	for path, want := range map[string]string{"/": "ac", "/switched": "bc"} {
		order = ""
		if r.do(get(path)); order != want {
			t.Errorf("%s: filters %q, want %q", path, order, want)
		}
	}
}

// noting is a filter that notes that a request passes.
type noting func()

func (f noting) NewHTTPFilter(*filter.HTTPEnv) (filter.HTTPFilter, error) { return f, nil }

func (f noting) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		f()
		return next.ServeHTTP(s)
	})
}
