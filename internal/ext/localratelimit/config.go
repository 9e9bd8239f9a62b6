package localratelimit

import (
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/httpmatch"
	"github.com/ginnel/ginnel/internal/route"
	"github.com/ginnel/ginnel/internal/state"
)

const noRouteLimits = "rate_limits of routes and virtual hosts, which it is about, are refused themselves"

var (
	fields = extension.Fields{
		Message: &localv3.LocalRateLimit{},
		Obeyed: []string{"stat_prefix", "status", "token_bucket", "filter_enabled", "filter_enforced",
			"request_headers_to_add_when_not_enforced", "response_headers_to_add", "descriptors",
			"local_rate_limit_per_downstream_connection", "enable_x_ratelimit_headers",
			"always_consume_default_token_bucket", "rate_limited_as_resource_exhausted", "rate_limits",
			"max_dynamic_descriptors", "enable_retry_after_header"},
		Ignored: map[string]string{"stage": noRouteLimits, "vh_rate_limits": noRouteLimits},
	}
	statusFields = extension.Fields{Message: &typev3.HttpStatus{}, Obeyed: []string{"code"}}
	bucketFields = extension.Fields{
		Message: &typev3.TokenBucket{},
		Obeyed:  []string{"max_tokens", "tokens_per_fill", "fill_interval"},
	}
	descriptorFields = extension.Fields{
		Message: &ratelimitv3.LocalRateLimitDescriptor{},
		Obeyed:  []string{"entries", "token_bucket", "shadow_mode"},
	}
	entryFields = extension.Fields{
		Message: &ratelimitv3.RateLimitDescriptor_Entry{},
		Obeyed:  []string{"key", "value"},
	}
)

// config is the compiled filter, or what a route says in its place.
type config struct {
	prefix             string
	status             int
	bucket             *size // nil: none
	enabled, enforced  httpmatch.Fraction
	forwarded, refused route.Mutations // of requests over the limit, and of their answers
	descriptors        []descriptor
	limits             []limit
	most               int // buckets of a descriptor with blanks
	alwaysDefault      bool
	perConnection      bool
	headers            bool
	retryAfter         bool
	grpcStatus         int // 0: as the HTTP status says
}

// A size is what a token bucket is like.
type size struct {
	most float64 // tokens
	rate float64 // tokens in a second
}

// A descriptor has a bucket for requests with just these entries.
type descriptor struct {
	entries []entry
	size    size
	shadow  bool
	blank   bool // some values are: each combination has a bucket
}

// An entry is a key and its value.
type entry struct{ key, value string }

const leastFill = 50 * time.Millisecond

const resourceExhausted = 8 // of gRPC

func compile(s *extension.Scope, m *localv3.LocalRateLimit) *config {
	fields.Check(s, m)
	c := &config{
		prefix: m.GetStatPrefix(), status: 429,
		enabled:       compileFraction(m.GetFilterEnabled()),
		enforced:      compileFraction(m.GetFilterEnforced()),
		forwarded:     route.CompileMutations(s, "request_headers_when_not_enforced", m.GetRequestHeadersToAddWhenNotEnforced(), nil, state.Options{}),
		refused:       route.CompileMutations(s, "response_headers", m.GetResponseHeadersToAdd(), nil, state.Options{}),
		limits:        compileLimits(s.Field("rate_limits"), m.GetRateLimits()),
		most:          20,
		alwaysDefault: m.GetAlwaysConsumeDefaultTokenBucket() == nil || m.AlwaysConsumeDefaultTokenBucket.Value,
		perConnection: m.GetLocalRateLimitPerDownstreamConnection(),
		headers:       m.GetEnableXRatelimitHeaders() == ratelimitv3.XRateLimitHeadersRFCVersion_DRAFT_VERSION_03,
		retryAfter:    m.GetEnableRetryAfterHeader(),
	}
	if c.prefix == "" {
		s.Field("stat_prefix").Errorf("is required")
	}
	if st := m.GetStatus(); st != nil {
		statusFields.Check(s.Field("status"), st)
		if st.Code >= 400 {
			c.status = int(st.Code)
		}
	}
	if m.GetRateLimitedAsResourceExhausted() {
		c.grpcStatus = resourceExhausted
	}
	if n := m.GetMaxDynamicDescriptors(); n != nil {
		if c.most = int(n.Value); c.most < 1 {
			s.Field("max_dynamic_descriptors").Errorf("value must be greater than or equal to 1")
		}
	}
	if b := m.GetTokenBucket(); b != nil {
		z := compileBucket(s.Field("token_bucket"), b, "local rate limit token bucket")
		c.bucket = &z
	}
	c.compileDescriptors(s.Field("descriptors"), m.GetDescriptors())
	return c
}

// compileFraction compiles a share of requests; without it, none.
func compileFraction(m *corev3.RuntimeFractionalPercent) httpmatch.Fraction {
	if m == nil {
		return httpmatch.Fraction{}
	}
	return httpmatch.CompileFraction(m)
}

func compileBucket(s *extension.Scope, m *typev3.TokenBucket, what string) size {
	bucketFields.Check(s, m)
	fill, interval := 1.0, m.GetFillInterval().AsDuration()
	switch n := m.GetTokensPerFill(); {
	case n == nil:
	case n.Value == 0:
		s.Field("tokens_per_fill").Errorf("value must be greater than 0")
	default:
		fill = float64(n.Value)
	}
	switch {
	case m.GetFillInterval() == nil:
		s.Field("fill_interval").Errorf("is required")
	case interval < leastFill:
		s.Field("fill_interval").Errorf("%s fill timer must be >= 50ms", what)
	}
	return size{most: float64(m.GetMaxTokens()), rate: fill / max(interval, leastFill).Seconds()}
}

func (c *config) compileDescriptors(s *extension.Scope, list []*ratelimitv3.LocalRateLimitDescriptor) {
	for i, m := range list {
		s := s.Index(i)
		descriptorFields.Check(s, m)
		d := descriptor{shadow: m.GetShadowMode()}
		for j, e := range m.GetEntries() {
			s := s.Field("entries").Index(j)
			entryFields.Check(s, e)
			if e.GetKey() == "" {
				s.Field("key").Errorf("is required")
			}
			d.blank = d.blank || e.GetValue() == ""
			d.entries = append(d.entries, entry{e.GetKey(), e.GetValue()})
		}
		if len(d.entries) == 0 {
			s.Field("entries").Errorf("value must contain at least 1 item(s)")
		}
		if d.blank && c.perConnection {
			s.Field("entries").Warnf("blank values do not work for each connection alone: the descriptor never matches")
		}
		if m.GetTokenBucket() == nil {
			s.Field("token_bucket").Errorf("is required")
		} else {
			d.size = compileBucket(s.Field("token_bucket"), m.TokenBucket, "local rate limit descriptor token bucket")
		}
		for _, other := range c.descriptors {
			if slices.Equal(other.entries, d.entries) {
				s.Errorf("duplicate descriptor in the local rate descriptor")
			}
		}
		c.descriptors = append(c.descriptors, d)
	}
}
