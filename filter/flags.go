package filter

import "math/bits"

// Flags are Envoy's response flags. Two more fit in: every connection keeps them.
type Flags uint32

// The flags in the order of Envoy's enumeration.
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
func (f Flags) String() string { return string(f.appendNames(nil, nil, 0)) }

// Long returns the long names, joined by commas; "-" for none.
func (f Flags) Long() string { return string(f.appendNames(nil, nil, 1)) }

// appendNames appends the names of flags to dst: first those in first, in that order.
func (f Flags) appendNames(dst []byte, first []Flags, form int) []byte {
	if f == 0 {
		return append(dst, '-')
	}
	for _, one := range first {
		if f&one != 0 {
			f &^= one
			dst = append(append(dst, flagNames[bits.TrailingZeros32(uint32(one))][form]...), ',')
		}
	}
	for ; f != 0; f &= f - 1 {
		dst = append(append(dst, flagNames[bits.TrailingZeros32(uint32(f))][form]...), ',')
	}
	return dst[:len(dst)-1]
}

// Raise adds flags. They are printed in the order in which they were raised.
func (i *Info) Raise(f Flags) {
	f &^= i.Flags
	if f == 0 {
		return
	}
	if i.Rest().raised != nil || f&-f < i.Flags { // not the order of their bits
		i.keepOrder(f)
	}
	i.Flags |= f
}

// keepOrder notes that f is raised after what has been.
func (i *Info) keepOrder(f Flags) {
	x := i.More()
	if x.raised == nil {
		x.raised = i.Flags.each(nil)
	}
	x.raised = f.each(x.raised)
}

// each appends the flags of a set one by one.
func (f Flags) each(list []Flags) []Flags {
	for ; f != 0; f &= f - 1 {
		list = append(list, f&-f)
	}
	return list
}

// AppendFlags appends the short names of the flags, in the order in which they were raised
// and joined by commas, to dst; "-" for none.
func (i *Info) AppendFlags(dst []byte) []byte {
	return i.Flags.appendNames(dst, i.Rest().raised, 0)
}

// AppendLongFlags appends the long names as AppendFlags does.
func (i *Info) AppendLongFlags(dst []byte) []byte {
	return i.Flags.appendNames(dst, i.Rest().raised, 1)
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
