package hcm

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// send sends what the handlers have answered, and reports whether it was sent whole.
func (s *stream) send(resp *httpmsg.Response, err error) bool {
	resp, ok := s.commit(resp, err)
	if !ok {
		s.http.Response, s.http.Code = nil, 0 // what was made was not sent
		return false
	}
	s.touch()
	s.http.FirstSent = time.Duration(s.touched.Load()) - s.begun
	s.finishHead(resp)
	body := resp.Body
	if s.handed.Request.Method == "HEAD" || resp.Status == 204 || resp.Status == 304 {
		body = nil
	}
	s.http.Response, s.http.Code = resp, resp.Status
	if !s.http.HealthCheck {
		s.conn.service.stats.answered(resp.Status)
	}
	if !s.body.done.Load() {
		s.conn.service.stats.rqEarlyResponse.Add(1)
	}
	if err := s.w.WriteResponse(resp, body == nil); err != nil {
		s.http.Code = 0
		s.failed(err)
		return false
	}
	if body == nil {
		err = s.flushOut()
	} else {
		err = s.copyBody(body)
	}
	s.touch()
	if err == nil {
		s.http.LastSent = time.Duration(s.touched.Load()) - s.begun
	}
	return err == nil
}

// commit decides what is sent: what the handlers answered, the answer to a limit that
// has struck meanwhile, or nothing but the reset of the stream.
func (s *stream) commit(resp *httpmsg.Response, err error) (*httpmsg.Response, bool) {
	s.mu.Lock()
	struck, gone := s.struck, s.gone
	malformed := gone != nil && struck == nil && s.answerable(gone)
	if malformed {
		s.gone = nil
	}
	s.committed = malformed || gone == nil && (struck != nil || err == nil)
	s.mu.Unlock()
	switch {
	case s.excused && err == nil && (malformed || gone == nil):
		return resp, true
	case malformed:
		return s.refuse(400, gone), true
	case gone != nil:
		return nil, false
	case struck != nil:
		return s.timedOut(struck), true
	case err != nil:
		s.reset(err)
		return nil, false
	}
	return resp, true
}

// answerable reports whether the client, which has broken the protocol in the body of its
// request, can still be told: over HTTP/2 the codec has done so.
func (s *stream) answerable(gone *httpmsg.ResetError) bool {
	return gone.Reason == httpmsg.ProtocolError && s.conn.server.Protocol() != httpmsg.HTTP2
}

func (s *stream) timedOut(l *limit) *httpmsg.Response {
	if l.status == 408 {
		s.conn.closeAfter()
	}
	return s.Reply(filter.LocalReply{Status: l.status, Body: l.body, Details: l.details, Flags: l.flags})
}

// reset ends the stream for an error of the handlers.
func (s *stream) reset(err error) {
	why := &httpmsg.ResetError{Reason: httpmsg.LocalReset, Code: internalError, Err: err}
	var e *httpmsg.ResetError
	if errors.As(err, &e) && e.Reason == httpmsg.ConnectError {
		why.Reason, why.Code = e.Reason, 0
	}
	s.conn.service.stats.rqTxReset.Add(1)
	s.conn.service.stats.rqRxReset.Add(1) // as Envoy resets the stream for itself
	s.w.Reset(why)
}

// copyBody sends the body of the response, and its trailers.
func (s *stream) copyBody(body httpmsg.Body) error {
	if !body.Ready() {
		if err := s.flushOut(); err != nil {
			return s.broken(err)
		}
	}
	for {
		p, err := body.Next()
		if err != nil && err != io.EOF {
			return s.cut(err)
		}
		ended := err == io.EOF
		var trailer httpmsg.Header
		if ended {
			trailer = body.Trailer()
			s.keepTrailer(trailer)
		}
		if err := s.write(p, ended, trailer); err != nil {
			return s.broken(err)
		}
		if ended {
			return nil
		}
		if !body.Ready() {
			if err := s.flushOut(); err != nil {
				return s.broken(err)
			}
		}
	}
}

// flushOut sends what was held back; the client may let that wait.
func (s *stream) flushOut() error {
	s.Wait()
	defer s.Resume()
	return s.w.Flush()
}

// keepTrailer keeps the lines for the log, which is written when those of an upstream are
// gone.
func (s *stream) keepTrailer(h httpmsg.Header) {
	if len(h) > 0 {
		s.trailer = append(s.trailer[:0], h...)
		s.http.Trailer = s.trailer
	}
}

// write sends a piece, and with the last one the trailers.
func (s *stream) write(p []byte, ended bool, trailer httpmsg.Header) error {
	if ended && s.flush.Load() > 0 {
		s.touch()
		s.flushing.Store(true)
		s.rearm()
	}
	if len(p) > 0 || ended && len(trailer) == 0 {
		s.Wait()
		err := s.w.WriteData(p, ended && len(trailer) == 0)
		s.Resume()
		if err != nil {
			return err
		}
		s.info.Sent += uint64(len(p))
		if !ended {
			s.touch()
		}
	}
	if len(trailer) > 0 {
		return s.w.WriteTrailer(trailer)
	}
	return nil
}

// broken notes an error of the client's side.
func (s *stream) broken(err error) error {
	s.failed(err)
	s.settleLimit()
	return err
}

// cut resets a stream whose response ended out of order, behind what came of it.
func (s *stream) cut(err error) error {
	s.mu.Lock()
	ours := s.struck == nil && s.gone == nil
	s.mu.Unlock()
	if ours {
		_ = s.w.Flush()
		s.reset(err)
	}
	s.settleLimit()
	return err
}

// settleLimit notes a limit that struck after the response had begun.
func (s *stream) settleLimit() {
	s.mu.Lock()
	l := s.struck
	s.mu.Unlock()
	if l != nil {
		s.info.Raise(l.flags)
		s.extra.Details = l.details
	}
}

// finishHead completes the head of a response.
func (s *stream) finishHead(resp *httpmsg.Response) {
	sv := s.conn.service
	if s.conn.filter.DrainClose() {
		s.conn.retire()
	}
	o, h := &sv.config.Response, &resp.Header
	if !h.Has("date") {
		h.Add("date", sv.date.at(s.info.Start.Add(s.http.FirstSent)))
	}
	switch i := h.Index("server"); {
	case i < 0 && o.server != passServer:
		h.Add("server", o.serverName)
	case i >= 0 && o.server == overwriteServer:
		h.Set("server", o.serverName)
	}
	if o.requestID && !h.Has("x-request-id") {
		if id := s.handed.Request.Header.Get("x-request-id"); id != "" {
			h.Add("x-request-id", id)
		}
	}
	if o.via != "" {
		appendVia(h, o.via)
	}
	if sv.proxy != nil {
		sv.proxy.mark(resp, &s.info)
	}
}

func appendVia(h *httpmsg.Header, via string) {
	if before, ok := h.Joined("via"); ok && before != "" {
		via = before + ", " + via
	}
	h.Set("via", via)
}

// Inform implements filter.HTTPHost.
func (s *stream) Inform(r *httpmsg.Response) error {
	if !s.conn.service.config.Request.proxyContinue || r.Status != 100 && r.Status != 103 {
		return nil
	}
	s.conn.service.stats.answered(r.Status)
	if err := s.w.WriteResponse(r, false); err != nil {
		s.failed(err)
		return err
	}
	return s.w.Flush()
}

// Upgraded implements filter.HTTPHost.
func (s *stream) Upgraded() {
	s.tunnelled.Store(true)
	if s.conn.service.config.Logs.onTunnel {
		s.log(filter.DownstreamTunnelSuccessfullyEstablished)
	}
}

// A date is the time of day as headers have it, made once for each second.
type date struct{ last atomic.Pointer[second] }

type second struct {
	unix int64
	text string
}

func (d *date) at(now time.Time) string {
	last := d.last.Load()
	if last == nil || last.unix != now.Unix() {
		text := strings.TrimSuffix(now.UTC().Format(time.RFC1123), "UTC") + "GMT"
		last = &second{now.Unix(), text}
		d.last.Store(last)
	}
	return last.text
}
