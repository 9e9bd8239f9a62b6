package hcm

import (
	"errors"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// errAgain goes up through the filters when the request is to pass them again.
var errAgain = errors.New("the request passes the filters again")

// Again implements filter.HTTPHost.
func (s *stream) Again(resp *httpmsg.Response) error {
	own := s.NewResponse()
	own.Status, own.Header = resp.Status, append(own.Header, resp.Header...)
	s.http.Response, s.http.Code, s.extra.Details = own, own.Status, "internal_redirect"
	return errAgain
}

// renew ends a pass of the request through the filters and begins another one. For limits,
// statistics and logs it is another request; when it began and what the client has sent
// stays (Envoy).
func (s *stream) renew() {
	s.runEnds()
	s.conn.leave(s)
	s.acting.Lock()
	s.mu.Lock()
	s.turn++ // what has been found due is not this pass's
	s.hook = nil
	s.mu.Unlock()
	s.acting.Unlock()
	s.measure()
	s.log(filter.DownstreamEnd)
	s.endPeriodic()
	begun, state, schemeOfHost := s.info.Start, s.info.State, s.http.SchemeOfHost
	s.forgetPass()
	s.inherit(s.handed.Request, begun)
	for _, e := range state.Entries() {
		if e.Lasting {
			s.info.State.Set(e)
		}
	}
	s.http.StreamID, s.http.RequestDone = s.handed.Request.Header.Get("x-request-id"), s.body.doneAt()
	s.http.SchemeOfHost, s.renewed = schemeOfHost, true
	s.enter(s.conn.since())
}
