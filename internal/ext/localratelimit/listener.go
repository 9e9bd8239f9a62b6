package localratelimit

import (
	"fmt"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/local_ratelimit/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

var listenerFields = extension.Fields{
	Message: &listenerv3.LocalRateLimit{},
	Obeyed:  []string{"stat_prefix", "token_bucket", "runtime_enabled"},
}

// arrivals is the compiled listener filter; with a bucket it is the running one.
type arrivals struct {
	prefix  string
	size    size
	enabled httpmatch.Flag

	bucket  *bucket
	runtime filter.Runtime
	limited filter.Counter
}

func compileListener(s *extension.Scope, m *listenerv3.LocalRateLimit) filter.ListenerFilterFactory {
	listenerFields.Check(s, m)
	f := &arrivals{
		prefix:  m.GetStatPrefix(),
		enabled: httpmatch.CompileFlag(s.Field("runtime_enabled"), m.GetRuntimeEnabled()),
	}
	if f.prefix == "" {
		s.Field("stat_prefix").Errorf("is required")
	}
	if m.GetTokenBucket() == nil {
		s.Field("token_bucket").Errorf("is required")
		return f
	}
	f.size = compileBucket(s.Field("token_bucket"), m.TokenBucket, "local rate limit token bucket")
	return f
}

// NewListenerFilter implements filter.ListenerFilterFactory: the connections of one
// listener share a bucket.
func (f *arrivals) NewListenerFilter(env *filter.Env) (filter.ListenerFilter, error) {
	running := *f
	running.bucket, running.runtime = newBucket(f.size), env.Runtime
	running.limited = env.Stats.Scope("listener_local_ratelimit." + f.prefix + ".").Counter("rate_limited")
	return &running, nil
}

// Peeks implements filter.ListenerFilterFactory.
func (f *arrivals) Peeks() bool { return false }

// Inspect implements filter.ListenerFilter.
func (f *arrivals) Inspect(*filter.Info, filter.Peeker) error {
	if !f.enabled.On(f.runtime) || f.bucket.take(1) {
		return nil
	}
	f.limited.Add(1)
	return fmt.Errorf("%w: there are too many", filter.ErrDenied)
}
