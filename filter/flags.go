package filter

import "strings"

// Flags are Envoy's response flags. Two more fit in: every connection keeps them.
type Flags uint32

// The flags in the order in which Envoy prints them.
const (
	FailedLocalHealthCheck Flags = 1 << iota
	NoHealthyUpstream
	UpstreamRequestTimeout
	LocalReset
	UpstreamRemoteReset
	UpstreamConnectionFailure
	UpstreamConnectionTermination
	UpstreamOverflow
	NoRouteFound
	DelayInjected
	FaultInjected
	RateLimited
	UnauthorizedExternalService
	RateLimitServiceError
	DownstreamConnectionTermination
	UpstreamRetryLimitExceeded
	StreamIdleTimeout
	InvalidEnvoyRequestHeaders
	DownstreamProtocolError
	UpstreamMaxStreamDurationReached
	ResponseFromCacheFilter
	NoFilterConfigFound
	DurationTimeout
	UpstreamProtocolError
	NoClusterFound
	OverloadManager
	DNSResolutionFailed
	DropOverLoad
	DownstreamRemoteReset
	UnconditionalDropOverload
)

var flagNames = [...][2]string{
	{"LH", "FailedLocalHealthCheck"}, {"UH", "NoHealthyUpstream"}, {"UT", "UpstreamRequestTimeout"},
	{"LR", "LocalReset"}, {"UR", "UpstreamRemoteReset"}, {"UF", "UpstreamConnectionFailure"},
	{"UC", "UpstreamConnectionTermination"}, {"UO", "UpstreamOverflow"}, {"NR", "NoRouteFound"},
	{"DI", "DelayInjected"}, {"FI", "FaultInjected"}, {"RL", "RateLimited"},
	{"UAEX", "UnauthorizedExternalService"}, {"RLSE", "RateLimitServiceError"},
	{"DC", "DownstreamConnectionTermination"}, {"URX", "UpstreamRetryLimitExceeded"},
	{"SI", "StreamIdleTimeout"}, {"IH", "InvalidEnvoyRequestHeaders"}, {"DPE", "DownstreamProtocolError"},
	{"UMSDR", "UpstreamMaxStreamDurationReached"}, {"RFCF", "ResponseFromCacheFilter"},
	{"NFCF", "NoFilterConfigFound"}, {"DT", "DurationTimeout"}, {"UPE", "UpstreamProtocolError"},
	{"NC", "NoClusterFound"}, {"OM", "OverloadManagerTerminated"}, {"DF", "DnsResolutionFailed"},
	{"DO", "DropOverload"}, {"DR", "DownstreamRemoteReset"}, {"UDO", "UnconditionalDropOverload"},
}

// String returns the short names, joined by commas; "-" for none.
func (f Flags) String() string { return f.names(0) }

// Long returns the long names, joined by commas; "-" for none.
func (f Flags) Long() string { return f.names(1) }

func (f Flags) names(form int) string {
	if f == 0 {
		return "-"
	}
	var out []string
	for i := range flagNames {
		if f&(1<<i) != 0 {
			out = append(out, flagNames[i][form])
		}
	}
	return strings.Join(out, ",")
}

// ParseFlag returns the flag of a short name.
func ParseFlag(short string) (Flags, bool) {
	for i := range flagNames {
		if flagNames[i][0] == short {
			return 1 << i, true
		}
	}
	return 0, false
}
