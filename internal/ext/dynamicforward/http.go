// Package dynamicforward is the filters of dynamic forward proxies, which look up the name
// that a request or connection is for before it goes to its cluster
// (envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig and
// envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig).
package dynamicforward

import (
	"strings"

	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
	sniv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/dnscache"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/state"
)

var (
	httpFields = extension.Fields{
		Message: &httpv3.FilterConfig{},
		Obeyed:  []string{"dns_cache_config", "save_upstream_address", "allow_dynamic_host_from_filter_state"},
	}
	routeFields = extension.Fields{
		Message: &httpv3.PerRouteConfig{},
		Obeyed:  []string{"host_rewrite_literal", "host_rewrite_header"},
	}
	sniFields = extension.Fields{
		Message: &sniv3.FilterConfig{},
		Obeyed:  []string{"dns_cache_config", "port_value", "save_upstream_address"},
	}
)

// Support lists what is obeyed of each message.
func Support() []*extension.Fields { return []*extension.Fields{&httpFields, &routeFields, &sniFields} }

// Register adds the filters to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.HTTPFilter, func(s *extension.Scope, m *httpv3.FilterConfig) filter.HTTPFilterFactory {
		httpFields.Check(s, m)
		return &requests{
			plan: dnscache.Compile(s.Field("dns_cache_config"), m.GetDnsCacheConfig()),
			save: m.GetSaveUpstreamAddress(), fromState: m.GetAllowDynamicHostFromFilterState(),
		}
	})
	extension.Register(r, extension.HTTPRouteFilter, func(s *extension.Scope, m *httpv3.PerRouteConfig) any {
		routeFields.Check(s, m)
		return &rewrite{host: m.GetHostRewriteLiteral(), header: strings.ToLower(m.GetHostRewriteHeader())}
	})
	extension.Register(r, extension.NetworkFilter, compileSNI)
}

// requests is the HTTP filter, compiled; with clusters it is the running one.
type requests struct {
	plan      *plan.DNSCache
	save      bool
	fromState bool

	name     string
	clusters filter.Clusters
	cache    *dnscache.Cache // nil: the proxy has none
}

// A rewrite is what a route says: which host a request gets.
type rewrite struct {
	host   string // "": header says
	header string // lower case; "": none
}

// NewHTTPFilter implements filter.HTTPFilterFactory.
func (f *requests) NewHTTPFilter(env *filter.HTTPEnv) (filter.HTTPFilter, error) {
	running := *f
	running.name, running.clusters, running.cache = env.Name, env.Clusters, dnscache.Of(env.Clusters, f.plan)
	return &running, nil
}

// WrapHTTP implements filter.HTTPFilter.
func (f *requests) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		if port, ok := f.concern(s); ok {
			if resp, err := f.resolve(s, port); resp != nil || err != nil {
				return resp, err
			}
		}
		return next.ServeHTTP(s)
	})
}

// concern reports whether a request goes to a dynamic forward proxy, and the port it gets
// where it names none.
func (f *requests) concern(s *filter.HTTPStream) (port uint16, ok bool) {
	r := s.Route()
	if r == nil || f.cache == nil {
		return 0, false
	}
	name, ok := filter.ClusterOf(r, s.Request)
	if !ok {
		return 0, false
	}
	c, _ := f.clusters.Cluster(name)
	if x, is := c.(interface{ ForwardPort() (uint16, bool) }); is {
		return x.ForwardPort()
	}
	return 0, false
}

// resolve looks up the host that a request is for. A response is one that says it failed.
func (f *requests) resolve(s *filter.HTTPStream, port uint16) (*httpmsg.Response, error) {
	f.rewrite(s)
	name := s.Request.Authority
	if f.fromState {
		if host := state.DynamicHost(s.Info); host != "" {
			name = host
		}
		if p, ok := state.DynamicPort(s.Info); ok {
			port = p
		}
	}
	w := &waiting{stream: s}
	h, err := f.cache.Resolve(dnscache.Name(name, port), dnscache.Wait{Begins: w.begins, Ends: w.ends})
	switch e := err.(type) {
	case nil:
		if f.save {
			save(s.Info, h)
		}
		return nil, nil
	case *dnscache.FailedError:
		return s.Reply(filter.LocalReply{
			Status: 503, Body: "DNS resolution failure", Flags: filter.DNSResolutionFailed,
			Details: "dns_resolution_failure{" + strings.ReplaceAll(e.Details, " ", "_") + "}",
		}), nil
	}
	switch err {
	case dnscache.ErrPending:
		return overloaded(s, "Dynamic forward proxy pending request overflow", "dynamic_forward_proxy_pending_request_overflow"), nil
	case dnscache.ErrFull:
		return overloaded(s, "DNS cache overflow", "dns_cache_overflow"), nil
	}
	return nil, w.gone()
}

func overloaded(s *filter.HTTPStream, body, details string) *httpmsg.Response {
	return s.Reply(filter.LocalReply{Status: 503, Body: body, Details: details})
}

// rewrite gives the request the host that its route says.
func (f *requests) rewrite(s *filter.HTTPStream) {
	all := s.Route().FilterConfigs(f.name)
	if len(all) == 0 {
		return
	}
	r, ok := all[len(all)-1].(*rewrite)
	switch {
	case !ok:
	case r.host != "":
		s.Request.Authority = r.host
	case r.header != "":
		if host, ok := s.Request.Header.Lookup(r.header); ok {
			s.Request.Authority = host
		}
	}
}

// save keeps where the name was found.
func save(i *filter.Info, h *dnscache.Host) {
	if a, ok := h.Addr().(filter.IPAddr); ok {
		i.State.Set(filter.Entry{Name: state.UpstreamAddressKey, Object: state.UpstreamAddress{Addr: a}})
	}
}

// waiting is a request that waits for a lookup.
type waiting struct {
	stream *filter.HTTPStream
	cancel chan struct{}
	reset  chan *httpmsg.ResetError
}

func (w *waiting) begins() <-chan struct{} {
	w.cancel, w.reset = make(chan struct{}), make(chan *httpmsg.ResetError, 1)
	w.stream.OnReset(func(why *httpmsg.ResetError) {
		select {
		case w.reset <- why:
			close(w.cancel)
		default:
		}
	})
	w.stream.Wait()
	return w.cancel
}

func (w *waiting) ends() {
	w.stream.Resume()
	w.stream.OnReset(nil)
}

// gone is why nobody waits any more.
func (w *waiting) gone() error {
	select {
	case why := <-w.reset:
		return why
	default:
		return &httpmsg.ResetError{Reason: httpmsg.LocalReset} // the proxy ends
	}
}
