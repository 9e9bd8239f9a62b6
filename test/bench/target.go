package main

import "fmt"

// A target is a limit that the project has set itself for one figure.
type target struct {
	text     string
	scenario string
	metric   metric
	subject  string
	against  string // "": the figure itself is limited; else its ratio to this subject
	hops     int    // >0: not the ratio but what each of so many hops adds to against
	limit    float64
	atLeast  bool // the limit is the least, not the most
}

// targets are those of the issues that brought the event loops, HTTP, and all of listeners.
func targets() []target {
	return []target{
		{text: "bulk down, 1 connection, to Envoy", scenario: "bulk-down-1", metric: cpuPerGB, subject: "ginnel", against: "envoy", limit: 0.65},
		{text: "bulk up, 1 connection, to Envoy", scenario: "bulk-up-1", metric: cpuPerGB, subject: "ginnel", against: "envoy", limit: 0.65},
		{text: "bulk down, 8 connections, to Envoy", scenario: "bulk-down-8", metric: cpuPerGB, subject: "ginnel", against: "envoy", limit: 0.45},
		{text: "bulk up, 8 connections, to Envoy", scenario: "bulk-up-8", metric: cpuPerGB, subject: "ginnel", against: "envoy", limit: 0.45},
		{text: "bulk down, 1 connection, to HAProxy with splice", scenario: "bulk-down-1", metric: cpuPerGB, subject: "ginnel", against: "haproxy-splice", limit: 0.7},
		{text: "bulk down, 8 connections, to HAProxy with splice", scenario: "bulk-down-8", metric: cpuPerGB, subject: "ginnel", against: "haproxy-splice", limit: 0.7},
		{text: "50 connections of messages, to Envoy", scenario: "messages-50", metric: cpuPerMsg, subject: "ginnel", against: "envoy", limit: 0.7},
		{text: "50 connections of messages, to nginx", scenario: "messages-50", metric: cpuPerMsg, subject: "ginnel", against: "nginx", limit: 1.05},
		{text: "their p99, to Envoy", scenario: "messages-50", metric: msgP99, subject: "ginnel", against: "envoy", limit: 1},
		{text: "their p99, to nginx", scenario: "messages-50", metric: msgP99, subject: "ginnel", against: "nginx", limit: 1},
		{text: "connections, to Envoy", scenario: "connections", metric: cpuPerConn, subject: "ginnel", against: "envoy", limit: 0.75},
		{text: "connections, to HAProxy", scenario: "connections", metric: cpuPerConn, subject: "ginnel", against: "haproxy", limit: 1.25},
		{text: "RSS of an idle connection, B", scenario: "idle", metric: rssPerConn, subject: "ginnel", limit: 1024},
		{text: "8 hops to none, bulk on 1 connection", scenario: "bulk-down-1", metric: cpuPerGB, subject: "ginnel-8", against: "ginnel", limit: 1.05},
		{text: "8 hops to none, bulk on 8 connections", scenario: "bulk-down-8", metric: cpuPerGB, subject: "ginnel-8", against: "ginnel", limit: 1.05},
		{text: "8 hops to none, messages", scenario: "messages-50", metric: cpuPerMsg, subject: "ginnel-8", against: "ginnel", limit: 1.05},
		{text: "a hop by hand-over, µs per connection", scenario: "connections", metric: cpuPerConn, subject: "ginnel-8", against: "ginnel", hops: 8, limit: 3},
		{text: "a hop by hand-over, idle, B", scenario: "idle", metric: rssPerConn, subject: "ginnel-8", against: "ginnel-1", hops: 7, limit: 512},
		{text: "a hop by pipe, µs per round trip", scenario: "messages-50", metric: cpuPerMsg, subject: "ginnel-pipes-8", against: "ginnel-pipes-1", hops: 7, limit: 0.8},
		{text: "a hop by pipe, s/GB", scenario: "bulk-down-1", metric: cpuPerGB, subject: "ginnel-pipes-8", against: "ginnel-pipes-1", hops: 7, limit: 0.02},
		{text: "a hop by pipe, idle, B", scenario: "idle", metric: rssPerConn, subject: "ginnel-pipes-8", against: "ginnel-pipes-1", hops: 7, limit: 5 << 10},
		{text: "beside bulk: p99 of messages, to Envoy", scenario: "mix", metric: mixMessages, subject: "ginnel", against: "envoy", limit: 2},
		{text: "beside bulk: p99 of connections, to Envoy", scenario: "mix", metric: mixAccepts, subject: "ginnel", against: "envoy", limit: 2},
		{text: "HTTP/1.1, 100 B, to HAProxy", scenario: "http1-100", metric: cpuPerReq, subject: "ginnel", against: "haproxy", limit: 1.2},
		{text: "HTTP/1.1, 100 B, to Envoy", scenario: "http1-100", metric: cpuPerReq, subject: "ginnel", against: "envoy", limit: 0.5},
		{text: "HTTP/1.1, 64 KiB, to HAProxy", scenario: "http1-64k", metric: cpuPerReq, subject: "ginnel", against: "haproxy", limit: 1},
		{text: "HTTP/2, 100 B, to HAProxy", scenario: "http2-100", metric: cpuPerReq, subject: "ginnel", against: "haproxy", limit: 1.4},
		{text: "HTTP/2, 100 B, to Envoy", scenario: "http2-100", metric: cpuPerReq, subject: "ginnel", against: "envoy", limit: 0.65},
		{text: "HTTP/2, 64 KiB, to Envoy", scenario: "http2-64k", metric: cpuPerReq, subject: "ginnel", against: "envoy", limit: 1},
		{text: "HTTP in a tunnel, to Envoy", scenario: "encap-100", metric: cpuPerReq, subject: "ginnel", against: "envoy", limit: 0.5},
		{text: "TLS, bulk down, 1 connection, to Envoy", scenario: "tls-bulk-1", metric: cpuPerGB, subject: "ginnel", against: "envoy", limit: 1},
		{text: "TLS, bulk down, 8 connections, to Envoy", scenario: "tls-bulk-8", metric: cpuPerGB, subject: "ginnel", against: "envoy", limit: 0.9},
		{text: "TLS, bulk up, 1 connection, to Envoy", scenario: "tls-bulk-up-1", metric: cpuPerGB, subject: "ginnel", against: "envoy", limit: 1},
		{text: "TLS, bulk up, 8 connections, to Envoy", scenario: "tls-bulk-up-8", metric: cpuPerGB, subject: "ginnel", against: "envoy", limit: 0.9},
		{text: "full handshakes of mutual TLS, to Envoy", scenario: "tls-handshakes", metric: cpuPerConn, subject: "ginnel", against: "envoy", limit: 1},
		{text: "first answer of 1,000 listeners, to Envoy", scenario: "start-listeners", metric: firstAnswer, subject: "ginnel", against: "envoy", limit: 1},
		{text: "their RSS, to Envoy", scenario: "start-listeners", metric: startRSS, subject: "ginnel", against: "envoy", limit: 0.7},
		{text: "first answer of 1,000 clusters, to Envoy", scenario: "start-clusters", metric: firstAnswer, subject: "ginnel", against: "envoy", limit: 1},
		{text: "their RSS, to Envoy", scenario: "start-clusters", metric: startRSS, subject: "ginnel", against: "envoy", limit: 0.7},
		{text: "first answer of one listener, to Envoy", scenario: "start", metric: firstAnswer, subject: "ginnel", against: "envoy", limit: 1},
		{text: "its RSS, to Envoy", scenario: "start", metric: startRSS, subject: "ginnel", against: "envoy", limit: 0.7},
		{text: "a minute through a hop, last against first part, %", scenario: "steady", metric: kept, subject: "ginnel-1", limit: 95, atLeast: true},
		{text: "its CPU per byte, last against first part, %", scenario: "steady", metric: keptCPU, subject: "ginnel-1", limit: 105},
		{text: "a minute through a pipe, last against first part, %", scenario: "steady", metric: kept, subject: "ginnel-pipes-1", limit: 95, atLeast: true},
	}
}

// got is the figure that the target is about.
func (t target) got(r *report) (s spread, ok bool) {
	switch {
	case t.against == "":
		return r.spread(t.scenario, t.subject, t.metric.Key)
	case t.hops > 0:
		return r.perHop(t.scenario, t.metric.Key, t.subject, t.against, t.hops)
	}
	return r.ratio(t.scenario, t.metric.Key, t.subject, t.against)
}

func (t target) reached(s spread) bool {
	if t.atLeast {
		return s.median >= t.limit
	}
	return s.median <= t.limit
}

// targetTable compares what was measured with the targets.
func (r *report) targetTable() table {
	tab := table{title: "targets", about: "what the project has set itself; ratios are medians of ratios within a round", head: []string{"", "target", "measured", ""}}
	for _, t := range targets() {
		s, ok := t.got(r)
		if !ok {
			continue
		}
		bound, verdict := "at most ", "missed"
		if t.atLeast {
			bound = "at least "
		}
		if t.reached(s) {
			verdict = "reached"
		}
		tab.rows = append(tab.rows, []string{t.text, bound + digits(t.limit), s.String(), verdict})
	}
	return tab
}

// String is the median with the spread, where there is one.
func (s spread) String() string {
	if s.n == 1 {
		return digits(s.median)
	}
	return fmt.Sprintf("%s (%s to %s)", digits(s.median), digits(s.min), digits(s.max))
}
