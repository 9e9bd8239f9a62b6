package route

import (
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	typematcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/matcher"
)

// A tree leads requests to the routes of which the first that fits is theirs. It takes
// queries by value, so that those of virtual hosts without one stay on the stack.
type tree = matcher.Tree[Query, []Route]

// tree compiles the matcher of a virtual host.
func (c *compiler) tree(s *extension.Scope, m *matcherv3.Matcher, host *level) *tree {
	return matcher.Compile(s, m, matcher.Context[Query, []Route]{
		Inputs:  inputs(),
		Runtime: func(q Query) filter.Runtime { return q.Runtime },
		Action: func(s *extension.Scope, m proto.Message) []Route {
			switch m := m.(type) {
			case *routev3.Route:
				out := make([]Route, 1)
				c.route(s, &out[0], m, host)
				return out
			case *routev3.RouteList:
				routeListFields.Check(s, m)
				return c.routes(s.Field("routes"), m.GetRoutes(), host)
			}
			s.Errorf("%s is a known type, but ginnel does not implement it as a route action (implemented: envoy.config.route.v3.Route, envoy.config.route.v3.RouteList)",
				m.ProtoReflect().Descriptor().FullName())
			return nil
		},
	})
}

// inputs are what is known of a request when its route is chosen.
func inputs() *matcher.Inputs[Query] {
	in := new(matcher.Inputs[Query])
	matcher.AddRequest(in, func(q Query) *httpmsg.Request { return q.Request })
	matcher.AddNetwork(in, info)
	in.Strict("Envoy's virtual hosts have no inputs but request headers, filter state and the environment",
		&typematcherv3.HttpRequestQueryParamMatchInput{},
		&networkv3.DestinationIPInput{}, &networkv3.DestinationPortInput{}, &networkv3.SourceIPInput{},
		&networkv3.SourcePortInput{}, &networkv3.DirectSourceIPInput{}, &networkv3.SourceTypeInput{},
		&networkv3.ServerNameInput{}, &networkv3.TransportProtocolInput{}, &networkv3.ApplicationProtocolInput{},
		&networkv3.DynamicMetadataInput{})
	in.Refuse("a route is chosen by the head of a request, when there are no trailers and no response yet",
		&typematcherv3.HttpRequestTrailerMatchInput{}, &typematcherv3.HttpResponseHeaderMatchInput{},
		&typematcherv3.HttpResponseTrailerMatchInput{}, &typematcherv3.HttpResponseStatusCodeMatchInput{},
		&typematcherv3.HttpResponseStatusCodeClassMatchInput{}, &typematcherv3.HttpResponseLocalReplyMatchInput{})
	in.Refuse("matching by CEL is not supported yet", &matcherv3.HttpAttributesCelMatchInput{})
	return in
}

var noInfo filter.Info // never written

func info(q Query) *filter.Info {
	if q.Info == nil {
		return &noInfo
	}
	return q.Info
}
