package localratelimit

import (
	"errors"
	"sync"
	"weak"

	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/local_ratelimit/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

var networkFields = extension.Fields{
	Message: &networkv3.LocalRateLimit{},
	Obeyed:  []string{"stat_prefix", "token_bucket", "runtime_enabled", "share_key"},
}

// connections is the compiled network filter; with a bucket it is the running one.
type connections struct {
	prefix  string
	size    size
	enabled httpmatch.Flag
	key     shareKey // of the bucket that filters with an equal one share; zero: its own
	shared  *shared  // of the registry

	bucket  *bucket
	runtime filter.Runtime
	limited filter.Counter
}

func compileNetwork(s *extension.Scope, m *networkv3.LocalRateLimit, all *shared) filter.NetworkFactory {
	networkFields.Check(s, m)
	if m.GetStatPrefix() == "" {
		s.Field("stat_prefix").Errorf("is required")
	}
	f := &connections{
		prefix:  m.GetStatPrefix(),
		enabled: httpmatch.CompileFlag(s.Field("runtime_enabled"), m.GetRuntimeEnabled()),
		shared:  all,
	}
	if m.GetTokenBucket() == nil {
		s.Field("token_bucket").Errorf("is required")
		return f
	}
	if m.GetShareKey() != "" {
		text, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m.TokenBucket)
		f.key = shareKey{m.GetShareKey(), string(text)}
	}
	f.size = compileBucket(s.Field("token_bucket"), m.TokenBucket, "local rate limit token bucket")
	return f
}

// NewNetwork implements filter.NetworkFactory.
func (f *connections) NewNetwork(env *filter.Env) (filter.Network, error) {
	running := *f
	running.runtime = env.Runtime
	running.limited = env.Stats.Scope("local_rate_limit." + f.prefix + ".").Counter("rate_limited")
	if f.key == (shareKey{}) {
		running.bucket = newBucket(f.size)
	} else {
		running.bucket = f.shared.get(f.key, f.size)
	}
	return &running, nil
}

// Passive implements filter.Passive.
func (f *connections) Passive() bool { return true }

// WrapConn implements filter.Network.
func (f *connections) WrapConn(next filter.ConnHandler) filter.ConnHandler {
	return &connHandler{f, next}
}

type connHandler struct {
	filter *connections
	next   filter.ConnHandler
}

// errOverLimit is the reason of a close, in Envoy's words.
var errOverLimit = errors.New("local_ratelimit_close_over_limit")

// ServeConn implements filter.ConnHandler.
func (h *connHandler) ServeConn(c *filter.Conn) error {
	f := h.filter
	if !f.enabled.On(f.runtime) || f.bucket.take(1) {
		return h.next.ServeConn(c)
	}
	f.limited.Add(1)
	c.Info.Raise(filter.UpstreamRetryLimitExceeded) // what Envoy has for it
	return c.Refuse(errOverLimit)
}

// shared are the buckets that several filters use, for as long as one does.
type shared struct {
	mu  sync.Mutex
	all map[shareKey]weak.Pointer[bucket]
}

// A shareKey is what filters must have in common: the key, and every field of the bucket.
type shareKey struct{ key, bucket string }

func (s *shared) get(k shareKey, z size) *bucket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.all[k].Value(); b != nil {
		return b
	}
	for old, p := range s.all {
		if p.Value() == nil {
			delete(s.all, old)
		}
	}
	b := newBucket(z)
	if s.all == nil {
		s.all = make(map[shareKey]weak.Pointer[bucket])
	}
	s.all[k] = weak.Make(b)
	return b
}
