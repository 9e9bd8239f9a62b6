package admin

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ginnel/ginnel/internal/stats"
)

// A dumpError is an answer of /config_dump that is no dump.
type dumpError struct {
	status int
	text   string
}

func (e *dumpError) Error() string { return e.text }

func (s *Server) configDump(w http.ResponseWriter, r *http.Request) {
	dump, err := s.dump(r)
	if err != nil {
		w.Header().Set("Content-Type", "text/plain")
		text(w, err.status, err.text)
		return
	}
	redact(dump.ProtoReflect())
	message(w, dump, false)
}

func (s *Server) dump(r *http.Request) (*adminv3.ConfigDump, *dumpError) {
	regex := r.Form.Get("name_regex")
	name, err := regexp.Compile("^(?:" + regex + ")$")
	if err != nil {
		// The text names the expression without what was put around it.
		_, err = regexp.Compile(regex)
		return nil, &dumpError{http.StatusBadRequest, fmt.Sprintf("INVALID_ARGUMENT: Error while parsing name_regex from %s: %s", regex, stats.RE2Error(err))}
	}
	named := func(n string) bool { return regex == "" || name.MatchString(n) }
	sections := s.sections(named, r.Form.Has("include_eds"))
	mask := parseMask(r.Form.Get("mask"))
	if resource := r.Form.Get("resource"); resource != "" {
		return dumpResource(sections, protoreflect.Name(resource), mask)
	}
	return dumpAll(sections, mask)
}

// sections are the parts of a dump, in Envoy's order. They are copies.
func (s *Server) sections(named func(string) bool, eds bool) []proto.Message {
	all := []proto.Message{s.dumpBootstrap(), s.dumpClusters(named)}
	if eds {
		all = append(all, dumpEndpoints(s.opts.Proxy.Clusters(), named))
	}
	all = append(all, s.dumpListeners(named))
	if s.servesHTTP() { // Envoy
		all = append(all, &adminv3.ScopedRoutesConfigDump{}, s.dumpRoutes(named))
	}
	return append(all, s.dumpSecrets(named))
}

func (s *Server) dumpBootstrap() *adminv3.BootstrapConfigDump {
	return &adminv3.BootstrapConfigDump{
		Bootstrap:   proto.CloneOf(s.opts.Proxy.Plan().Bootstrap),
		LastUpdated: s.when(time.Time{}),
	}
}

func (s *Server) dumpClusters(named func(string) bool) *adminv3.ClustersConfigDump {
	from := s.opts.Proxy.Plan().FromClusterSource
	out := &adminv3.ClustersConfigDump{VersionInfo: from.Version}
	for _, c := range s.opts.Proxy.Clusters() {
		switch {
		case !named(c.Name) || c.Proto == nil:
		case c.Dynamic:
			out.DynamicActiveClusters = append(out.DynamicActiveClusters, &adminv3.ClustersConfigDump_DynamicCluster{
				VersionInfo: c.Version, Cluster: pack(c.Proto), LastUpdated: s.when(c.Updated),
			})
		default:
			out.StaticClusters = append(out.StaticClusters, &adminv3.ClustersConfigDump_StaticCluster{
				Cluster: pack(c.Proto), LastUpdated: s.when(c.Updated),
			})
		}
	}
	for _, c := range s.opts.Proxy.WarmingClusters() {
		if named(c.Name) && c.Dynamic {
			out.DynamicWarmingClusters = append(out.DynamicWarmingClusters, &adminv3.ClustersConfigDump_DynamicCluster{
				VersionInfo: c.Version, Cluster: pack(c.Proto), LastUpdated: s.when(c.Updated),
			})
		}
	}
	return out
}

func (s *Server) dumpListeners(named func(string) bool) *adminv3.ListenersConfigDump {
	from := s.opts.Proxy.Plan().FromListenerSource
	out := &adminv3.ListenersConfigDump{VersionInfo: from.Version}
	dynamic := make(map[string]*adminv3.ListenersConfigDump_DynamicListener)
	of := func(name string) *adminv3.ListenersConfigDump_DynamicListener {
		d := dynamic[name]
		if d == nil {
			d = &adminv3.ListenersConfigDump_DynamicListener{Name: name}
			dynamic[name] = d
		}
		return d
	}
	state := func(l Listener) *adminv3.ListenersConfigDump_DynamicListenerState {
		return &adminv3.ListenersConfigDump_DynamicListenerState{
			VersionInfo: l.Version, Listener: pack(l.Proto), LastUpdated: s.when(l.Updated),
		}
	}
	for _, l := range s.opts.Proxy.Listeners() {
		switch {
		case !named(l.Name) || l.Proto == nil:
		case l.Dynamic:
			of(l.Name).ActiveState = state(l)
		default:
			out.StaticListeners = append(out.StaticListeners, &adminv3.ListenersConfigDump_StaticListener{
				Listener: pack(l.Proto), LastUpdated: s.when(l.Updated),
			})
		}
	}
	for _, l := range s.opts.Proxy.WarmingListeners() {
		if named(l.Name) && l.Dynamic {
			of(l.Name).WarmingState = state(l)
		}
	}
	for _, l := range s.opts.Proxy.DrainingListeners() {
		if named(l.Name) && l.Dynamic {
			of(l.Name).DrainingState = state(l) // of several the oldest (Envoy)
		}
	}
	for _, r := range from.Rejected {
		if !named(r.Name) {
			continue
		}
		of(r.Name).ErrorState = &adminv3.UpdateFailureState{
			FailedConfiguration: proto.CloneOf(r.Resource), LastUpdateAttempt: s.when(r.At), Details: r.Details,
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dynamic)) { // Envoy
		out.DynamicListeners = append(out.DynamicListeners, dynamic[name])
	}
	return out
}

func (s *Server) dumpSecrets(named func(string) bool) *adminv3.SecretsConfigDump {
	out := &adminv3.SecretsConfigDump{}
	for _, x := range s.opts.Proxy.Plan().Bootstrap.GetStaticResources().GetSecrets() {
		if named(x.GetName()) {
			out.StaticSecrets = append(out.StaticSecrets, &adminv3.SecretsConfigDump_StaticSecret{
				Name: x.GetName(), Secret: pack(x),
			})
		}
	}
	for _, x := range s.opts.Proxy.Secrets() {
		switch {
		case !named(x.Name):
		case x.Secret == nil:
			out.DynamicWarmingSecrets = append(out.DynamicWarmingSecrets, &adminv3.SecretsConfigDump_DynamicSecret{
				Name: x.Name, VersionInfo: "uninitialized", LastUpdated: s.when(x.Updated), Secret: pack(&tlsv3.Secret{Name: x.Name}),
			})
		default:
			out.DynamicActiveSecrets = append(out.DynamicActiveSecrets, &adminv3.SecretsConfigDump_DynamicSecret{
				Name: x.Name, VersionInfo: x.Version, LastUpdated: s.when(x.Updated), Secret: pack(x.Secret),
			})
		}
	}
	return out
}

// when is a time of a dump, in milliseconds; the zero time is that of the start.
func (s *Server) when(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		t = s.opts.Proxy.Started()
	}
	return timestamppb.New(t.Truncate(time.Millisecond))
}

// pack wraps m. It fails only for strings that are no UTF-8, which no message of a
// configuration holds.
func pack(m proto.Message) *anypb.Any {
	a := &anypb.Any{}
	_ = anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true})
	return a
}

func dumpAll(sections []proto.Message, mask mask) (*adminv3.ConfigDump, *dumpError) {
	dump := &adminv3.ConfigDump{}
	for _, m := range sections {
		// The sections have different fields: where the mask means nothing is left out.
		if mask.trim(m.ProtoReflect()) {
			dump.Configs = append(dump.Configs, pack(m))
		}
	}
	if len(dump.Configs) == 0 {
		return nil, &dumpError{http.StatusBadRequest, fmt.Sprintf("FieldMask %s could not be successfully applied to any configs.", mask.text)}
	}
	return dump, nil
}

// dumpResource dumps the elements of a repeated field of the first section that has
// it.
func dumpResource(sections []proto.Message, resource protoreflect.Name, mask mask) (*adminv3.ConfigDump, *dumpError) {
	for _, m := range sections {
		fd := m.ProtoReflect().Descriptor().Fields().ByName(resource)
		if fd == nil {
			continue
		}
		if !fd.IsList() {
			return nil, &dumpError{http.StatusBadRequest, fmt.Sprintf("%s is not a repeated field. Use ?mask=%s to get only this field", resource, resource)}
		}
		dump := &adminv3.ConfigDump{}
		for i, list := 0, m.ProtoReflect().Get(fd).List(); i < list.Len(); i++ {
			element := list.Get(i).Message()
			if !mask.trimResource(element) {
				return nil, &dumpError{http.StatusBadRequest, fmt.Sprintf("FieldMask %s could not be successfully used.", mask.debug())}
			}
			dump.Configs = append(dump.Configs, pack(element.Interface()))
		}
		return dump, nil
	}
	return nil, &dumpError{http.StatusNotFound, fmt.Sprintf("%s not found in config dump", resource)}
}
