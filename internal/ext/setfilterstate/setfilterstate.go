// Package setfilterstate sets filter-state objects of connections and requests: an HTTP
// filter (envoy.extensions.filters.http.set_filter_state.v3.Config), a network filter
// (the same below network) and a listener filter (below listener).
package setfilterstate

import (
	"cmp"
	"log/slog"

	valuev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/set_filter_state/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

var networkFields = extension.Fields{
	Message: &networkv3.Config{},
	Obeyed:  []string{"on_new_connection", "on_downstream_tls_handshake", "on_downstream_data"},
}

var listenerFields = extension.Fields{Message: &listenerv3.Config{}, Obeyed: []string{"on_accept"}}

var valueFields = extension.Fields{
	Message: &valuev3.FilterStateValue{},
	Obeyed:  []string{"object_key", "factory_key", "format_string", "shared_with_upstream", "skip_if_empty"},
	Ignored: map[string]string{"read_only": "Envoy 1.40 ignores it too: the later value wins"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return []*extension.Fields{&networkFields, &listenerFields, &httpFields, &valueFields}
}

// Register adds the filters to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.NetworkFilter, compileNetwork)
	extension.Register(r, extension.ListenerFilter, compileListener)
	extension.Register(r, extension.HTTPFilter, compileHTTP)
	extension.Register(r, extension.HTTPRouteFilter, compileRoute)
}

func compileNetwork(s *extension.Scope, m *networkv3.Config) filter.NetworkFactory {
	networkFields.Check(s, m)
	return &network{
		accepted:  compile(s.Field("on_new_connection"), m.GetOnNewConnection()),
		handshake: compile(s.Field("on_downstream_tls_handshake"), m.GetOnDownstreamTlsHandshake()),
		data:      compile(s.Field("on_downstream_data"), m.GetOnDownstreamData()),
	}
}

func compileListener(s *extension.Scope, m *listenerv3.Config) filter.ListenerFilterFactory {
	listenerFields.Check(s, m)
	return &listener{accepted: compile(s.Field("on_accept"), m.GetOnAccept())}
}

// A value sets one object.
type value struct {
	key       string
	create    state.Factory
	format    state.Formatter
	sharing   filter.Sharing
	skipEmpty bool
}

func compile(s *extension.Scope, list []*valuev3.FilterStateValue) []value {
	factories := state.NewFactories()
	var out []value
	for i, m := range list {
		s := s.Index(i)
		valueFields.Check(s, m)
		v := value{key: m.GetObjectKey(), sharing: sharing(m.GetSharedWithUpstream()), skipEmpty: m.GetSkipIfEmpty()}
		var err error
		switch v.create, err = factories.Lookup(v.key, m.GetFactoryKey()); {
		case v.key == "":
			s.Field("object_key").Errorf("is required")
		case err != nil && m.GetFactoryKey() != "":
			s.Field("factory_key").Errorf("%v", err)
		case err != nil:
			s.Field("object_key").Errorf("%v", err)
		}
		if cmp.Or(m.GetFactoryKey(), v.key) == istioString {
			s.Strictf("object factory %s is Istio's, Envoy has none of this name", istioString)
		}
		if m.GetFormatString() == nil {
			s.Field("format_string").Errorf("is required")
			continue
		}
		var ok bool
		if v.format, ok = state.CompileFormat(s.Field("format_string"), m.GetFormatString()); ok && v.create != nil {
			out = append(out, v)
		}
	}
	return out
}

const istioString = "istio.hashable_string"

func sharing(x valuev3.FilterStateValue_SharedWithUpstream) filter.Sharing {
	switch x {
	case valuev3.FilterStateValue_ONCE:
		return filter.SharedOnce
	case valuev3.FilterStateValue_TRANSITIVE:
		return filter.SharedTransitive
	}
	return filter.SharedNone
}

// set sets the objects in order, so that later formats see the earlier ones. A text
// that its factory does not take sets nothing, as in Envoy.
func set(list []value, info *filter.Info, log *slog.Logger) {
	for i := range list {
		v := &list[i]
		var buf [128]byte
		text := string(v.format.Append(buf[:0], info, filter.NotSet))
		if text == "" && v.skipEmpty {
			continue
		}
		o, ok := v.create(text)
		if !ok {
			log.Debug("no filter-state object made", "key", v.key, "text", text)
			continue
		}
		info.State.Set(filter.Entry{Name: v.key, Object: o, Sharing: v.sharing})
	}
}

// network is the compiled network filter; with a log it is the running one.
type network struct {
	accepted, handshake, data []value

	log *slog.Logger
}

// NewNetwork implements filter.NetworkFactory.
func (n *network) NewNetwork(env *filter.Env) (filter.Network, error) {
	running := *n
	running.log = logger(env)
	return &running, nil
}

// Passive implements filter.Passive: the first bytes are awaited, not touched.
func (n *network) Passive() bool { return true }

// WrapConn implements filter.Network.
func (n *network) WrapConn(next filter.ConnHandler) filter.ConnHandler { return &handler{n, next} }

type handler struct {
	filter *network
	next   filter.ConnHandler
}

// ServeConn implements filter.ConnHandler. A handshake, if there was one, is over
// when filters see the connection; without TLS Envoy applies its list here, too.
func (h *handler) ServeConn(c *filter.Conn) error {
	c.Info.Shown = true
	f := h.filter
	set(f.accepted, &c.Info, f.log)
	set(f.handshake, &c.Info, f.log)
	if len(f.data) > 0 {
		c.OnData(func(c *filter.Conn) error {
			set(f.data, &c.Info, f.log)
			return nil
		})
	}
	return h.next.ServeConn(c)
}

// listener is the compiled listener filter; with a log it is the running one.
type listener struct {
	accepted []value

	log *slog.Logger
}

// NewListenerFilter implements filter.ListenerFilterFactory.
func (l *listener) NewListenerFilter(env *filter.Env) (filter.ListenerFilter, error) {
	return &listener{l.accepted, logger(env)}, nil
}

// Peeks implements filter.ListenerFilterFactory.
func (l *listener) Peeks() bool { return false }

// Inspect implements filter.ListenerFilter.
func (l *listener) Inspect(info *filter.Info, _ filter.Peeker) error {
	set(l.accepted, info, l.log)
	return nil
}

func logger(env *filter.Env) *slog.Logger {
	if env == nil || env.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return env.Log
}
