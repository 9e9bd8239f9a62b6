package hcm

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A stamp adds its name to every answer: to those that it has passed on, and to others.
type stamp struct{ name string }

func (f stamp) NewHTTPFilter(*filter.HTTPEnv) (filter.HTTPFilter, error) { return f, nil }

func (f stamp) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		if s.Request.Header.Get("stop") == f.name {
			return s.Reply(filter.LocalReply{Status: 429}), nil
		}
		resp, err := next.ServeHTTP(s)
		if err == nil {
			resp.Header.Add("passed", f.name)
		}
		return resp, err
	})
}

func (f stamp) ChangeReply(s *filter.HTTPStream, resp *httpmsg.Response) {
	if s.Request.Header.Get("panic") == f.name {
		panic(f.name)
	}
	resp.Header.Add("passed", f.name+"'s reply")
}

// Every answer passes every filter once, wherever it comes from.
func TestRepliesPassFilters(t *testing.T) {
	filters := func() []httpFilter {
		return []httpFilter{{name: "a", filter: stamp{"a"}}, {name: "b", filter: stamp{"b"}}, {name: "c", filter: stamp{"c"}}, {name: "off", filter: stamp{"off"}, disabled: true}}
	}
	for _, c := range []struct {
		name   string
		q      *httpmsg.Request
		h      filter.HTTPHandlerFunc
		status int
		passed string
	}{
		{"the terminal filter's", get("/"), replying(filter.LocalReply{Status: 404}), 404, "c,b,a"},
		{"one that stops the first", get("/", "stop", "a"), hello, 429, "c's reply,b's reply"},
		{"one that stops the last", get("/", "stop", "c"), hello, 429, "b,a"},
		{"refused before", get("relative"), hello, 404, "c's reply,b's reply,a's reply"},
		{"a limit", get("/"), stuck, 504, "c,b,a"},
		{"a panic in a reply", get("relative", "panic", "b"), hello, 500, ""},
		{"a panic", get("/"), func(*filter.HTTPStream) (*httpmsg.Response, error) { panic("") }, 500, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, &Config{Filters: filters(), Limits: limits{stream: time.Second}}, c.h)
				_, resp := r.do(c.q)
				passed, _ := resp.Header.Joined("passed")
				if resp.Status != c.status || passed != c.passed {
					t.Errorf("%d, passed %q", resp.Status, passed)
				}
				if e := r.log.last(t); e.code != c.status {
					t.Errorf("log %+v", e)
				}
			})
		})
	}
}

// Requests that are refused before the routes are looked at have none.
func TestEarlyRepliesHaveNoRoute(t *testing.T) {
	asked := false
	f := onlooker(func(s *filter.HTTPStream) { asked = true; asked = asked && s.Route() == nil })
	r := start(t, &Config{Filters: []httpFilter{{name: "f", filter: f}}}, hello)
	if _, resp := r.do(get("relative")); resp.Status != 404 || !asked {
		t.Errorf("%d, asked without a route: %v", resp.Status, asked)
	}
}

// An onlooker looks at answers to requests that it has not seen.
type onlooker func(*filter.HTTPStream)

func (f onlooker) NewHTTPFilter(*filter.HTTPEnv) (filter.HTTPFilter, error) { return f, nil }
func (f onlooker) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler      { return next }
func (f onlooker) ChangeReply(s *filter.HTTPStream, resp *httpmsg.Response) { f(s) }

// An answer that is not sent, for the client has left, has no code in the log.
func TestUnsentReply(t *testing.T) {
	var w *responder
	r := start(t, &Config{}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		s.OnReset(func(*httpmsg.ResetError) {})
		w.goAway(&httpmsg.ResetError{Reason: httpmsg.ConnectionTermination})
		s.OnReset(nil)
		return s.Reply(filter.LocalReply{Status: 503}), nil
	})
	w = newResponder()
	r.codec.requests <- exchange{r: get("/"), w: w}
	<-w.answered
	if e := r.log.last(t); e.code != 0 || e.flags != "DC" {
		t.Errorf("log %+v", e)
	}
}
