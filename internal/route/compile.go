package route

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/extension"
)

// Options are how a table is compiled.
type Options struct {
	// Dynamic tables come from a management server, apart from the clusters they name:
	// unless validate_clusters says otherwise, those need not be there.
	Dynamic bool
}

// Compile compiles a route configuration. It reports what is wrong to the scope, and then
// returns false.
func Compile(s *extension.Scope, m *routev3.RouteConfiguration, o Options) (*Table, bool) {
	tableFields.Check(s, m)
	c := &compiler{
		table: &Table{
			Name:         m.GetName(),
			Metadata:     m.GetMetadata(),
			InternalOnly: lowerAll(m.GetInternalOnlyHeaders()),
			hostHeader:   lowerCase(m.GetVhostHeader()),
			ignorePort:   m.GetIgnorePortInHostMatching(),
			ignoreParams: m.GetIgnorePathParametersInPathMatching(),
		},
		bodyLimit:    4096,
		mostSpecific: m.GetMostSpecificHeaderMutationsWins(),
		refer:        !o.Dynamic,
	}
	if v := m.GetValidateClusters(); v != nil {
		c.refer = v.Value
	}
	if v := m.GetMaxDirectResponseBodySizeBytes(); v != nil {
		c.bodyLimit = v.Value
	}
	c.root = level{
		request:  compileHeaders(s, "request_headers", m.GetRequestHeadersToAdd(), m.GetRequestHeadersToRemove()),
		response: compileHeaders(s, "response_headers", m.GetResponseHeadersToAdd(), m.GetResponseHeadersToRemove()),
		filters:  compileFilters(s.Field("typed_per_filter_config"), m.GetTypedPerFilterConfig(), nil),
		mirrors:  c.mirrors(s.Field("request_mirror_policies"), m.GetRequestMirrorPolicies()),
	}
	for i, h := range m.GetVirtualHosts() {
		c.virtualHost(s.Field("virtual_hosts").Index(i), h)
	}
	c.table.hosts.done()
	return c.table, !s.Failed()
}

// A compiler holds what the parts of a table need of the whole.
type compiler struct {
	table        *Table
	bodyLimit    uint32 // bytes of a direct response
	mostSpecific bool   // header mutations of routes come last
	refer        bool   // clusters must exist
	root         level
}

// A level is what one level of the configuration says beside where requests go.
type level struct {
	request, response *mutation
	filters           *perFilter
	mirrors           []MirrorPolicy
	retry             *RetryPolicy
	hedge             *HedgePolicy
	host              *VirtualHost
	buffer            buffer
}

type buffer struct {
	bytes       uint64
	set, capped bool
}

func (c *compiler) virtualHost(s *extension.Scope, m *routev3.VirtualHost) {
	hostFields.Check(s, m)
	h := &VirtualHost{
		Name:                   m.GetName(),
		Metadata:               m.GetMetadata(),
		AttemptCount:           m.GetIncludeRequestAttemptCount(),
		AttemptCountInResponse: m.GetIncludeAttemptCountInResponse(),
		TimeoutRetryHeader:     m.GetIncludeIsTimeoutRetryHeader(),
		ignoreParams:           c.table.ignoreParams,
	}
	for i, d := range m.GetDomains() {
		c.table.hosts.add(s.Field("domains").Index(i), d, c.table.Name, h)
	}
	l := level{
		request:  compileHeaders(s, "request_headers", m.GetRequestHeadersToAdd(), m.GetRequestHeadersToRemove()),
		response: compileHeaders(s, "response_headers", m.GetResponseHeadersToAdd(), m.GetResponseHeadersToRemove()),
		filters:  compileFilters(s.Field("typed_per_filter_config"), m.GetTypedPerFilterConfig(), c.root.filters),
		mirrors:  c.mirrors(s.Field("request_mirror_policies"), m.GetRequestMirrorPolicies()),
		retry:    c.retryPolicy(s, m.GetRetryPolicy(), m.GetRetryPolicyTypedConfig()),
		hedge:    hedgePolicy(s.Field("hedge_policy"), m.GetHedgePolicy()),
		host:     h,
		buffer:   bufferLimit(m),
	}
	if l.mirrors == nil {
		l.mirrors = c.root.mirrors
	}
	switch m.GetRequireTls() {
	case routev3.VirtualHost_EXTERNAL_ONLY:
		h.tls = tlsExternal
	case routev3.VirtualHost_ALL:
		h.tls = tlsAll
	}
	h.redirect = &Route{Host: h, Redirect: &Redirect{Status: 301, scheme: "https", sameHost: true}}
	for i, v := range m.GetVirtualClusters() {
		h.clusters = append(h.clusters, compileVirtualCluster(s.Field("virtual_clusters").Index(i), v))
	}
	if m.GetMatcher() != nil {
		if len(m.GetRoutes()) > 0 {
			s.Errorf("cannot set both matcher and routes on virtual host")
		}
		h.tree = c.tree(s.Field("matcher"), m.GetMatcher(), &l)
	}
	h.routes = c.routes(s.Field("routes"), m.GetRoutes(), &l)
}

// routes compiles a list of routes, which stay where they are.
func (c *compiler) routes(s *extension.Scope, list []*routev3.Route, host *level) []Route {
	out := make([]Route, len(list))
	for i, r := range list {
		c.route(s.Index(i), &out[i], r, host)
	}
	return out
}

// route compiles one route into r, which stays where it is.
func (c *compiler) route(s *extension.Scope, r *Route, m *routev3.Route, host *level) {
	routeFields.Check(s, m)
	l := level{
		request:  compileHeaders(s, "request_headers", m.GetRequestHeadersToAdd(), m.GetRequestHeadersToRemove()),
		response: compileHeaders(s, "response_headers", m.GetResponseHeadersToAdd(), m.GetResponseHeadersToRemove()),
		filters:  compileFilters(s.Field("typed_per_filter_config"), m.GetTypedPerFilterConfig(), host.filters),
		buffer:   bufferLimit(m),
	}
	if !l.buffer.set {
		l.buffer = host.buffer
	}
	*r = Route{
		Host:            host.host,
		RequestHeaders:  c.order(nil, l.request, host.request, c.root.request),
		ResponseHeaders: c.order(nil, l.response, host.response, c.root.response),
		BufferBytes:     l.buffer.bytes,
		HasBuffer:       l.buffer.set,
		Capped:          l.buffer.capped,
		StatPrefix:      m.GetStatPrefix(),
		name:            m.GetName(),
		metadata:        m.GetMetadata(),
		match:           compileMatch(s.Field("match"), m.GetMatch()),
		filters:         l.filters,
	}
	switch a := m.GetAction().(type) {
	case *routev3.Route_Route:
		c.action(s.Field("route"), r, a.Route, &l, host)
	case *routev3.Route_Redirect:
		r.Redirect = compileRedirect(s.Field("redirect"), a.Redirect, &r.match)
	case *routev3.Route_DirectResponse:
		r.Direct = c.directResponse(s.Field("direct_response"), a.DirectResponse)
	case nil:
		s.Errorf("an action is required")
	}
}

// order puts the mutations of the levels into the order of their work: the later one
// wins. A weighted cluster's are first either way (Envoy).
func (c *compiler) order(cluster, route, host, root *mutation) Mutations {
	levels := []*mutation{cluster, route, host, root}
	if c.mostSpecific {
		levels = []*mutation{cluster, root, host, route}
	}
	var out Mutations
	for _, m := range levels {
		if m != nil {
			out = append(out, m)
		}
	}
	return out
}

// limited are the messages that limit buffers.
type limited interface {
	GetPerRequestBufferLimitBytes() *wrapperspb.UInt32Value
	GetRequestBodyBufferLimit() *wrapperspb.UInt64Value
}

// bufferLimit: of both limits the newer one holds (Envoy, in spite of its words).
func bufferLimit(m limited) buffer {
	if limit := m.GetRequestBodyBufferLimit(); limit != nil {
		return buffer{bytes: limit.Value, set: true}
	}
	if limit := m.GetPerRequestBufferLimitBytes(); limit != nil {
		return buffer{bytes: uint64(limit.Value), set: true, capped: true}
	}
	return buffer{}
}

// cluster records that the place uses a cluster, which must exist.
func (c *compiler) cluster(s *extension.Scope, name string) {
	if c.refer && name != "" {
		s.RequireCluster(name)
	}
}

type typedConfig interface {
	GetName() string
	GetTypedConfig() *anypb.Any
}

// unpack returns the message of an extension that can only be an M here.
func unpack[M proto.Message](s *extension.Scope, x typedConfig) (M, bool) {
	var none M
	s = s.Field("typed_config")
	if x.GetTypedConfig() == nil {
		s.Errorf("is required")
		return none, false
	}
	m, ok := s.Unpack(x.GetTypedConfig())
	if !ok {
		return none, false
	}
	out, ok := m.(M)
	if !ok {
		s.Errorf("%s is a known type, but ginnel does not implement it here (implemented: %s)",
			m.ProtoReflect().Descriptor().FullName(), none.ProtoReflect().Descriptor().FullName())
	}
	return out, ok
}

func lowerAll(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, lowerCase(n))
	}
	return out
}

func flag(b *wrapperspb.BoolValue) *bool {
	if b == nil {
		return nil
	}
	return &b.Value
}
