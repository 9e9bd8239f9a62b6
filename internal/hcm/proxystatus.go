package hcm

import (
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// proxyStatus is proxy_status_config.
type proxyStatus struct {
	name    string // of this proxy; "": server_name
	byNode  bool   // it is called by its node's id
	details bool
	flags   bool // among the details
	status  bool // the response gets the status that the error recommends
}

// named returns p with the name that it has where nothing else is configured.
func (p *proxyStatus) named(local *filter.HTTPLocal) *proxyStatus {
	if p == nil || p.name != "" {
		return p
	}
	out := *p
	if out.name = local.ServerName; p.byNode {
		out.name = local.NodeID
	}
	return &out
}

// A proxyError is an error of the Proxy-Status header, of RFC 9209.
type proxyError struct {
	flags  filter.Flags // any of which means it
	name   string
	status int // that it recommends; 0: none
}

// proxyErrors is Envoy's order: the first one counts.
var proxyErrors = [...]proxyError{
	{filter.FailedLocalHealthCheck | filter.NoHealthyUpstream, "destination_unavailable", 503},
	{filter.UpstreamRequestTimeout, "http_response_timeout", 504},
	{filter.DurationTimeout | filter.LocalReset, "connection_timeout", 504},
	{filter.UpstreamRemoteReset, "connection_terminated", 502},
	{filter.UpstreamConnectionFailure | filter.UnauthorizedExternalService, "connection_refused", 502},
	{filter.UpstreamConnectionTermination, "connection_terminated", 502},
	{filter.OverloadManager | filter.DropOverLoad, "connection_limit_reached", 503},
	{filter.FaultInjected, "http_request_error", 0},
	{filter.DownstreamConnectionTermination | filter.DownstreamRemoteReset, "connection_terminated", 502},
	{filter.UpstreamOverflow, "connection_limit_reached", 503},
	{filter.NoRouteFound, "destination_not_found", 500},
	{filter.RateLimited | filter.RateLimitServiceError, "connection_limit_reached", 503},
	{filter.UpstreamRetryLimitExceeded, "destination_unavailable", 503},
	{filter.StreamIdleTimeout, "http_response_timeout", 504},
	{filter.InvalidEnvoyRequestHeaders | filter.DownstreamProtocolError, "http_request_error", 0},
	{filter.UpstreamMaxStreamDurationReached, "http_response_timeout", 504},
	{filter.NoFilterConfigFound, "proxy_configuration_error", 500},
	{filter.UpstreamProtocolError, "http_protocol_error", 502},
	{filter.NoClusterFound, "destination_unavailable", 503},
	{filter.DNSResolutionFailed, "dns_error", 502},
}

// mark adds what went wrong here to the Proxy-Status header of a response, if anything did.
func (p *proxyStatus) mark(resp *httpmsg.Response, i *filter.Info) {
	if i.Flags == 0 {
		return
	}
	for _, e := range proxyErrors {
		if i.Flags&e.flags == 0 {
			continue
		}
		line := p.line(e.name, i)
		if before, ok := resp.Header.Joined("proxy-status"); ok && before != "" {
			line = before + ", " + line
		}
		resp.Header.Set("proxy-status", line)
		if p.status && e.status != 0 {
			resp.Status, resp.Phrase = e.status, ""
		}
		return
	}
}

func (p *proxyStatus) line(err string, i *filter.Info) string {
	b := append(append([]byte(p.name), "; error="...), err...)
	details := i.Rest().Details
	if !p.details || details == "" {
		return string(b)
	}
	b = append(append(b, `; details="`...), escaper.Replace(details)...)
	if p.flags {
		b = i.AppendFlags(append(b, "; "...))
	}
	return string(append(b, '"'))
}

// escaper keeps a text within its quotes.
var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
