// Package grpcstats is an HTTP filter that counts gRPC calls and their messages
// (envoy.extensions.filters.http.grpc_stats.v3.FilterConfig).
package grpcstats

import (
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	grpcstatsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_stats/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
	"github.com/ginnel/ginnel/internal/nameset"
)

var (
	fields = extension.Fields{
		Message: &grpcstatsv3.FilterConfig{},
		Obeyed: []string{"emit_filter_state", "individual_method_stats_allowlist", "stats_for_all_methods",
			"enable_upstream_stats", "replace_dots_in_grpc_service_name"},
	}
	listFields    = extension.Fields{Message: &corev3.GrpcMethodList{}, Obeyed: []string{"services"}}
	serviceFields = extension.Fields{Message: &corev3.GrpcMethodList_Service{}, Obeyed: []string{"name", "method_names"}}
)

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&fields, &listFields, &serviceFields} }

// Register adds the filter to a registry.
func Register(r *extension.Registry) { extension.Register(r, extension.HTTPFilter, compile) }

// config is the compiled filter.
type config struct {
	emit, times, dots bool
	all               bool
	listed            map[call]bool // nil: none
}

// A call names a method; the zero value is any.
type call struct{ service, method string }

func compile(s *extension.Scope, m *grpcstatsv3.FilterConfig) filter.HTTPFilterFactory {
	fields.Check(s, m)
	c := &config{
		emit: m.GetEmitFilterState(), times: m.GetEnableUpstreamStats(), dots: m.GetReplaceDotsInGrpcServiceName(),
		all: m.GetStatsForAllMethods().GetValue(),
	}
	list := m.GetIndividualMethodStatsAllowlist()
	if list == nil {
		return c
	}
	s = s.Field("individual_method_stats_allowlist")
	listFields.Check(s, list)
	c.listed = make(map[call]bool)
	for i, v := range list.GetServices() {
		s := s.Field("services").Index(i)
		serviceFields.Check(s, v)
		if v.GetName() == "" {
			s.Field("name").Errorf("is required")
		}
		if len(v.GetMethodNames()) == 0 {
			s.Field("method_names").Errorf("value must contain at least 1 item(s)")
		}
		for _, name := range v.GetMethodNames() {
			c.listed[call{v.GetName(), name}] = true
		}
	}
	return c
}

// NewHTTPFilter implements filter.HTTPFilterFactory.
func (c *config) NewHTTPFilter(env *filter.HTTPEnv) (filter.HTTPFilter, error) {
	return &grpcStats{config: c, clusters: env.Clusters, names: nameset.Set{Most: mostNames}}, nil
}

// mostNames is how many methods have statistics of their own where all have: clients name
// them. The others count like methods that have none.
const mostNames = 10_000

// grpcStats is the running filter.
type grpcStats struct {
	*config
	clusters filter.Clusters
	names    nameset.Set // of methods, and of odd outcomes
}

// WrapHTTP implements filter.HTTPFilter.
func (f *grpcStats) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		if s.Request.Path == "" || !isGRPC(s.Request.Header) {
			return next.ServeHTTP(s)
		}
		w := f.watch(s)
		if s.Request.Body != nil {
			s.Request.Body = &counted{Body: s.Request.Body, to: &w.requests}
		}
		resp, err := next.ServeHTTP(s)
		if err == nil {
			w.respond(resp)
		}
		return resp, err
	})
}

func isGRPC(h httpmsg.Header) bool {
	return httptext.GRPC(h.Get("content-type"))
}

// called returns the method that a path calls, as far as it has statistics of its own;
// false: the call is not counted.
func (f *grpcStats) called(path string) (call, bool) {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	named := len(parts) == 2
	switch {
	case f.listed != nil:
		if named && f.listed[call{parts[0], parts[1]}] {
			return call{parts[0], parts[1]}, true
		}
		return call{}, true
	case !f.all:
		return call{}, true
	case !named:
		return call{}, false
	case f.dots:
		parts[0] = strings.ReplaceAll(parts[0], ".", "_")
	}
	return call{parts[0], parts[1]}, true
}

// stats returns where a call is counted: below the cluster that its route leads to, under
// a prefix. nil: nowhere.
func (f *grpcStats) stats(s *filter.HTTPStream) (in filter.Scope, prefix string) {
	name, ok := filter.ClusterOf(s.Route(), s.Request)
	if !ok || f.clusters == nil {
		return nil, ""
	}
	cluster, ok := f.clusters.Cluster(name)
	if !ok {
		return nil, ""
	}
	c, ok := cluster.(filter.HTTPCluster)
	if !ok {
		return nil, ""
	}
	m, ok := f.called(s.Request.Path)
	switch {
	case !ok:
		return nil, ""
	case m == call{}:
		return c.Stats(), "grpc."
	}
	prefix = "grpc." + m.service + "." + m.method + "."
	if f.listed == nil && !f.names.Admit(prefix) {
		prefix = "grpc."
	}
	return c.Stats(), prefix
}

// A watch counts one call.
type watch struct {
	filter              *grpcStats
	stream              *filter.HTTPStream
	stats               filter.Scope // of the cluster; nil: only the messages are counted
	prefix              string       // of this call's statistics
	requests, responses messages
}

func (f *grpcStats) watch(s *filter.HTTPStream) *watch {
	w := &watch{filter: f, stream: s}
	w.stats, w.prefix = f.stats(s)
	s.OnEnd(w.end)
	return w
}

// respond counts a response, which may end with its head.
func (w *watch) respond(resp *httpmsg.Response) {
	w.outcome(resp.Header)
	if resp.Body == nil {
		w.took()
		return
	}
	body := &counted{Body: resp.Body, ended: func(trailer httpmsg.Header) {
		w.outcome(trailer)
		w.took()
	}}
	if isGRPC(resp.Header) {
		body.to = &w.responses
	}
	resp.Body = body
}

const mostStatus = 16 // of those that gRPC has

// outcome counts the status of the call, if it is here.
func (w *watch) outcome(h httpmsg.Header) {
	status, ok := h.Lookup("grpc-status")
	if !ok || w.stats == nil {
		return
	}
	n, err := strconv.Atoi(status)
	if known := err == nil && n >= 0 && n <= mostStatus && strconv.Itoa(n) == status; known || w.filter.names.Admit(w.prefix+status) {
		w.count(status, 1)
	}
	if status == "0" {
		w.count("success", 1)
	} else {
		w.count("failure", 1)
	}
	w.count("total", 1)
}

func (w *watch) count(name string, n uint64) { w.stats.Counter(w.prefix + name).Add(n) }

// took records how long the host took.
func (w *watch) took() {
	h := w.stream.Info.HTTP()
	if w.stats == nil || !w.filter.times || h.UpstreamLastSent == 0 || h.UpstreamFirstByte == 0 {
		return
	}
	last := max(h.UpstreamLastByte, h.UpstreamFirstByte)
	ms := max(last-h.UpstreamLastSent, 0) / time.Millisecond
	w.stats.Histogram(w.prefix + "upstream_rq_time").Record(uint64(ms))
}

// end settles the messages: by now nobody uses the bodies any more.
func (w *watch) end() {
	requests, responses := w.requests.count, w.responses.count
	if w.stats != nil {
		if requests > 0 {
			w.count("request_message_count", requests)
		}
		if responses > 0 {
			w.count("response_message_count", responses)
		}
	}
	if w.filter.emit && requests+responses > 0 {
		w.stream.Info.State.Set(filter.Entry{Name: stateKey, Object: counts{requests, responses}})
	}
}
