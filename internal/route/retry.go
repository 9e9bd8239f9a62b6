package route

import (
	"math"
	"slices"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	canaryv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/omit_canary_hosts/v3"
	omitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/omit_host_metadata/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	prioritiesv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/priority/previous_priorities/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// RetryOn is the set of failures that are tried again.
type RetryOn uint32

// The failures, by their names in retry_on.
const (
	On5xx RetryOn = 1 << iota
	OnGatewayError
	OnReset
	OnResetBeforeRequest
	OnConnectFailure
	OnEnvoyRateLimited
	OnRetriable4xx
	OnRefusedStream
	OnRetriableStatusCodes
	OnRetriableHeaders
	OnHTTP3PostConnectFailure
	OnGRPCCancelled
	OnGRPCDeadlineExceeded
	OnGRPCInternal
	OnGRPCResourceExhausted
	OnGRPCUnavailable
)

// ParseRetryOn reads a list of failures that are not gRPC's, as in x-envoy-retry-on; all
// tells that every name is known. Unknown ones count for nothing.
func ParseRetryOn(list string) (on RetryOn, all bool) { return parseRetryOn(list, httpFailure) }

// ParseRetryGRPCOn reads a list of gRPC's failures, as in x-envoy-retry-grpc-on.
func ParseRetryGRPCOn(list string) (on RetryOn, all bool) { return parseRetryOn(list, grpcFailure) }

func parseRetryOn(list string, of func(string) RetryOn) (on RetryOn, all bool) {
	all = true
	for list != "" {
		var name string
		name, list, _ = strings.Cut(list, ",")
		bit := of(strings.TrimSpace(name))
		on |= bit
		all = all && bit != 0
	}
	return on, all
}

func httpFailure(name string) RetryOn {
	switch name {
	case "5xx":
		return On5xx
	case "gateway-error":
		return OnGatewayError
	case "reset":
		return OnReset
	case "reset-before-request":
		return OnResetBeforeRequest
	case "connect-failure":
		return OnConnectFailure
	case "envoy-ratelimited":
		return OnEnvoyRateLimited
	case "retriable-4xx":
		return OnRetriable4xx
	case "refused-stream":
		return OnRefusedStream
	case "retriable-status-codes":
		return OnRetriableStatusCodes
	case "retriable-headers":
		return OnRetriableHeaders
	case "http3-post-connect-failure":
		return OnHTTP3PostConnectFailure
	}
	return 0
}

func grpcFailure(name string) RetryOn {
	switch name {
	case "cancelled":
		return OnGRPCCancelled
	case "deadline-exceeded":
		return OnGRPCDeadlineExceeded
	case "internal":
		return OnGRPCInternal
	case "resource-exhausted":
		return OnGRPCResourceExhausted
	case "unavailable":
		return OnGRPCUnavailable
	}
	return 0
}

// A RetryPolicy tells which requests are tried again, and how.
type RetryPolicy struct {
	On      RetryOn
	Retries uint32 // at most

	PerTryTimeout, PerTryIdleTimeout time.Duration // 0: none

	StatusCodes    []int             // of OnRetriableStatusCodes
	Headers        httpmatch.Headers // of OnRetriableHeaders: one that fits a response is enough
	RequestHeaders httpmatch.Headers // one must fit the request; none: all requests

	BackoffBase, BackoffMax time.Duration
	// Reset are headers that say when to try again, in order; nil: none are looked at.
	Reset    []ResetHeader
	ResetMax time.Duration // longer waits than that are not waited

	// HostAttempts is how often the choice of a host is repeated that Avoid is against.
	HostAttempts int
	// TriedEvery leaves out the priorities of the hosts that were tried, after each so many
	// tries; 0: it does not.
	TriedEvery int

	previous bool
	omit     []*structpb.Struct // hosts whose envoy.lb metadata has all of one
}

// A ResetHeader is a response header that says when to try again.
type ResetHeader struct {
	Name string // lower case
	Unix bool   // it is a time in seconds since 1970; else a number of seconds
}

// Selective reports whether Avoid can be against any host.
func (p *RetryPolicy) Selective() bool { return p.previous || len(p.omit) > 0 }

// Avoid reports whether another host than h is better for a retry after those in tried.
func (p *RetryPolicy) Avoid(h *filter.Host, tried []*filter.Host) bool {
	if p.previous {
		for _, t := range tried {
			if t == h || t.Addr != nil && h.Addr != nil && t.Addr.String() == h.Addr.String() {
				return true
			}
		}
	}
	for _, want := range p.omit {
		if hasAll(h.Metadata.GetFilterMetadata()["envoy.lb"], want) {
			return true
		}
	}
	return false
}

// hasAll reports whether have has all of want; of a list one element is enough.
func hasAll(have, want *structpb.Struct) bool {
	for k, v := range want.GetFields() {
		got := have.GetFields()[k]
		list := got.GetListValue().GetValues()
		if !proto.Equal(got, v) && !slices.ContainsFunc(list, func(one *structpb.Value) bool { return proto.Equal(one, v) }) {
			return false
		}
	}
	return true
}

// retryPolicy compiles the policy of a level, that stands in retry_policy or
// retry_policy_typed_config of s; nil for none.
func (c *compiler) retryPolicy(s *extension.Scope, m *routev3.RetryPolicy, typed *anypb.Any) *RetryPolicy {
	at := s.Field("retry_policy")
	if m == nil && typed != nil {
		at = s.Field("retry_policy_typed_config")
		msg, ok := at.Unpack(typed)
		if !ok {
			return nil
		}
		if m, ok = msg.(*routev3.RetryPolicy); !ok {
			at.Errorf("%s is a known type, but ginnel does not implement it as a retry policy", msg.ProtoReflect().Descriptor().FullName())
			return nil
		}
	}
	if m == nil {
		return nil
	}
	return CompileRetryPolicy(at, m)
}

// CompileRetryPolicy compiles a retry policy.
func CompileRetryPolicy(s *extension.Scope, m *routev3.RetryPolicy) *RetryPolicy {
	retryFields.Check(s, m)
	on, _ := ParseRetryOn(m.RetryOn)
	onGRPC, _ := ParseRetryGRPCOn(m.RetryOn)
	p := &RetryPolicy{
		On:                on | onGRPC,
		Retries:           1,
		PerTryTimeout:     m.PerTryTimeout.AsDuration(),
		PerTryIdleTimeout: m.PerTryIdleTimeout.AsDuration(),
		Headers:           httpmatch.CompileHeaders(s.Field("retriable_headers"), m.RetriableHeaders),
		RequestHeaders:    httpmatch.CompileHeaders(s.Field("retriable_request_headers"), m.RetriableRequestHeaders),
		HostAttempts:      1,
	}
	if n := m.NumRetries; n != nil {
		p.Retries = n.Value
	}
	if n := m.HostSelectionRetryMaxAttempts; n > 0 {
		p.HostAttempts = int(min(n, math.MaxInt32))
	}
	for _, c := range m.RetriableStatusCodes {
		p.StatusCodes = append(p.StatusCodes, int(c))
	}
	p.backOff(s.Field("retry_back_off"), m.RetryBackOff)
	p.resets(s.Field("rate_limited_retry_back_off"), m.RateLimitedRetryBackOff)
	if r := m.RetryPriority; r != nil {
		p.retryPriority(s.Field("retry_priority"), r)
	}
	for i, x := range m.RetryHostPredicate {
		p.hostPredicate(s.Field("retry_host_predicate").Index(i), x)
	}
	return p
}

func (p *RetryPolicy) backOff(s *extension.Scope, m *routev3.RetryPolicy_RetryBackOff) {
	p.BackoffBase = 25 * time.Millisecond
	if m != nil {
		backOffFields.Check(s, m)
		p.BackoffBase = max(m.BaseInterval.AsDuration(), time.Millisecond) // Envoy: whole milliseconds, at least one
	}
	p.BackoffMax = 10 * p.BackoffBase
	if m.GetMaxInterval() != nil {
		p.BackoffMax = max(m.MaxInterval.AsDuration(), time.Millisecond)
	}
	if p.BackoffMax < p.BackoffBase {
		s.Errorf("retry_policy.max_interval must greater than or equal to the base_interval")
	}
}

func (p *RetryPolicy) resets(s *extension.Scope, m *routev3.RetryPolicy_RateLimitedRetryBackOff) {
	if m == nil {
		return
	}
	rateLimitedFields.Check(s, m)
	p.ResetMax = 300 * time.Second
	if m.MaxInterval != nil {
		p.ResetMax = m.MaxInterval.AsDuration()
	}
	for _, h := range m.ResetHeaders {
		p.Reset = append(p.Reset, ResetHeader{lowerCase(h.GetName()), h.GetFormat() == routev3.RetryPolicy_UNIX_TIMESTAMP})
	}
}

func (p *RetryPolicy) retryPriority(s *extension.Scope, x *routev3.RetryPolicy_RetryPriority) {
	if m, ok := unpack[*prioritiesv3.PreviousPrioritiesConfig](s, x); ok {
		prioritiesFields.Check(s.Field("typed_config"), m)
		p.TriedEvery = int(m.UpdateFrequency)
	}
}

func (p *RetryPolicy) hostPredicate(s *extension.Scope, x *routev3.RetryPolicy_RetryHostPredicate) {
	s = s.Field("typed_config")
	if x.GetTypedConfig() == nil {
		s.Errorf("is required")
		return
	}
	m, ok := s.Unpack(x.GetTypedConfig())
	if !ok {
		return
	}
	switch m := m.(type) {
	case *previoushostsv3.PreviousHostsPredicate:
		p.previous = true
	case *canaryv3.OmitCanaryHostsPredicate:
		p.omitCanaries()
	case *omitv3.OmitHostMetadataConfig:
		omitFields.Check(s, m)
		if want := m.GetMetadataMatch().GetFilterMetadata()["envoy.lb"]; len(want.GetFields()) > 0 {
			p.omit = append(p.omit, want)
		}
	default:
		s.Errorf("%s is a known type, but ginnel does not implement it as a retry host predicate", m.ProtoReflect().Descriptor().FullName())
	}
}

func (p *RetryPolicy) omitCanaries() {
	p.omit = append(p.omit, &structpb.Struct{Fields: map[string]*structpb.Value{"canary": structpb.NewBoolValue(true)}})
}

// A HedgePolicy sends a second request before the first has failed for good.
type HedgePolicy struct {
	// OnPerTryTimeout leaves a request that ran into its per-try timeout alive while
	// another one is sent; the first answer counts.
	OnPerTryTimeout bool
}

func hedgePolicy(s *extension.Scope, m *routev3.HedgePolicy) *HedgePolicy {
	if m == nil {
		return nil
	}
	hedgeFields.Check(s, m)
	return &HedgePolicy{m.HedgeOnPerTryTimeout}
}
