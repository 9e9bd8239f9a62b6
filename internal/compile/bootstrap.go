package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	internalv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/bootstrap/internal_listener/v3"
	downstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/accesslog"
	"github.com/ginnel/ginnel/internal/plan"
)

// elsewhere looks into messages that are accepted only as far as they ask for
// nothing.
func elsewhere(s *extension.Scope, b *bootstrapv3.Bootstrap, p *plan.Server) {
	if m := b.GetClusterManager(); m != nil {
		at := s.Field("cluster_manager")
		managerFields.Check(at, m)
		p.Bind = upstreamBind(at.Field("upstream_bind_config"), m.GetUpstreamBindConfig(), "Bootstrap")
		if d := m.GetOutlierDetection(); d != nil {
			outlierManagerFields.Check(at.Field("outlier_detection"), d)
			p.OutlierLog = d.GetEventLogPath()
		}
	}
	if m := b.GetOverloadManager(); m != nil {
		overloadFields.Check(s.Field("overload_manager"), m)
		p.MaxConnections = monitors(s.Field("overload_manager.resource_monitors"), m.GetResourceMonitors())
	}
}

// connectionsMonitor is the name by which Envoy finds the one monitor that limits
// something without an action.
const connectionsMonitor = "envoy.resource_monitors.global_downstream_max_connections"

// monitors returns the most downstream connections that there may be; 0: any number.
// Nothing follows from other resource monitors, for there are no actions.
func monitors(s *extension.Scope, list []*overloadv3.ResourceMonitor) (limit uint64) {
	seen := make(map[string]bool)
	for i, r := range list {
		s := s.Index(i)
		if seen[r.GetName()] {
			s.Field("name").Errorf("Duplicate resource monitor %s", r.GetName())
		}
		seen[r.GetName()] = true
		if !typed(s, r.GetName(), r.GetTypedConfig()) {
			continue
		}
		at := s.Field("typed_config")
		m, ok := at.Unpack(r.GetTypedConfig())
		if c, limits := m.(*downstreamv3.DownstreamConnectionsConfig); ok && limits {
			connectionsMonitorFields.Check(at, c)
			limit = uint64(max(c.GetMaxActiveDownstreamConnections(), 0))
			if r.GetName() != connectionsMonitor {
				s.Field("name").Strictf("Envoy 1.40 finds this monitor by the name %s alone", connectionsMonitor)
			}
		}
	}
	return limit
}

// defaultBufferKb is what a pipe holds per direction unless buffer_size_kb says
// otherwise.
const defaultBufferKb = 1024

// An internalExtension is the bootstrap extension for internal listeners.
type internalExtension struct {
	given       bool
	bufferBytes int
}

func internalListeners(s *extension.Scope, list []*corev3.TypedExtensionConfig) internalExtension {
	x := internalExtension{bufferBytes: defaultBufferKb << 10}
	for i, e := range list {
		s := s.Index(i)
		if !typed(s, e.GetName(), e.GetTypedConfig()) {
			continue
		}
		m, ok := s.Field("typed_config").Unpack(e.GetTypedConfig())
		if !ok {
			continue
		}
		c, ok := m.(*internalv3.InternalListener)
		switch {
		case !ok:
			s.Field("typed_config").Errorf("not supported yet: the bootstrap extension %s", m.ProtoReflect().Descriptor().FullName())
		case x.given:
			s.Warnf("the internal listener extension is listed twice; the first one counts (Envoy 1.40 then refuses every internal connection)")
		default:
			extensionFields.Check(s.Field("typed_config"), c)
			x.given = true
			if kb := c.GetBufferSizeKb(); kb != nil {
				x.bufferBytes = int(kb.GetValue()) << 10
			}
		}
	}
	return x
}

// typed reports whether an extension has a configuration, for it is found by its
// type.
func typed(s *extension.Scope, name string, a *anypb.Any) bool {
	if a.GetTypeUrl() != "" {
		return true
	}
	s.Field("typed_config").Errorf("Didn't find a registered implementation for '%s' with type URL: '': an extension needs a typed_config, for its type says which one it is", name)
	return false
}

// admin returns nil when there is to be no admin server.
func admin(s *extension.Scope, m *bootstrapv3.Admin) *plan.Admin {
	if m == nil {
		return nil
	}
	adminFields.Check(s, m)
	p := &plan.Admin{AccessLogs: accesslog.Compile(s.Field("access_log"), m.GetAccessLog())}
	if path := m.GetAccessLogPath(); path != "" {
		if f, ok := accesslog.File(s.Field("access_log_path"), path); ok {
			p.AccessLogs = append(p.AccessLogs, f)
		}
	}
	if m.GetAddress() == nil {
		return nil
	}
	p.Address, _ = address(s.Field("address"), m.GetAddress())
	return p
}

func runtimeLayers(s *extension.Scope, m *bootstrapv3.LayeredRuntime) []plan.RuntimeLayer {
	var out []plan.RuntimeLayer
	names, admins := map[string]bool{}, 0
	for i, l := range m.GetLayers() {
		s := s.Field("layers").Index(i)
		layerFields.Check(s, l)
		if names[l.GetName()] {
			s.Field("name").Errorf("Duplicate layer name: %s", l.GetName())
		}
		names[l.GetName()] = true
		p := plan.RuntimeLayer{Name: l.GetName(), Admin: l.GetAdminLayer() != nil}
		if p.Admin {
			if admins++; admins > 1 {
				s.Field("admin_layer").Errorf("Too many admin layers specified in LayeredRuntime, at most one may be specified")
			}
		}
		if static := l.GetStaticLayer(); static != nil {
			p.Values = make(map[string]*structpb.Value)
			flatten(s.Field("static_layer"), p.Values, "", static)
			warnGuards(s.Field("static_layer"), p.Values)
		}
		out = append(out, p)
	}
	return out
}

// flatten gives the values under their dotted names. A struct is a value itself
// when it is a fraction, or empty (Envoy).
func flatten(s *extension.Scope, out map[string]*structpb.Value, prefix string, m *structpb.Struct) {
	for _, key := range slices.Sorted(maps.Keys(m.GetFields())) {
		s, v, name := s.Key(key), m.GetFields()[key], prefix+key
		switch k := v.GetKind().(type) {
		case *structpb.Value_StructValue:
			fields := k.StructValue.GetFields()
			if len(fields) == 0 || fields["numerator"] != nil || fields["denominator"] != nil {
				out[name] = v
			} else {
				flatten(s, out, name+".", k.StructValue)
			}
		case *structpb.Value_NumberValue, *structpb.Value_BoolValue, *structpb.Value_StringValue:
			out[name] = v
		default:
			s.Errorf("Invalid runtime entry value for %s: neither a number, a boolean, a string nor a map of these", name)
		}
	}
}

// warnGuards says once for a layer that the switches of Envoy's own code do nothing.
func warnGuards(s *extension.Scope, values map[string]*structpb.Value) {
	var guards []string
	for k := range values {
		if strings.HasPrefix(k, "envoy.reloadable_features.") || strings.HasPrefix(k, "envoy.restart_features.") {
			guards = append(guards, k)
		}
	}
	if len(guards) == 0 {
		return
	}
	slices.Sort(guards)
	more := ""
	if n := len(guards) - 3; n > 0 {
		guards, more = guards[:3], fmt.Sprintf(" and %d more", n)
	}
	s.Warnf("%s%s: without effect, for these switch parts of Envoy's own code", strings.Join(guards, ", "), more)
}
