package admin

import (
	"net/http"
	"slices"
	"strconv"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/filter"
)

// dumpRoutes gives the tables that stand in listeners, and those that were delivered.
func (s *Server) dumpRoutes(named func(string) bool) *adminv3.RoutesConfigDump {
	out := &adminv3.RoutesConfigDump{}
	for _, l := range s.opts.Proxy.Listeners() {
		for _, m := range managers(l.Proto) {
			if t := m.GetRouteConfig(); t != nil && named(t.GetName()) {
				out.StaticRouteConfigs = append(out.StaticRouteConfigs, &adminv3.RoutesConfigDump_StaticRouteConfig{
					RouteConfig: pack(t), LastUpdated: s.when(l.Updated),
				})
			}
		}
	}
	for _, r := range s.opts.Proxy.Routes() {
		if !named(r.Name) || r.Message == nil && r.Rejected.Resource == nil { // Envoy
			continue
		}
		d := &adminv3.RoutesConfigDump_DynamicRouteConfig{VersionInfo: r.Version}
		if r.Message != nil {
			d.RouteConfig, d.LastUpdated = pack(r.Message), s.when(r.Updated)
		}
		if x := r.Rejected; x != nil {
			d.ErrorState = &adminv3.UpdateFailureState{
				FailedConfiguration: proto.CloneOf(x.Resource), LastUpdateAttempt: s.when(x.At), Details: x.Details,
			}
		}
		out.DynamicRouteConfigs = append(out.DynamicRouteConfigs, d)
	}
	return out
}

// servesHTTP reports whether there is a listener with an HTTP connection manager.
func (s *Server) servesHTTP() bool {
	return slices.ContainsFunc(slices.Concat(s.opts.Proxy.Listeners(), s.opts.Proxy.WarmingListeners()), func(l Listener) bool {
		return len(managers(l.Proto)) > 0
	})
}

// managers are the HTTP connection managers of a listener.
func managers(l *listenerv3.Listener) (out []*hcmv3.HttpConnectionManager) {
	chains := l.GetFilterChains()
	if d := l.GetDefaultFilterChain(); d != nil {
		chains = append(chains[:len(chains):len(chains)], d)
	}
	for _, c := range chains {
		for _, f := range c.GetFilters() {
			if m := manager(f.GetTypedConfig()); m != nil {
				out = append(out, m)
			}
		}
	}
	return out
}

func manager(a *anypb.Any) *hcmv3.HttpConnectionManager {
	m := &hcmv3.HttpConnectionManager{}
	if a.MessageName() != m.ProtoReflect().Descriptor().FullName() || a.UnmarshalTo(m) != nil {
		return nil
	}
	return m
}

// initDump tells what listeners wait for, in Envoy's words.
func (s *Server) initDump(w http.ResponseWriter, _ *http.Request) {
	out := &adminv3.UnreadyTargetsDumps{}
	for _, l := range s.opts.Proxy.Unready() {
		d := &adminv3.UnreadyTargetsDumps_UnreadyTargetsDump{
			Name: "init manager Listener-local-init-manager " + l.Listener + " " + strconv.FormatUint(l.Hash, 10),
		}
		for _, r := range l.Wants {
			name := r.Name
			if r.Kind == filter.RouteResource {
				name = "shared target RdsRouteConfigSubscription RDS init " + name
			}
			d.TargetNames = append(d.TargetNames, name)
		}
		out.UnreadyTargetsDumps = append(out.UnreadyTargetsDumps, d)
	}
	message(w, out, false)
}
