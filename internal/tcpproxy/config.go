package tcpproxy

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/accesslog"
	"github.com/ginnel/ginnel/internal/proxyproto"
)

// Config is a compiled TcpProxy message.
type Config struct {
	StatPrefix string
	Cluster    string // "": Weighted
	Weighted   []Weighted
	total      uint64 // sum of the weights
	Metadata   *corev3.Metadata

	IdleTimeout       time.Duration // 0: none
	MaxDuration       time.Duration // 0: none
	MaxDurationJitter float64       // share of MaxDuration
	MaxAttempts       uint32
	BackoffBase       time.Duration // 0: the next attempt follows at once
	BackoffMax        time.Duration
	Hash              func(*filter.Info) (uint64, bool) // nil: none
	Mode              Mode
	Tunnel            *Tunnel          // nil: connections go to the hosts as they are
	TLVs              proxyproto.Added // for hosts that want a PROXY protocol header
	Merge             Merge            // of TLVs and those of the client's own header

	AccessLogs     []filter.AccessLogFactory
	LogEvery       time.Duration // 0: no periodic entries
	LogOnStart     bool
	LogOnConnected bool

	DrainClose bool // connections of what drains end when bytes pass
}

// A Weighted cluster takes its share of connections.
type Weighted struct {
	Name     string
	Weight   uint32
	Metadata *corev3.Metadata // the proxy's, with the entry's own over it
}

// Mode is when the upstream is connected.
type Mode uint8

// The modes.
const (
	Immediate Mode = iota
	OnData
)

// pick returns the weighted cluster at n of the sum of weights.
func (c *Config) pick(n uint64) *Weighted {
	for i := range c.Weighted {
		if w := uint64(c.Weighted[i].Weight); n >= w {
			n -= w
			continue
		}
		return &c.Weighted[i]
	}
	return &c.Weighted[len(c.Weighted)-1]
}

var fields = extension.Fields{
	Message: &tcpproxyv3.TcpProxy{},
	Obeyed: []string{"stat_prefix", "cluster", "weighted_clusters", "metadata_match", "idle_timeout",
		"access_log", "access_log_options", "access_log_flush_interval", "flush_access_log_on_connected",
		"max_connect_attempts", "backoff_options", "hash_policy", "max_downstream_connection_duration",
		"max_downstream_connection_duration_jitter_percentage", "upstream_connect_mode", "max_early_data_bytes",
		"tunneling_config", "check_drain_close", "proxy_protocol_tlvs", "proxy_protocol_tlv_merge_policy"},
	Ignored: map[string]string{
		"downstream_idle_timeout": "Envoy 1.40 accepts it without effect",
		"upstream_idle_timeout":   "Envoy 1.40 accepts it without effect",
	},
}

var weightedFields = extension.Fields{
	Message: &tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight{},
	Obeyed:  []string{"name", "weight", "metadata_match"},
}

var logFields = extension.Fields{
	Message: &tcpproxyv3.TcpProxy_TcpAccessLogOptions{},
	Obeyed:  []string{"access_log_flush_interval", "flush_access_log_on_connected", "flush_access_log_on_start"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return []*extension.Fields{&fields, &weightedFields, &logFields, &tunnelFields}
}

// Register adds the filter to a registry.
func Register(r *extension.Registry) { extension.Register(r, extension.TerminalFilter, compile) }

func compile(s *extension.Scope, m *tcpproxyv3.TcpProxy) filter.TerminalFactory {
	fields.Check(s, m)
	c := &Config{
		StatPrefix:     m.StatPrefix,
		Metadata:       m.MetadataMatch,
		IdleTimeout:    time.Hour,
		MaxDuration:    m.MaxDownstreamConnectionDuration.AsDuration(),
		MaxAttempts:    1,
		AccessLogs:     accesslog.Compile(s.Field("access_log"), m.AccessLog),
		LogEvery:       m.AccessLogFlushInterval.AsDuration(),
		LogOnConnected: m.FlushAccessLogOnConnected,
		DrainClose:     m.CheckDrainClose.GetValue(),
	}
	if m.IdleTimeout != nil {
		c.IdleTimeout = m.IdleTimeout.AsDuration()
	}
	if n := m.MaxConnectAttempts; n != nil {
		c.MaxAttempts = max(n.Value, 1)
	}
	if p := m.MaxDownstreamConnectionDurationJitterPercentage; p != nil {
		c.MaxDurationJitter = p.Value / 100
	}
	c.route(s, m)
	c.backOff(s.Field("backoff_options"), m.BackoffOptions)
	c.hash(s.Field("hash_policy"), m.HashPolicy)
	c.mode(s, m)
	c.logs(s, m)
	c.TLVs = proxyproto.CompileAdded(s.Field("proxy_protocol_tlvs"), m.ProxyProtocolTlvs)
	c.Merge = m.ProxyProtocolTlvMergePolicy
	c.Tunnel = compileTunnel(s.Field("tunneling_config"), m.TunnelingConfig)
	return c
}

func (c *Config) route(s *extension.Scope, m *tcpproxyv3.TcpProxy) {
	switch r := m.ClusterSpecifier.(type) {
	case *tcpproxyv3.TcpProxy_Cluster:
		c.Cluster = r.Cluster
		s.Field("cluster").Cluster(r.Cluster)
	case *tcpproxyv3.TcpProxy_WeightedClusters:
		s := s.Field("weighted_clusters.clusters")
		for i, w := range r.WeightedClusters.GetClusters() {
			weightedFields.Check(s.Index(i), w)
			s.Index(i).Field("name").Cluster(w.Name)
			c.total += uint64(w.Weight)
			c.Weighted = append(c.Weighted, Weighted{w.Name, w.Weight, merge(m.MetadataMatch, w.MetadataMatch)})
		}
	default:
		s.Errorf("one of cluster and weighted_clusters is required")
	}
}

// merge puts the namespaces of over above those of base.
func merge(base, over *corev3.Metadata) *corev3.Metadata {
	if base == nil || over == nil {
		if over != nil {
			return over
		}
		return base
	}
	out := &corev3.Metadata{FilterMetadata: make(filter.Metadata)}
	for ns, s := range base.FilterMetadata {
		out.FilterMetadata[ns] = s
	}
	for ns, s := range over.FilterMetadata {
		out.FilterMetadata[ns] = s
		if ns == subsetKey {
			out.FilterMetadata[ns] = criteria(base, over.FilterMetadata)
		}
	}
	return out
}

func (c *Config) backOff(s *extension.Scope, b *corev3.BackoffStrategy) {
	if b == nil {
		return
	}
	c.BackoffBase = b.BaseInterval.AsDuration()
	c.BackoffMax = 10 * c.BackoffBase
	if b.MaxInterval != nil {
		c.BackoffMax = b.MaxInterval.AsDuration()
	}
	if c.BackoffMax < c.BackoffBase {
		s.Errorf("max_backoff_interval must be greater or equal to base_backoff_interval: max_interval %v is below base_interval %v", c.BackoffMax, c.BackoffBase)
	}
}

func (c *Config) hash(s *extension.Scope, policies []*typev3.HashPolicy) {
	for i, p := range policies {
		switch p := p.PolicySpecifier.(type) {
		case *typev3.HashPolicy_SourceIp_:
			c.Hash = sourceHash
		case *typev3.HashPolicy_FilterState_:
			key := p.FilterState.GetKey()
			c.Hash = func(i *filter.Info) (uint64, bool) { return stateHash(i, key) }
		default:
			s.Index(i).Errorf("one of source_ip and filter_state is required")
		}
	}
}

func (c *Config) mode(s *extension.Scope, m *tcpproxyv3.TcpProxy) {
	switch m.UpstreamConnectMode {
	case tcpproxyv3.UpstreamConnectMode_IMMEDIATE:
		return
	case tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_DATA:
		c.Mode = OnData
	case tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_TLS_HANDSHAKE:
		// The same as IMMEDIATE: a handshake is over before filters see the connection.
	default:
		s.Field("upstream_connect_mode").Errorf("unknown mode %v", m.UpstreamConnectMode)
	}
	if m.MaxEarlyDataBytes == nil {
		s.Errorf("max_early_data_bytes must be set when upstream_connect_mode is not IMMEDIATE")
	}
}

func (c *Config) logs(s *extension.Scope, m *tcpproxyv3.TcpProxy) {
	o := m.AccessLogOptions
	if o == nil {
		return
	}
	if m.AccessLogFlushInterval != nil {
		s.Field("access_log_flush_interval").Errorf("Only one of access_log_flush_interval or access_log_options can be specified")
	}
	if m.FlushAccessLogOnConnected {
		s.Field("flush_access_log_on_connected").Errorf("Only one of flush_access_log_on_connected or access_log_options can be specified")
	}
	logFields.Check(s.Field("access_log_options"), o)
	c.LogEvery = o.AccessLogFlushInterval.AsDuration()
	c.LogOnConnected = o.FlushAccessLogOnConnected
	c.LogOnStart = o.FlushAccessLogOnStart
}
