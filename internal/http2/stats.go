package http2

import "github.com/ginnel/ginnel/filter"

// Stats are the statistics of codecs: "http2." of the process for servers, and
// "cluster.<name>.http2." for clients. A nil Stats counts nothing.
type Stats struct {
	droppedUnderscores, rejectedUnderscores, headerOverflow             filter.Counter
	emptyFramesFlood, priorityFramesFlood, windowUpdateFramesFlood      filter.Counter
	outboundFlood, outboundControlFlood, messagingError, rxReset        filter.Counter
	txReset, refused, trailers, headerListTooLarge, goawaySent, noReply filter.Counter
	streamsActive, pendingSendBytes                                     filter.Gauge
}

// NewStats names the statistics in a scope, whose prefix ends with "http2.".
func NewStats(s filter.Scope) *Stats {
	// Envoy lists these, too; nothing here can happen that they count.
	for _, name := range [...]string{
		"headers_cb_no_stream", "metadata_empty_frames", "metadata_not_supported_error", "tx_flush_timeout", "response_flood",
	} {
		s.Counter(name)
	}
	s.Gauge("deferred_stream_close")
	return &Stats{
		droppedUnderscores:      s.Counter("dropped_headers_with_underscores"),
		rejectedUnderscores:     s.Counter("requests_rejected_with_underscores_in_headers"),
		headerOverflow:          s.Counter("header_overflow"),
		emptyFramesFlood:        s.Counter("inbound_empty_frames_flood"),
		priorityFramesFlood:     s.Counter("inbound_priority_frames_flood"),
		windowUpdateFramesFlood: s.Counter("inbound_window_update_frames_flood"),
		outboundFlood:           s.Counter("outbound_flood"),
		outboundControlFlood:    s.Counter("outbound_control_flood"),
		messagingError:          s.Counter("rx_messaging_error"),
		rxReset:                 s.Counter("rx_reset"),
		txReset:                 s.Counter("tx_reset"),
		refused:                 s.Counter("stream_refused_errors"),
		trailers:                s.Counter("trailers"),
		headerListTooLarge:      s.Counter("header_list_size_too_large"),
		goawaySent:              s.Counter("goaway_sent"),
		noReply:                 s.Counter("keepalive_timeout"),
		streamsActive:           s.Gauge("streams_active"),
		pendingSendBytes:        s.Gauge("pending_send_bytes"),
	}
}

// A statistic is one of those that errors count.
type statistic func(*Stats) filter.Counter

func (s *Stats) count(which statistic) {
	if s != nil && which != nil {
		which(s).Add(1)
	}
}

func (s *Stats) active(n int64) {
	if s != nil {
		s.streamsActive.Add(n)
	}
}

func (s *Stats) pending(n int64) {
	if s != nil {
		s.pendingSendBytes.Add(n)
	}
}
