package hcm

import (
	"time"

	"github.com/ginnel/ginnel/filter"
)

// log writes an entry of the request.
func (s *stream) log(t filter.AccessLogType) {
	for _, l := range s.conn.service.logs {
		l.Log(&s.info, t)
	}
}

// logPeriodic writes an entry if it is time for one. It is asked while the response
// flows, for the Info belongs to the stream's goroutine.
func (s *stream) logPeriodic() {
	every := s.conn.service.config.Logs.every
	if every <= 0 {
		return
	}
	now := time.Duration(s.touched.Load()) - s.begun
	if now < s.logged+every {
		return
	}
	s.logged = now
	s.info.Duration = now
	s.info.Received = s.body.received.Load()
	s.log(filter.DownstreamPeriodic)
	s.info.Duration = 0
}
