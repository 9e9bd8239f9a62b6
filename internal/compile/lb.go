package compile

import (
	"math/big"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

// balancing compiles the load balancing of a cluster. load_balancing_policy wins
// over lb_policy (Envoy).
func balancing(s *extension.Scope, c *clusterv3.Cluster) plan.LB {
	lb := plan.LB{
		PanicPercent: 50, ChoiceCount: 2, ActiveBias: 1,
		MinRing: defaultMinRing, MaxRing: maxRing, MaglevSize: 65537,
	}
	common := c.GetCommonLbConfig()
	if common != nil {
		commonBalancing(s.Field("common_lb_config"), common, c.GetClusterType() == nil && c.GetType() == clusterv3.Cluster_STATIC, &lb)
	}
	switch typed := c.GetLoadBalancingPolicy(); {
	case typed == nil:
		enumPolicy(s, c, &lb)
	case common.GetLocalityConfigSpecifier() != nil || common.GetConsistentHashingLbConfig() != nil:
		s.Field("load_balancing_policy").Errorf("cluster: load_balancing_policy cannot be combined with partial fields " +
			"(zone_aware_lb_config, locality_weighted_lb_config, consistent_hashing_lb_config) of common_lb_config")
	default:
		typedPolicy(s.Field("load_balancing_policy"), typed, &lb)
	}
	clusterSubset(s, c, &lb)
	return lb
}

func commonBalancing(s *extension.Scope, m *clusterv3.Cluster_CommonLbConfig, static bool, lb *plan.LB) {
	commonLBFields.Check(s, m)
	if p := m.GetHealthyPanicThreshold(); p != nil {
		lb.PanicPercent = p.GetValue()
	}
	if z := m.GetZoneAwareLbConfig(); z != nil {
		zoneAwareFields.Check(s.Field("zone_aware_lb_config"), z)
		lb.FailOnPanic = z.GetFailTrafficOnPanic()
	}
	lb.LocalityWeights = m.GetLocalityWeightedLbConfig() != nil
	if h := m.GetConsistentHashingLbConfig(); h != nil {
		at := s.Field("consistent_hashing_lb_config")
		hashingFields.Check(at, h)
		lb.HashHostname = h.GetUseHostnameForHashing()
		lb.BalanceFactor = h.GetHashBalanceFactor().GetValue()
		if lb.HashHostname && static {
			at.Field("use_hostname_for_hashing").Strictf(
				"Cannot use hostname for consistent hashing loadbalancing for cluster of type: 'envoy.cluster.static'")
		}
	}
}

// enumPolicy compiles lb_policy and what belongs to it. The configuration of another
// policy is without effect (Envoy).
func enumPolicy(s *extension.Scope, c *clusterv3.Cluster, lb *plan.LB) {
	field, policy := "", plan.RoundRobin
	switch c.GetLbPolicy() {
	case clusterv3.Cluster_ROUND_ROBIN:
		field = "round_robin_lb_config"
	case clusterv3.Cluster_LEAST_REQUEST:
		field, policy = "least_request_lb_config", plan.LeastRequest
	case clusterv3.Cluster_RANDOM:
		policy = plan.Random
	case clusterv3.Cluster_RING_HASH:
		field, policy = "ring_hash_lb_config", plan.RingHash
	case clusterv3.Cluster_MAGLEV:
		field, policy = "maglev_lb_config", plan.Maglev
	case clusterv3.Cluster_CLUSTER_PROVIDED:
		policy = plan.Provided // checkPolicy has said where there is none
	case clusterv3.Cluster_LOAD_BALANCING_POLICY_CONFIG:
		s.Field("lb_policy").Errorf("cluster: field load_balancing_policy need to be set")
	}
	lb.Policy = policy
	enumConfig(s, c, field, lb)
}

// enumConfig compiles the member of lb_config that is set; used is the one that the
// policy reads.
func enumConfig(s *extension.Scope, c *clusterv3.Cluster, used string, lb *plan.LB) {
	r := c.ProtoReflect()
	set := r.WhichOneof(r.Descriptor().Oneofs().ByName("lb_config"))
	if set == nil {
		return
	}
	at := s.Field(string(set.Name()))
	if string(set.Name()) != used {
		at.Warnf("not used: lb_policy is %s", c.GetLbPolicy())
	}
	switch m := c.GetLbConfig().(type) {
	case *clusterv3.Cluster_RoundRobinLbConfig_:
		roundRobinFields.Check(at, m.RoundRobinLbConfig)
		slowStart(at, m.RoundRobinLbConfig.GetSlowStartConfig(), lb)
	case *clusterv3.Cluster_LeastRequestLbConfig_:
		leastRequestFields.Check(at, m.LeastRequestLbConfig)
		leastRequest(at, m.LeastRequestLbConfig, lb)
		slowStart(at, m.LeastRequestLbConfig.GetSlowStartConfig(), lb)
	case *clusterv3.Cluster_RingHashLbConfig_:
		ringHashFields.Check(at, m.RingHashLbConfig)
		lb.Murmur = m.RingHashLbConfig.GetHashFunction() == clusterv3.Cluster_RingHashLbConfig_MURMUR_HASH_2
		ringSizes(at, m.RingHashLbConfig, lb)
	case *clusterv3.Cluster_MaglevLbConfig_:
		maglevFields.Check(at, m.MaglevLbConfig)
		maglevSize(at, m.MaglevLbConfig.GetTableSize(), lb)
	}
}

// What the older and the typed form of a policy's configuration share.
type (
	leastRequestConfig interface {
		GetChoiceCount() *wrapperspb.UInt32Value
		GetActiveRequestBias() *corev3.RuntimeDouble
	}
	ringConfig interface {
		GetMinimumRingSize() *wrapperspb.UInt64Value
		GetMaximumRingSize() *wrapperspb.UInt64Value
	}
)

const (
	defaultMinRing = 1024
	maxRing        = 8 << 20 // also the default
)

func leastRequest(s *extension.Scope, m leastRequestConfig, lb *plan.LB) {
	lb.ChoiceCount = valueOr(m.GetChoiceCount(), lb.ChoiceCount)
	b := m.GetActiveRequestBias()
	if b == nil {
		return
	}
	at := s.Field("active_request_bias")
	lb.ActiveBias, lb.BiasKey = b.GetDefaultValue(), b.GetRuntimeKey()
	if lb.ActiveBias < 0 {
		at.Field("default_value").Warnf("a bias cannot be negative; 1 is used (as by Envoy)")
		lb.ActiveBias = 1
	}
}

// slowStart compiles both forms of a slow start; m may be nil.
func slowStart[T any, M interface {
	*T
	proto.Message
	GetSlowStartWindow() *durationpb.Duration
	GetAggression() *corev3.RuntimeDouble
	GetMinWeightPercent() *typev3.Percent
}](s *extension.Scope, m M, lb *plan.LB) {
	if m == nil {
		return
	}
	at := s.Field("slow_start_config")
	if m.ProtoReflect().Descriptor() == slowStartFields.Message.ProtoReflect().Descriptor() {
		slowStartFields.Check(at, m)
	} else {
		typedSlowStartFields.Check(at, m)
	}
	out := &plan.SlowStart{Window: m.GetSlowStartWindow().AsDuration().Truncate(time.Millisecond), Aggression: 1, MinWeight: .1}
	if out.Window == 0 {
		return
	}
	if a := m.GetAggression(); a != nil {
		out.Aggression, out.AggressionKey = a.GetDefaultValue(), a.GetRuntimeKey()
		if !(out.Aggression > 0) {
			at.Field("aggression").Field("default_value").Warnf("an aggression cannot be 0 or less; 1 is used (as by Envoy)")
			out.Aggression = 1
		}
	}
	if p := m.GetMinWeightPercent(); p != nil {
		out.MinWeight = p.GetValue() / 100
	}
	lb.SlowStart = out
}

func ringSizes(s *extension.Scope, m ringConfig, lb *plan.LB) {
	if v := m.GetMinimumRingSize(); v != nil {
		lb.MinRing = v.GetValue()
	}
	if v := m.GetMaximumRingSize(); v != nil {
		lb.MaxRing = v.GetValue()
	}
	switch {
	case lb.MinRing > lb.MaxRing:
		s.Errorf("ring hash: minimum_ring_size (%d) > maximum_ring_size (%d)", lb.MinRing, lb.MaxRing)
	case lb.MinRing == 0:
		s.Field("minimum_ring_size").Errorf("no host could be found on a ring of size 0")
	}
}

func maglevSize(s *extension.Scope, size *wrapperspb.UInt64Value, lb *plan.LB) {
	if size == nil {
		return
	}
	lb.MaglevSize = size.GetValue()
	// ProbablyPrime is exact below 2^64.
	if n := new(big.Int).SetUint64(lb.MaglevSize); !n.ProbablyPrime(0) {
		s.Field("table_size").Errorf("The table size of maglev must be prime number")
	}
}
