package http2

import (
	"fmt"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// The details that Envoy gives for what a codec finds.
const (
	detailRule       = "http2.violation.of.messaging.rule"
	detailField      = "http2.invalid.header.field"
	detailCount      = "http2.too_many_headers"
	detailSize       = "http2.header_list_size_too_large"
	detailUnderscore = "http2.unexpected_underscore"
	detailEmpty      = "http2.inbound_empty_frames_flood"
	detailFlood      = "http2.outbound_frames_flood"
	detailInbound    = "http2.inbound_frames_flood"
	detailProtocol   = "http2.protocol_violation"
	detailTimeout    = "request_header_timeout"
	detailReset      = "http2.remote_reset"
	detailRefused    = "http2.remote_refuse"
	detailGoAway     = "http2.remote_goaway"
	detailKeepalive  = "http2.keepalive_timeout"
)

// A connError ends the connection, with GOAWAY.
type connError struct {
	code    xhttp2.ErrCode
	details string
	text    string    // what is wrong, for the peer and for logs
	counts  statistic // nil: none
}

func (e *connError) Error() string { return fmt.Sprintf("%v: %s", e.code, e.text) }

func violation(code xhttp2.ErrCode, text string) *connError {
	return &connError{code: code, details: detailProtocol, text: text}
}

func flood(details, text string, counts statistic) *connError {
	return &connError{code: xhttp2.ErrCodeEnhanceYourCalm, details: details, text: text, counts: counts}
}

// why is what the streams of the connection are told.
func (e *connError) why() *httpmsg.ResetError {
	return &httpmsg.ResetError{Reason: httpmsg.ProtocolError, Details: e.details, Err: e}
}

// A streamError resets one stream, for what the peer did.
type streamError struct {
	id      uint32
	code    xhttp2.ErrCode
	reason  httpmsg.Reason
	details string
	text    string
	counts  statistic // nil: none
}

func (e *streamError) Error() string { return fmt.Sprintf("stream %d: %v: %s", e.id, e.code, e.text) }

func (e *streamError) why() *httpmsg.ResetError {
	return &httpmsg.ResetError{Reason: e.reason, Code: uint32(e.code), Details: e.details, Err: e}
}

func streamViolation(id uint32, code xhttp2.ErrCode, text string) *streamError {
	return &streamError{id: id, code: code, reason: httpmsg.ProtocolError, details: detailProtocol, text: text}
}

func streamFlood(id uint32) *streamError {
	return &streamError{
		id: id, code: xhttp2.ErrCodeEnhanceYourCalm, reason: httpmsg.ProtocolError,
		details: detailInbound, text: "too many informational responses",
	}
}

// codeOf is the code that a reset of this side's own is sent with. Envoy says
// INTERNAL_ERROR where others say CANCEL.
func codeOf(why *httpmsg.ResetError) xhttp2.ErrCode {
	if why.Code != 0 {
		return xhttp2.ErrCode(why.Code)
	}
	switch why.Reason {
	case httpmsg.LocalRefused:
		return xhttp2.ErrCodeRefusedStream
	case httpmsg.ConnectError:
		return xhttp2.ErrCodeConnect
	case httpmsg.ProtocolError:
		return xhttp2.ErrCodeProtocol
	}
	return xhttp2.ErrCodeInternal
}

// remoteReset is a RST_STREAM that came. What a server reads of a client's mistakes in
// its code is none of its own.
func remoteReset(code xhttp2.ErrCode, server bool) *httpmsg.ResetError {
	why := &httpmsg.ResetError{Reason: httpmsg.RemoteReset, Code: uint32(code), Details: detailReset}
	switch {
	case code == xhttp2.ErrCodeRefusedStream:
		why.Reason, why.Details = httpmsg.RemoteRefused, detailRefused
	case code == xhttp2.ErrCodeConnect:
		why.Reason = httpmsg.ConnectError
	case code == xhttp2.ErrCodeProtocol && !server:
		why.Reason = httpmsg.ProtocolError
	}
	return why
}

// What errors count.
func statMessaging(s *Stats) filter.Counter      { return s.messagingError }
func statHeaderOverflow(s *Stats) filter.Counter { return s.headerOverflow }
func statListTooLarge(s *Stats) filter.Counter   { return s.headerListTooLarge }
func statUnderscores(s *Stats) filter.Counter    { return s.rejectedUnderscores }
func statDropped(s *Stats) filter.Counter        { return s.droppedUnderscores }
func statEmpty(s *Stats) filter.Counter          { return s.emptyFramesFlood }
func statPriority(s *Stats) filter.Counter       { return s.priorityFramesFlood }
func statWindowUpdate(s *Stats) filter.Counter   { return s.windowUpdateFramesFlood }
func statOutbound(s *Stats) filter.Counter       { return s.outboundFlood }
func statControl(s *Stats) filter.Counter        { return s.outboundControlFlood }
func statRxReset(s *Stats) filter.Counter        { return s.rxReset }
func statTxReset(s *Stats) filter.Counter        { return s.txReset }
func statRefused(s *Stats) filter.Counter        { return s.refused }
func statTrailers(s *Stats) filter.Counter       { return s.trailers }
func statGoAway(s *Stats) filter.Counter         { return s.goawaySent }
func statKeepalive(s *Stats) filter.Counter      { return s.noReply }
