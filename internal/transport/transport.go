// Package transport compiles upstream transport sockets: what lies between a
// cluster and the bytes of its connections.
package transport

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rawv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"

	"github.com/ginnel/ginnel/extension"
)

// RawBufferName is Envoy's name of the socket that is used where none is configured.
const RawBufferName = "envoy.transport_sockets.raw_buffer"

// Raw is the socket that leaves the bytes as they are.
type Raw struct{}

// Transparent implements extension.UpstreamTransport.
func (Raw) Transparent() bool { return true }

// Passthrough implements extension.UpstreamTransport.
func (Raw) Passthrough() ([]extension.MetadataSource, bool) { return nil, false }

// Negotiates reports whether a socket agrees with hosts on a protocol.
func Negotiates(t extension.UpstreamTransport) bool {
	n, ok := t.(extension.Negotiator)
	return ok && n.Negotiates()
}

// logPaths returns the files that a socket writes to.
func logPaths(t extension.UpstreamTransport) []string {
	if w, ok := t.(extension.LogWriter); ok {
		return w.LogPaths()
	}
	return nil
}

var (
	rawFields    = extension.Fields{Message: &rawv3.RawBuffer{}}
	socketFields = extension.Fields{
		Message: &corev3.TransportSocket{},
		Obeyed:  []string{"typed_config"},
		Ignored: map[string]string{"name": "the type of typed_config decides; without one only raw_buffer has no settings"},
	}
)

// Register adds the sockets of this package.
func Register(r *extension.Registry) {
	extension.Register(r, extension.UpstreamSocket, compileRaw)
	extension.Register(r, extension.UpstreamSocket, compileInternal)
	extension.Register(r, extension.UpstreamSocket, compileProxyProtocol)
}

// Support lists what is obeyed of each message.
func Support() []*extension.Fields {
	return []*extension.Fields{&socketFields, &rawFields, &internalFields, &sourceFields, &proxyFields, &proxyConfigFields}
}

func compileRaw(s *extension.Scope, m *rawv3.RawBuffer) extension.UpstreamTransport {
	rawFields.Check(s, m)
	return Raw{}
}

// Compile compiles a transport_socket field; s is the scope of the field. nil is
// raw_buffer. ok is false when an error was reported.
func Compile(s *extension.Scope, m *corev3.TransportSocket) (t extension.UpstreamTransport, ok bool) {
	if m == nil {
		return Raw{}, true
	}
	socketFields.Check(s, m)
	if m.GetTypedConfig() != nil {
		return extension.Compile(s.Field("typed_config"), extension.UpstreamSocket, m.GetTypedConfig())
	}
	if m.GetName() == RawBufferName || m.GetName() == "raw_buffer" {
		return Raw{}, true
	}
	s.Errorf("transport socket %q has no typed_config", m.GetName())
	return nil, false
}
