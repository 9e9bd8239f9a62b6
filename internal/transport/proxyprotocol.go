package transport

import (
	"io"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/proxyproto"
)

// ProxyProtocol is the socket that begins a connection with a PROXY protocol header, and
// leaves the rest to another one (upstream_proxy_protocol).
type ProxyProtocol struct {
	Inner   extension.UpstreamTransport
	Version int                     // 1 or 2
	Pass    *proxyproto.PassThrough // TLVs of the client's own header
	Added   proxyproto.Added        // TLVs in place of those of their types; a host's own come before them
}

// Transparent implements extension.UpstreamTransport.
func (t *ProxyProtocol) Transparent() bool { return false }

// Passthrough implements extension.UpstreamTransport.
func (t *ProxyProtocol) Passthrough() ([]extension.MetadataSource, bool) {
	return t.Inner.Passthrough()
}

// Negotiates implements extension.Negotiator by the socket inside.
func (t *ProxyProtocol) Negotiates() bool { return Negotiates(t.Inner) }

// LogPaths implements extension.LogWriter by the socket inside.
func (t *ProxyProtocol) LogPaths() []string { return logPaths(t.Inner) }

// NewUpstream implements extension.UpstreamFactory.
func (t *ProxyProtocol) NewUpstream(env *extension.UpstreamEnv) filter.UpstreamTransport {
	p := &heading{ProxyProtocol: t, tooLong: env.Stats.Counter("upstream.proxyprotocol.v2_tlvs_exceed_max_length")}
	if f, ok := t.Inner.(extension.UpstreamFactory); ok {
		p.inner = f.NewUpstream(env)
	}
	return p
}

var (
	proxyFields = extension.Fields{
		Message: &proxyv3.ProxyProtocolUpstreamTransport{},
		Obeyed:  []string{"config", "transport_socket"},
	}
	proxyConfigFields = extension.Fields{
		Message: &corev3.ProxyProtocolConfig{}, Where: "transport socket",
		Obeyed: []string{"version", "pass_through_tlvs", "added_tlvs"},
	}
)

func compileProxyProtocol(s *extension.Scope, m *proxyv3.ProxyProtocolUpstreamTransport) extension.UpstreamTransport {
	proxyFields.Check(s, m)
	c, at := m.GetConfig(), s.Field("config")
	t := &ProxyProtocol{Inner: Raw{}, Version: 1}
	if c != nil {
		proxyConfigFields.Check(at, c)
		t.Pass = proxyproto.CompilePassThrough(at.Field("pass_through_tlvs"), c.GetPassThroughTlvs())
		t.Added = proxyproto.CompileAdded(at.Field("added_tlvs"), c.GetAddedTlvs())
	}
	switch c.GetVersion() {
	case corev3.ProxyProtocolConfig_V1:
	case corev3.ProxyProtocolConfig_V2:
		t.Version = 2
	default:
		at.Field("version").Errorf("value must be one of the defined enum values")
	}
	inner := s.Field("transport_socket")
	if m.GetTransportSocket() == nil {
		inner.Errorf("value is required")
	} else if c, ok := Compile(inner, m.GetTransportSocket()); ok {
		t.Inner = c
	}
	return t
}

// heading is a ProxyProtocol at work.
type heading struct {
	*ProxyProtocol
	inner   filter.UpstreamTransport // nil: the bytes stay as they are
	tooLong filter.Counter
}

// Preface implements filter.Prefacer: what the client's own header said, else its
// addresses.
func (t *heading) Preface(host *corev3.Metadata) func(*filter.Info) string {
	own := hostTLVs(host)
	return func(i *filter.Info) string {
		st, ok := filter.Get[*proxyproto.State](&i.State, proxyproto.StateKey)
		if !ok {
			st = &proxyproto.State{Source: i.Remote, Destination: i.Local}
		}
		if t.Version == 1 {
			return t.header(st, nil)
		}
		added := slices.DeleteFunc(t.Added.TLVs(i), func(v proxyproto.TLV) bool { return len(v.Value) == 0 })
		return t.header(st, proxyproto.Over(own, added))
	}
}

// hostKey names the typed metadata of a host that has TLVs of its own (PerHostConfig).
const hostKey = "envoy.transport_sockets.proxy_protocol"

// hostTLVs returns what the header of connections to a host has besides. Metadata of another
// type is as none (Envoy).
func hostTLVs(host *corev3.Metadata) []proxyproto.TLV {
	a := host.GetTypedFilterMetadata()[hostKey]
	var m corev3.PerHostConfig
	if a == nil || a.UnmarshalTo(&m) != nil {
		return nil
	}
	var out []proxyproto.TLV
	for _, e := range m.GetAddedTlvs() {
		out = append(out, proxyproto.TLV{Type: byte(e.GetType()), Value: e.GetValue()})
	}
	return out
}

func (t *heading) header(st *proxyproto.State, added []proxyproto.TLV) string {
	var h proxyproto.Header
	h.Source, _ = filter.IP(st.Source)
	h.Destination, _ = filter.IP(st.Destination)
	if t.Version == 1 {
		return string(h.Append1(nil))
	}
	h.TLVs = proxyproto.Over(added, t.Pass.Select(st.TLVs))
	b, all := h.Append2(nil)
	if !all {
		t.tooLong.Add(1)
	}
	return string(b)
}

// Wrap implements filter.UpstreamTransport. A connection of nobody's, as a health check's,
// tells its own addresses, in version 2 that it is its own.
func (t *heading) Wrap(s filter.Stream, o *filter.TransportOptions, deadline time.Time, cancel <-chan struct{}) (filter.Stream, error) {
	text := o.Preface
	if text == "" {
		var own proxyproto.State
		if t.Version == 1 {
			own.Source, own.Destination = s.LocalAddr(), s.RemoteAddr()
		}
		text = t.header(&own, nil)
	}
	if err := write(s, text, deadline, cancel); err != nil {
		return nil, err
	}
	if t.inner == nil {
		return s, nil
	}
	return t.inner.Wrap(s, o, deadline, cancel)
}

// write ends early at the deadline, and when cancel is closed.
func write(s filter.Stream, text string, deadline time.Time, cancel <-chan struct{}) error {
	if err := s.SetWriteDeadline(deadline); err != nil {
		return err
	}
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-cancel:
			_ = s.SetWriteDeadline(time.Unix(1, 0))
		case <-done:
		}
	}()
	_, err := io.WriteString(s, text)
	close(done)
	<-stopped
	if err != nil {
		select {
		case <-cancel:
			return filter.ErrCanceled
		default:
			return err
		}
	}
	return s.SetWriteDeadline(time.Time{})
}

// Close implements io.Closer.
func (t *heading) Close() error {
	if c, ok := t.inner.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
