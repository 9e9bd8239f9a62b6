package route

import (
	"math"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// An Action forwards requests to a cluster.
type Action struct {
	// Cluster is the cluster; "": ClusterHeader names it. See Action.ClusterOf.
	Cluster       string
	ClusterHeader string // lower case
	// NotFoundStatus answers where the cluster is not there, or not named.
	NotFoundStatus int
	// Subset are the criteria (envoy.lb) that hosts must meet; nil: none.
	Subset *structpb.Struct
	High   bool // routing priority

	Timeout   time.Duration // from the end of the request to that of the response; 0: none
	Idle      Limit         // of a stream
	Flush     Limit         // of what waits to be sent to the client
	MaxStream Limit         // of a stream's whole life
	// GRPCMax set lets grpc-timeout bound a stream's whole life; 0: as it is.
	GRPCMax Limit
	// GRPCOffset is taken from a grpc-timeout.
	GRPCOffset time.Duration
	// OldGRPCMax set puts grpc-timeout of gRPC requests in place of Timeout; 0: as it is.
	OldGRPCMax    Limit
	OldGRPCOffset time.Duration

	Policies
	Hedge    HedgePolicy
	Redirect *InternalRedirect // nil: redirects go to the client
	// Upgrades tells what is done with upgrades, by their names in lower case, over
	// what the connection manager says. CONNECT is "connect".
	Upgrades map[string]Upgrade

	// AutoHost makes the chosen host's name that of the request.
	AutoHost bool
	// AppendForwardedHost keeps the host that a rewrite replaces in x-forwarded-host.
	AppendForwardedHost bool

	entryHost string // of the weighted cluster; "": none. The route's rewrites come after it
	host      hostRewrite
	path      pathRewrite
}

// A Limit is a duration that may be given. The zero value is not.
type Limit struct {
	time.Duration // 0: without limit
	Set           bool
}

func limit(d *durationpb.Duration) Limit {
	if d == nil {
		return Limit{}
	}
	return Limit{d.AsDuration(), true}
}

// An Upgrade tells how a kind of upgrade is treated.
type Upgrade struct {
	Enabled bool
	Connect *ConnectConfig // nil: the request is passed on
}

// A ConnectConfig ends a CONNECT here: its bytes are sent on by themselves.
type ConnectConfig struct {
	AllowPost bool // the same for POST
	// ProxyProtocol is the version, 1 or 2, of the PROXY header that goes before the
	// bytes; 0: none does.
	ProxyProtocol int
}

// ClusterOf returns the name of the cluster of a request; "" if it names none.
func (a *Action) ClusterOf(r *httpmsg.Request) string {
	if a.ClusterHeader == "" {
		return a.Cluster
	}
	return r.Get(a.ClusterHeader)
}

func (c *compiler) action(s *extension.Scope, r *Route, m *routev3.RouteAction, own, host *level) {
	actionFields.Check(s, m)
	a := &Action{
		NotFoundStatus: notFoundStatus(m.GetClusterNotFoundResponseCode()),
		Subset:         subset(nil, m.GetMetadataMatch()),
		High:           m.GetPriority() == corev3.RoutingPriority_HIGH,
		Policies: Policies{
			Retry:   c.retryPolicy(s, m.GetRetryPolicy(), m.GetRetryPolicyTypedConfig()),
			Mirrors: c.mirrors(s.Field("request_mirror_policies"), m.GetRequestMirrorPolicies()),
			hashes:  hashPolicies(s.Field("hash_policy"), m.GetHashPolicy()),
		},
		Redirect:            internalRedirect(s, m),
		Upgrades:            upgrades(s.Field("upgrade_configs"), m.GetUpgradeConfigs()),
		AppendForwardedHost: m.GetAppendXForwardedHost(),
	}
	r.Action = a
	a.limits(m)
	if a.Retry == nil {
		a.Retry = host.retry
	}
	if a.Mirrors == nil {
		a.Mirrors = host.mirrors
	}
	if h := hedgePolicy(s.Field("hedge_policy"), m.GetHedgePolicy()); h != nil {
		a.Hedge = *h
	} else if host.hedge != nil {
		a.Hedge = *host.hedge
	}
	a.compileHost(s, m)
	a.compilePath(s, m, &r.match)
	switch x := m.GetClusterSpecifier().(type) {
	case *routev3.RouteAction_Cluster:
		a.Cluster = x.Cluster
		c.cluster(s.Field("cluster"), x.Cluster)
	case *routev3.RouteAction_ClusterHeader:
		a.ClusterHeader = lowerCase(x.ClusterHeader)
	case *routev3.RouteAction_WeightedClusters:
		c.weighted(s.Field("weighted_clusters"), r, x.WeightedClusters, own, host)
	case nil:
		s.Errorf("one of cluster, cluster_header and weighted_clusters is required")
	}
}

func notFoundStatus(c routev3.RouteAction_ClusterNotFoundResponseCode) int {
	switch c {
	case routev3.RouteAction_NOT_FOUND:
		return 404
	case routev3.RouteAction_INTERNAL_SERVER_ERROR:
		return 500
	}
	return 503
}

func (a *Action) limits(m *routev3.RouteAction) {
	a.Timeout = 15 * time.Second
	if m.GetTimeout() != nil {
		a.Timeout = m.GetTimeout().AsDuration()
	}
	a.Idle, a.Flush = limit(m.GetIdleTimeout()), limit(m.GetFlushTimeout())
	d := m.GetMaxStreamDuration()
	a.MaxStream, a.GRPCMax = limit(d.GetMaxStreamDuration()), limit(d.GetGrpcTimeoutHeaderMax())
	a.GRPCOffset = d.GetGrpcTimeoutHeaderOffset().AsDuration()
	a.OldGRPCMax = limit(m.GetMaxGrpcTimeout())             //nolint:staticcheck // deprecated, and in use
	a.OldGRPCOffset = m.GetGrpcTimeoutOffset().AsDuration() //nolint:staticcheck // deprecated, and in use
}

func upgrades(s *extension.Scope, list []*routev3.RouteAction_UpgradeConfig) map[string]Upgrade {
	if len(list) == 0 {
		return nil
	}
	out := make(map[string]Upgrade, len(list))
	for i, m := range list {
		s, name := s.Index(i), lowerCase(m.GetUpgradeType())
		upgradeFields.Check(s, m)
		if _, twice := out[name]; twice {
			s.Errorf("Duplicate upgrade %s", m.GetUpgradeType())
		}
		u := Upgrade{Enabled: m.GetEnabled() == nil || m.GetEnabled().Value}
		if c := m.GetConnectConfig(); c != nil {
			connectFields.Check(s.Field("connect_config"), c)
			if name != "connect" {
				s.Errorf("Non-CONNECT upgrade type %s has ConnectConfig", m.GetUpgradeType())
			}
			u.Connect = &ConnectConfig{AllowPost: c.GetAllowPost()}
			if p := c.GetProxyProtocolConfig(); p != nil {
				proxyFields.Check(s.Field("connect_config.proxy_protocol_config"), p)
				u.Connect.ProxyProtocol = int(p.GetVersion()) + 1
			}
		}
		out[name] = u
	}
	return out
}

// subset returns the criteria of base with those of over above them; nil for none.
func subset(base *structpb.Struct, over *corev3.Metadata) *structpb.Struct {
	m := over.GetFilterMetadata()["envoy.lb"]
	if m == nil || base == nil {
		if m == nil {
			return base
		}
		return m
	}
	out := &structpb.Struct{Fields: make(map[string]*structpb.Value)}
	for _, layer := range []*structpb.Struct{base, m} {
		for k, v := range layer.Fields {
			out.Fields[k] = v
		}
	}
	return out
}

// Limit returns the time limit of a request, from its end to that of the response; 0:
// none. What x-envoy headers ask for is not looked at.
func (a *Action) Limit(r *httpmsg.Request) time.Duration {
	if !a.OldGRPCMax.Set || !grpc(r) {
		return a.Timeout
	}
	d, _ := GRPCTimeout(r)
	if a.OldGRPCOffset < d {
		d -= a.OldGRPCOffset
	}
	if most := a.OldGRPCMax.Duration; most > 0 && (d == 0 || d > most) {
		return most
	}
	return d
}

// StreamTimeout returns how long the stream of a request may last, 0 being for ever;
// false: what the connection manager says holds.
func (a *Action) StreamTimeout(r *httpmsg.Request) (time.Duration, bool) {
	d, ok := GRPCTimeout(r)
	if !a.GRPCMax.Set || !ok {
		return a.MaxStream.Duration, a.MaxStream.Set
	}
	if most := a.GRPCMax.Duration; most > 0 {
		d = min(d, most)
	}
	return max(d-a.GRPCOffset, time.Nanosecond), true // used up: it ends at once
}

// IdleTimeout returns how long a stream may be idle, 0 being for ever; false: what the
// connection manager says holds.
func (a *Action) IdleTimeout() (time.Duration, bool) { return a.Idle.Duration, a.Idle.Set }

// Upgrade reports whether a kind of upgrade ("websocket", "CONNECT", in any case) is
// allowed; said is false where the route leaves that to the connection manager.
func (a *Action) Upgrade(kind string) (allowed, said bool) {
	u, said := a.Upgrades[lowerCase(kind)]
	return u.Enabled, said
}

// GRPCTimeout returns the grpc-timeout of a request; false if it has none that can be
// read.
func GRPCTimeout(r *httpmsg.Request) (time.Duration, bool) {
	v := r.Header.Get("grpc-timeout")
	if len(v) < 2 || len(v) > 9 {
		return 0, false
	}
	var n time.Duration
	for _, c := range []byte(v[:len(v)-1]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + time.Duration(c-'0')
	}
	unit, ok := grpcUnit(v[len(v)-1])
	if ok && n > math.MaxInt64/unit {
		return math.MaxInt64, true
	}
	return n * unit, ok
}

func grpcUnit(c byte) (time.Duration, bool) {
	switch c {
	case 'H':
		return time.Hour, true
	case 'M':
		return time.Minute, true
	case 'S':
		return time.Second, true
	case 'm':
		return time.Millisecond, true
	case 'u':
		return time.Microsecond, true
	case 'n':
		return time.Nanosecond, true
	}
	return 0, false
}

var _ filter.HTTPRoute = (*Route)(nil)
