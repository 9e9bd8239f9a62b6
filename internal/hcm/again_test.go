package hcm

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// mark is an object of the filter state.
type mark struct{}

func (mark) Serialize() (string, bool) { return "mark", true }

// A request that begins again is another one for logs, statistics and limits; what lasts is
// what the client has sent, and what is said to last.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends []string
		pass := 0
		r := start(t, &Config{Limits: limits{stream: 10 * time.Second}}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
			pass++
			time.Sleep(6 * time.Second)
			s.OnEnd(func() { ends = append(ends, s.Request.Path) })
			if pass == 1 {
				s.Info.State.Set(filter.Entry{Name: "kept", Object: mark{}, Lasting: true})
				s.Info.State.Set(filter.Entry{Name: "lost", Object: mark{}})
				s.Info.Raise(filter.UpstreamRetryLimitExceeded)
				again := s.Again(&httpmsg.Response{Status: 302, Header: httpmsg.Header{{Name: "location", Value: "/to"}}})
				s.Request.Path = "/to"
				s.ClearRoute()
				return nil, again
			}
			_, kept := s.Info.State.Get("kept")
			_, lost := s.Info.State.Get("lost")
			if !kept || lost || s.Info.Flags != 0 {
				t.Errorf("kept %v, lost %v, flags %v", kept, lost, s.Info.Flags)
			}
			if s.Info.HTTP().StreamID == "" || s.Info.HTTP().StreamID != s.Request.Header.Get("x-request-id") {
				t.Errorf("the id is %q", s.Info.HTTP().StreamID)
			}
			return &httpmsg.Response{Status: 200}, nil
		})
		r.sv.config.Request.generateID = true
		_, resp := r.do(get("/from"))
		if resp.Status != 200 || len(ends) != 2 || ends[0] != "/to" {
			t.Errorf("%d, ends %q", resp.Status, ends)
		}
		if len(r.log.list) != 2 {
			t.Fatalf("log %+v", r.log.list)
		}
		if e := r.log.list[0]; e.code != 302 || e.details != "internal_redirect" || e.flags != "URX" {
			t.Errorf("the first pass: %+v", e)
		}
		if e := r.log.list[1]; e.code != 200 || e.flags != "-" {
			t.Errorf("the second pass: %+v", e)
		}
		for name, want := range map[string]int64{"downstream_rq_total": 2, "downstream_rq_completed": 1, "downstream_rq_2xx": 1,
			"downstream_rq_3xx": 0, "downstream_rq_active": 0, "downstream_rq_time": 2} {
			if n := r.stats.value(name); n != want {
				t.Errorf("%s is %d", name, n)
			}
		}
	})
}

// A client that leaves between two passes, or a limit that strikes in the second, ends it.
func TestAgainIsOver(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			told := make(chan *httpmsg.ResetError, 1)
			var w *responder
			pass := 0
			r := start(t, &Config{Limits: limits{stream: 10 * time.Second}}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
				if pass++; pass == 1 {
					s.OnReset(func(*httpmsg.ResetError) {})
					s.OnReset(nil)
					if leaves {
						s.OnEnd(func() { w.goAway(&httpmsg.ResetError{Reason: httpmsg.ConnectionTermination}) })
					}
					return nil, s.Again(&httpmsg.Response{Status: 302})
				}
				s.OnReset(func(why *httpmsg.ResetError) { told <- why })
				defer s.OnReset(nil)
				return nil, <-told
			})
			w = newResponder()
			r.codec.requests <- exchange{r: get("/"), w: w}
			<-w.answered
			if leaves && (len(w.heads) != 0 || r.log.last(t).flags != "DC") {
				t.Errorf("%+v, log %+v", w.heads, r.log.last(t))
			}
			if !leaves && (w.last(t).Status != 504 || r.stats.value("downstream_rq_max_duration_reached") != 1) {
				t.Errorf("%+v", w.heads)
			}
		})
	}
}
