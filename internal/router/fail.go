package router

import (
	"cmp"
	"errors"
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A failure is why a try brought no response. The zero value is none.
type failure struct {
	kind   failureKind
	reason httpmsg.Reason // of wasReset
	text   string         // the transport's failure reason; "": none
	why    string         // details of noHost; "": the usual ones
}

type failureKind uint8

const (
	noFailure failureKind = iota
	noHost
	wasReset // or could not be connected
	clientGone
	routeTimeout
	tryTimeout
	tryIdleTimeout
	streamTimeout // the cluster's max_stream_duration
	bodyTooLarge  // for what is kept of it, while no try was under way
	superseded    // another try has answered
)

// connectFailure tells what an error of filter.HTTPCluster.Open or filter.Cluster.Connect
// means.
func connectFailure(err error) failure {
	switch err {
	case filter.ErrNoHost:
		return failure{kind: noHost}
	case filter.ErrOverflow, filter.ErrPendingOverflow, filter.ErrRequestOverflow:
		return failure{kind: wasReset, reason: httpmsg.Overflow}
	case filter.ErrConnectTimeout:
		return failure{kind: wasReset, reason: httpmsg.ConnectionTimeout}
	}
	if n, ok := err.(*filter.NoHostError); ok {
		return failure{kind: noHost, why: n.Details}
	}
	f := failure{kind: wasReset, reason: httpmsg.RemoteConnectionFailure}
	var c *filter.ConnectError
	if errors.As(err, &c) {
		f.text = c.Reason
		if c.Local {
			f.reason = httpmsg.LocalConnectionFailure
		}
	}
	return f
}

// resetFailure tells what an error of an exchange means.
func resetFailure(err error) failure {
	var r *httpmsg.ResetError
	if errors.As(err, &r) && r.Reason != 0 {
		return failure{kind: wasReset, reason: r.Reason, text: r.Failure}
	}
	return failure{kind: wasReset, reason: httpmsg.ConnectionTermination}
}

// reasonWords are the reasons as Envoy's bodies spell them.
var reasonWords = [...]string{
	httpmsg.LocalReset:              "local reset",
	httpmsg.LocalRefused:            "local refused stream reset",
	httpmsg.RemoteReset:             "remote reset",
	httpmsg.RemoteRefused:           "remote refused stream reset",
	httpmsg.LocalConnectionFailure:  "local connection failure",
	httpmsg.RemoteConnectionFailure: "remote connection failure",
	httpmsg.ConnectionTimeout:       "connection timeout",
	httpmsg.ConnectionTermination:   "connection termination",
	httpmsg.Overflow:                "overflow",
	httpmsg.ConnectError:            "remote error with CONNECT request",
	httpmsg.ProtocolError:           "protocol error",
}

// flags is the response flag of a reset.
func flags(r httpmsg.Reason) filter.Flags {
	switch r {
	case httpmsg.LocalConnectionFailure, httpmsg.RemoteConnectionFailure, httpmsg.ConnectionTimeout:
		return filter.UpstreamConnectionFailure
	case httpmsg.ConnectionTermination:
		return filter.UpstreamConnectionTermination
	case httpmsg.LocalReset, httpmsg.LocalRefused:
		return filter.LocalReset
	case httpmsg.Overflow:
		return filter.UpstreamOverflow
	case httpmsg.RemoteReset, httpmsg.RemoteRefused, httpmsg.ConnectError:
		return filter.UpstreamRemoteReset
	case httpmsg.ProtocolError:
		return filter.UpstreamProtocolError
	}
	return 0
}

// details is what %RESPONSE_CODE_DETAILS% says of a failure; started tells that the
// response had begun.
func (f *failure) details(started bool) string {
	switch f.kind {
	case noHost:
		return cmp.Or(f.why, "no_healthy_upstream")
	case routeTimeout:
		return "response_timeout"
	case tryTimeout:
		return "upstream_per_try_timeout"
	case tryIdleTimeout:
		return "upstream_per_try_idle_timeout"
	case streamTimeout:
		return "upstream_max_stream_duration_reached"
	case bodyTooLarge:
		return "request_payload_exceeded_retry_buffer_limit"
	case wasReset:
		s := "upstream_reset_before_response_started{"
		if started {
			s = "upstream_reset_after_response_started{"
		}
		s += reasonWords[f.reason]
		if f.text != "" {
			s += "|" + f.text
		}
		return underscored(s + "}")
	}
	return ""
}

// reset is a failure as outlier detection takes it.
func (f *failure) reset() *httpmsg.ResetError {
	r := &httpmsg.ResetError{Reason: f.reason, Failure: f.text}
	if f.kind != wasReset {
		r.Reason = httpmsg.ConnectionTimeout
	}
	return r
}

// flags are the response flags of a failure.
func (f *failure) flags() filter.Flags {
	switch f.kind {
	case noHost:
		return filter.NoHealthyUpstream
	case routeTimeout, tryTimeout, tryIdleTimeout:
		return filter.UpstreamRequestTimeout
	case streamTimeout:
		return filter.UpstreamMaxStreamDurationReached
	case wasReset:
		return flags(f.reason)
	}
	return 0
}

// underscored replaces the blanks of a text, as Envoy does in details.
func underscored(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\n', '\v', '\f', '\r':
			return '_'
		}
		return r
	}, s)
}

// reply is the response to a failure; retried tells that it was not the first one.
// timeoutStatus is that of a timeout.
func (f *failure) reply(started, retried bool, timeoutStatus int) filter.LocalReply {
	out := filter.LocalReply{Status: 503, Flags: f.flags(), Details: f.details(started)}
	switch f.kind {
	case noHost:
		out.Body = "no healthy upstream"
	case routeTimeout, tryTimeout, tryIdleTimeout:
		if out.Status = timeoutStatus; out.Status == 504 {
			out.Body = "upstream request timeout"
		}
	case streamTimeout:
		out.Status, out.Body = 504, "upstream max stream duration reached"
	case bodyTooLarge:
		out.Status, out.Body = 507, "exceeded request buffer limit while retrying upstream"
	case wasReset:
		if f.reason == httpmsg.ProtocolError {
			out.Status = 502
		}
		out.Body = "upstream connect error or disconnect/reset before headers. "
		if retried {
			out.Body += "retried and the latest "
		}
		out.Body += "reset reason: " + reasonWords[f.reason]
	}
	return out
}
