package compile

import (
	"cmp"
	"math"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/httpmatch"
	"github.com/ginnel/ginnel/internal/plan"
)

// Envoy's defaults.
const (
	defaultConnectTimeout = 5 * time.Second
	defaultClusterBuffer  = 1 << 20 // bytes
)

// clusters compiles a list of clusters; s is the scope of the list.
func clusters(s *extension.Scope, in []*clusterv3.Cluster) []*plan.Cluster {
	first := make(map[string]string, len(in)) // path by name
	out := make([]*plan.Cluster, 0, len(in))
	for i, c := range in {
		at := s.Index(i)
		if other, dup := first[c.GetName()]; dup && c.GetName() != "" {
			at.Field("name").Errorf("cluster manager: duplicate cluster '%s': %s has this name too", c.GetName(), other)
		} else {
			first[c.GetName()] = at.Path()
		}
		out = append(out, cluster(at, c))
	}
	checkCircles(s, out)
	return out
}

func cluster(s *extension.Scope, c *clusterv3.Cluster) *plan.Cluster {
	asked := len(s.SecretsAsked())
	clusterFields.Check(s, c)
	t := typeOfCluster(s, c)
	t.checkPolicy(s, c)
	checkProtocolOptions(s.Field("typed_extension_protocol_options"), c)
	if t := c.GetTrackClusterStats(); t != nil {
		trackStatsFields.Check(s.Field("track_cluster_stats"), t)
	}
	p := &plan.Cluster{
		Name: c.GetName(), StatName: cmp.Or(c.GetAltStatName(), c.GetName()), Proto: c,
		ConnectTimeout: durationOr(c.GetConnectTimeout(), defaultConnectTimeout),
		BufferBytes:    int(valueOr(c.GetPerConnectionBufferLimitBytes(), defaultClusterBuffer)),
		Metadata:       c.GetMetadata(),
		Assignment:     t.hostsOfItsOwn(s, c),
		Aggregate:      t.aggregate,
		LB:             balancing(s, c),
		Breakers:       breakers(s.Field("circuit_breakers"), c.GetCircuitBreakers()),
		Transport:      upstreamTransport(s.Field("transport_socket"), c.GetTransportSocket()),
		Transports:     transportMatches(s.Field("transport_socket_matches"), c.GetTransportSocketMatches()),
		Bind:           upstreamBind(s.Field("upstream_bind_config"), c.GetUpstreamBindConfig(), "Cluster "+c.GetName()),
		Keepalive:      upstreamKeepalive(s.Field("upstream_connection_options"), c.GetUpstreamConnectionOptions()),
		TryOrder:       tryOrder(s.Field("upstream_connection_options.happy_eyeballs_config"), c.GetUpstreamConnectionOptions().GetHappyEyeballsConfig()),
		Lookup:         t.lookup.String(),
		OriginalDst:    originalDst(s, c, t),
		DNS:            lookups(s, c, t),
		EDS:            endpointSource(s, c, t),
		HTTP:           httpOptions(s, c),
		Check:          healthCheck(s.Field("health_checks"), c),
		Outlier:        outlier(s.Field("outlier_detection"), c.GetOutlierDetection()),

		PredictivePreconnect: c.GetPreconnectPolicy().GetPredictivePreconnectRatio().GetValue(),
		PreconnectHost:       preconnectHost(s.Field("preconnect_policy.preconnect_enabled_metadata"), c.GetPreconnectPolicy().GetPreconnectEnabledMetadata()),
	}
	if t.lookup == clusterv3.Cluster_EDS {
		p.Assignment = plan.Assignment{OverprovisionFactor: defaultOverprovision}
	}
	t.checkTyped(s, c, &p.LB)
	t.forwards(s, c, p)
	checksHTTP2(s, p)
	checkALPN(s, c, p)
	if c.GetCloseConnectionsOnHostHealthFailure() && (p.Check != nil || p.Outlier != nil) {
		s.Field("close_connections_on_host_health_failure").Errorf("not supported yet: TCP connections to a host that becomes unhealthy go on")
	}
	p.CloseOnChange = c.GetCommonLbConfig().GetCloseConnectionsOnHostSetChange()
	p.IgnoreHealthOnRemoval = c.GetIgnoreHealthOnHostRemoval()
	p.HighWatermarkTimeout = highWatermarkTimeout(s, c, p.BufferBytes)
	p.Hash = withSecrets(s, hash(c), asked)
	return p
}

// preconnectHost returns nil where any host will do.
func preconnectHost(s *extension.Scope, m *matcherv3.MetadataMatcher) func(*corev3.Metadata) bool {
	if m == nil {
		return nil
	}
	fits := httpmatch.CompileMetadata(s, m)
	return func(host *corev3.Metadata) bool { return fits.Match(host.GetFilterMetadata()) }
}

// highWatermarkTimeout reads the timeout of a listener or a cluster, which Envoy takes
// in whole milliseconds. Without a limit there is no high watermark.
func highWatermarkTimeout(s *extension.Scope, m interface {
	GetPerConnectionBufferHighWatermarkTimeout() *durationpb.Duration
}, limit int) time.Duration {
	t := m.GetPerConnectionBufferHighWatermarkTimeout().AsDuration().Truncate(time.Millisecond)
	if t > 0 && limit == 0 {
		s.Field("per_connection_buffer_high_watermark_timeout").Warnf("not used: with per_connection_buffer_limit_bytes: 0 there is no high watermark")
		return 0
	}
	return t
}

func checkProtocolOptions(s *extension.Scope, c *clusterv3.Cluster) {
	for key, a := range c.GetTypedExtensionProtocolOptions() {
		m, ok := s.Key(key).Unpack(a)
		if !ok {
			continue
		}
		name := string(m.ProtoReflect().Descriptor().FullName())
		if _, ok := protocolOptions[name]; !ok && name != httpOptionsName {
			s.Key(key).Errorf("%s is not supported yet", name)
		}
	}
}

func valueOr(v *wrapperspb.UInt32Value, def uint32) uint32 {
	if v == nil {
		return def
	}
	return v.GetValue()
}

// breakers returns the circuit breakers by routing priority. Of two thresholds of
// one priority the first counts (Envoy).
func breakers(s *extension.Scope, m *clusterv3.CircuitBreakers) [2]plan.Breaker {
	var out [2]plan.Breaker
	for i := range out {
		out[i] = plan.Breaker{
			MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3, MaxConnectionPools: math.MaxUint32,
		}
	}
	if m == nil {
		return out
	}
	breakersFields.Check(s, m)
	eachPriority(s.Field("thresholds"), m.GetThresholds(), func(at *extension.Scope, t *clusterv3.CircuitBreakers_Thresholds) {
		threshold(at, &out[t.GetPriority()], t)
	})
	eachPriority(s.Field("per_host_thresholds"), m.GetPerHostThresholds(), func(at *extension.Scope, t *clusterv3.CircuitBreakers_Thresholds) {
		only := &clusterv3.CircuitBreakers_Thresholds{Priority: t.GetPriority(), MaxConnections: t.GetMaxConnections()}
		if !proto.Equal(t, only) {
			at.Errorf("Unsupported field in per_host_thresholds: a host has no limit but max_connections")
		}
		if v := t.GetMaxConnections(); v != nil {
			out[t.GetPriority()].PerHostMaxConnections = v.GetValue()
		}
	})
	return out
}

// eachPriority calls f for the first threshold of each priority.
func eachPriority(s *extension.Scope, in []*clusterv3.CircuitBreakers_Thresholds, f func(*extension.Scope, *clusterv3.CircuitBreakers_Thresholds)) {
	var seen [2]bool
	for i, t := range in {
		at := s.Index(i)
		thresholdsFields.Check(at, t)
		switch p := int(t.GetPriority()); {
		case p < 0 || p >= len(seen): // the API's own constraints name it
		case seen[p]:
			at.Warnf("not used: there are thresholds of priority %s before these, and the first count", t.GetPriority())
		default:
			seen[p] = true
			f(at, t)
		}
	}
}

func threshold(s *extension.Scope, b *plan.Breaker, t *clusterv3.CircuitBreakers_Thresholds) {
	b.MaxConnections = valueOr(t.GetMaxConnections(), b.MaxConnections)
	b.MaxPending = valueOr(t.GetMaxPendingRequests(), b.MaxPending)
	b.MaxRequests = valueOr(t.GetMaxRequests(), b.MaxRequests)
	b.MaxRetries = valueOr(t.GetMaxRetries(), b.MaxRetries)
	b.MaxConnectionPools = valueOr(t.GetMaxConnectionPools(), b.MaxConnectionPools)
	b.TrackRemaining = t.GetTrackRemaining()
	if m := t.GetRetryBudget(); m != nil {
		retryBudgetFields.Check(s.Field("retry_budget"), m)
		b.RetryBudget = &plan.RetryBudget{Percent: 20, MinConcurrency: valueOr(m.GetMinRetryConcurrency(), 3)}
		if p := m.GetBudgetPercent(); p != nil {
			b.RetryBudget.Percent = p.GetValue()
		}
	}
}

func tryOrder(s *extension.Scope, m *clusterv3.UpstreamConnectionOptions_HappyEyeballsConfig) plan.TryOrder {
	if m == nil {
		return plan.TryOrder{}
	}
	happyEyeballsFields.Check(s, m)
	o := plan.TryOrder{Count: int(m.GetFirstAddressFamilyCount().GetValue())}
	switch m.GetFirstAddressFamilyVersion() {
	case clusterv3.UpstreamConnectionOptions_V4:
		o.First = plan.IPv4Family
	case clusterv3.UpstreamConnectionOptions_V6:
		o.First = plan.IPv6Family
	case clusterv3.UpstreamConnectionOptions_PIPE:
		o.First = plan.PipeFamily
	case clusterv3.UpstreamConnectionOptions_INTERNAL:
		o.First = plan.InternalFamily
	}
	return o
}

// upstreamKeepalive returns nil when keep-alive is off.
func upstreamKeepalive(s *extension.Scope, m *clusterv3.UpstreamConnectionOptions) *plan.Keepalive {
	if m == nil {
		return nil
	}
	connectionOptionsFields.Check(s, m)
	return keepalive(s.Field("tcp_keepalive"), m.GetTcpKeepalive())
}
