// Package headermutation changes the headers, trailers and query parameters of requests,
// and the headers and trailers of responses (envoy.extensions.filters.http.header_mutation.v3.HeaderMutation).
package headermutation

import (
	"slices"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
	"github.com/ginnel/ginnel/internal/state"
)

var filterFields = extension.Fields{
	Message: &headermutationv3.HeaderMutation{},
	Obeyed:  []string{"mutations", "most_specific_header_mutations_wins"},
}

var routeFields = extension.Fields{
	Message: &headermutationv3.HeaderMutationPerRoute{},
	Obeyed:  []string{"mutations"},
}

var mutationsFields = extension.Fields{
	Message: &headermutationv3.Mutations{},
	Obeyed: []string{"request_mutations", "query_parameter_mutations", "response_mutations",
		"response_trailers_mutations", "request_trailers_mutations", "formatters"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return []*extension.Fields{&filterFields, &routeFields, &mutationsFields, &parameterFields, &appendFields, &pairFields}
}

// Register adds the filter, and what routes say of it, to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.HTTPFilter, compileFilter)
	extension.Register(r, extension.HTTPRouteFilter, compileRoute)
}

// mutations are those of one level.
type mutations struct {
	request, response               route.Mutations
	requestTrailer, responseTrailer route.Mutations
	query                           []parameter
}

func compileFilter(s *extension.Scope, m *headermutationv3.HeaderMutation) filter.HTTPFilterFactory {
	filterFields.Check(s, m)
	return &mutator{
		own:           compile(s.Field("mutations"), m.GetMutations()),
		specificFirst: !m.GetMostSpecificHeaderMutationsWins(),
	}
}

func compileRoute(s *extension.Scope, m *headermutationv3.HeaderMutationPerRoute) any {
	routeFields.Check(s, m)
	return compile(s.Field("mutations"), m.GetMutations())
}

func compile(s *extension.Scope, m *headermutationv3.Mutations) *mutations {
	if m == nil {
		return &mutations{}
	}
	mutationsFields.Check(s, m)
	o := state.CompileFormatters(s.Field("formatters"), m.GetFormatters())
	steps := func(field string, list []*mutationv3.HeaderMutation) route.Mutations {
		return route.CompileSteps(s.Field(field), list, o)
	}
	return &mutations{
		request:         steps("request_mutations", m.RequestMutations),
		response:        steps("response_mutations", m.ResponseMutations),
		requestTrailer:  steps("request_trailers_mutations", m.RequestTrailersMutations),
		responseTrailer: steps("response_trailers_mutations", m.ResponseTrailersMutations),
		query:           compileQuery(s.Field("query_parameter_mutations"), m.QueryParameterMutations, o),
	}
}

// A mutator is the compiled filter; with a name it is the running one.
type mutator struct {
	own           *mutations
	specificFirst bool // of what routes say; the last one wins

	name string
}

// NewHTTPFilter implements filter.HTTPFilterFactory.
func (f *mutator) NewHTTPFilter(env *filter.HTTPEnv) (filter.HTTPFilter, error) {
	running := *f
	running.name = env.Name
	return &running, nil
}

// WrapHTTP implements filter.HTTPFilter.
func (f *mutator) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		var few [5]*mutations
		levels := f.levels(s, few[:0])
		for _, m := range levels {
			m.changeRequest(s)
		}
		changeRequestTrailer(s, levels)
		resp, err := next.ServeHTTP(s)
		if err != nil {
			return nil, err
		}
		changeResponse(s, resp, levels)
		return resp, nil
	})
}

// ChangeReply implements filter.HTTPReplyFilter.
func (f *mutator) ChangeReply(s *filter.HTTPStream, resp *httpmsg.Response) {
	var few [5]*mutations
	changeResponse(s, resp, f.levels(s, few[:0]))
}

func changeResponse(s *filter.HTTPStream, resp *httpmsg.Response, levels []*mutations) {
	s.Info.HTTP().Response = resp
	for _, m := range levels {
		m.response.Apply(&resp.Header, s.Info)
	}
	changeResponseTrailer(s, resp, levels)
}

// levels appends what is to be done, in order: what the filter itself says, then the
// levels of the route.
func (f *mutator) levels(s *filter.HTTPStream, list []*mutations) []*mutations {
	list = append(list, f.own)
	r := s.Route()
	if r == nil {
		return list
	}
	for _, c := range r.FilterConfigs(f.name) {
		if m, ok := c.(*mutations); ok {
			list = append(list, m)
		}
	}
	if f.specificFirst {
		slices.Reverse(list[1:])
	}
	return list
}

func (m *mutations) changeRequest(s *filter.HTTPStream) {
	m.request.Apply(&s.Request.Header, s.Info)
	if len(m.query) > 0 && s.Request.Path != "" {
		s.Request.Path = changeQuery(s.Request.Path, m.query, s.Info)
	}
}
