package setfilterstate

import (
	"log/slog"

	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

var httpFields = extension.Fields{
	Message: &httpv3.Config{},
	Obeyed:  []string{"on_request_headers", "clear_route_cache"},
}

// requests is the compiled HTTP filter; with a log it is the running one. It is what
// routes say of it, too.
type requests struct {
	values     []value
	clearRoute bool

	name string
	log  *slog.Logger
}

func compileHTTP(s *extension.Scope, m *httpv3.Config) filter.HTTPFilterFactory {
	return compileRequests(s, m)
}

func compileRoute(s *extension.Scope, m *httpv3.Config) any { return compileRequests(s, m) }

func compileRequests(s *extension.Scope, m *httpv3.Config) *requests {
	httpFields.Check(s, m)
	return &requests{
		values:     compile(s.Field("on_request_headers"), m.GetOnRequestHeaders()),
		clearRoute: m.GetClearRouteCache(),
	}
}

// NewHTTPFilter implements filter.HTTPFilterFactory.
func (f *requests) NewHTTPFilter(env *filter.HTTPEnv) (filter.HTTPFilter, error) {
	running := *f
	running.name, running.log = env.Name, logger(env.Env)
	return &running, nil
}

// WrapHTTP implements filter.HTTPFilter.
func (f *requests) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		f.apply(s)
		return next.ServeHTTP(s)
	})
}

// apply sets what the filter says, and then what the route says of it: the most general
// level first.
func (f *requests) apply(s *filter.HTTPStream) {
	set(f.values, s.Info, f.log)
	if r := s.Route(); r != nil {
		for _, c := range r.FilterConfigs(f.name) {
			if c, ok := c.(*requests); ok {
				set(c.values, s.Info, f.log)
			}
		}
	}
	if f.clearRoute {
		s.ClearRoute()
	}
}
