package hcm

import (
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A limit is a time limit of a stream, and what is said when it strikes.
type limit struct {
	status  int
	body    string
	details string
	flags   filter.Flags
	counter func(*stats) filter.Counter
}

// The limits. What is answered to an idle stream depends on who kept it waiting.
var (
	streamIdle = limit{504, "stream timeout", "stream_idle_timeout", filter.StreamIdleTimeout,
		func(s *stats) filter.Counter { return s.rqIdle }}
	requestIdle = limit{408, "stream timeout", "stream_idle_timeout", filter.StreamIdleTimeout,
		func(s *stats) filter.Counter { return s.rqIdle }}
	requestTimeout = limit{408, "request timeout", "request_overall_timeout", 0,
		func(s *stats) filter.Counter { return s.rqTimeout }}
	requestHeaderTimeout = limit{408, "request header timeout", "request_header_timeout", 0,
		func(s *stats) filter.Counter { return s.rqHeaderTimeout }}
	streamDuration = limit{504, "downstream duration timeout", "max_duration_timeout", 0,
		func(s *stats) filter.Counter { return s.rqDuration }}
)

// head is the limit of a head that is not complete, from its first byte, and how long it
// is; 0: none. Such a stream is idle, too (Envoy).
func (l *limits) head() (*limit, time.Duration) {
	if l.streamIdle > 0 && (l.requestHeaders == 0 || l.streamIdle < l.requestHeaders) {
		return &requestIdle, l.streamIdle
	}
	return &requestHeaderTimeout, l.requestHeaders
}

// reset is the end of a stream for its handlers.
func (l *limit) reset() *httpmsg.ResetError {
	return &httpmsg.ResetError{Reason: httpmsg.LocalReset, Details: l.details}
}

// internalError is the code of a stream that this side resets (HTTP/2 INTERNAL_ERROR).
const internalError = 2

// earliest returns the limit that strikes next if nothing moves, and when. It may be
// called at any time.
func (s *stream) earliest() (*limit, time.Duration) {
	if at := s.struckAt.Load(); at != 0 {
		return &streamIdle, time.Duration(max(at, s.touched.Load())) + s.flushLimit()
	}
	if d := s.flush.Load(); d > 0 && s.flushing.Load() {
		return &streamIdle, time.Duration(s.touched.Load() + d)
	}
	out, at := (*limit)(nil), never
	complete := s.body.done.Load()
	if d := s.idle.Load(); d > 0 {
		out, at = &streamIdle, time.Duration(s.touched.Load()+d)
		if !complete {
			out = &requestIdle
		}
	}
	if d := s.conn.service.config.Limits.request; d > 0 && !complete && !s.tunnelled.Load() && s.begun+d < at {
		out, at = &requestTimeout, s.begun+d
	}
	if d := s.longest.Load(); d > 0 && s.entered+time.Duration(d) < at {
		out, at = &streamDuration, s.entered+time.Duration(d)
	}
	return out, at
}

// leastFlush is the time for the last words of a stream that has no other limit.
const leastFlush = 5 * time.Minute

// flushLimit is how long the client may take to read the last words.
func (s *stream) flushLimit() time.Duration {
	for _, d := range []int64{s.flush.Load(), s.idle.Load()} {
		if d > 0 {
			return time.Duration(d)
		}
	}
	return leastFlush
}

// strike ends the stream, if it is still in that turn, for a limit: with a response if
// none has begun.
func (s *stream) strike(turn uint64, l *limit) {
	s.acting.Lock()
	defer s.acting.Unlock()
	why := l.reset()
	why.Code = internalError
	s.mu.Lock()
	if s.over || s.turn != turn {
		s.mu.Unlock()
		return
	}
	reset := s.committed || s.struck != nil
	if s.struck == nil {
		s.struck = l
		s.struckAt.Store(max(int64(s.conn.since()), 1))
		l.counter(s.conn.service.stats).Add(1)
		if s.hook != nil {
			s.hook(why)
		}
	}
	s.mu.Unlock()
	if reset {
		s.conn.service.stats.rqTxReset.Add(1)
		s.conn.service.stats.rqRxReset.Add(1) // as in reset
		s.w.Reset(why)
	} else {
		s.w.StopRequest(why)
	}
}
