// Package tlsinspector is the listener filter that reads the server name and the
// protocols which a TLS client asks for, before a filter chain is chosen
// (envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector).
package tlsinspector

import (
	"errors"
	"io"
	"strings"

	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/clienthello"
)

// Namespace is the metadata namespace whose field "failure_reason" tells why no
// ClientHello was found.
const Namespace = "envoy.filters.listener.tls_inspector"

const (
	defaultMaxHello = 16384
	firstLook       = 5 // bytes, before which nothing is decided
)

var fields = extension.Fields{
	Message: &tlsinspectorv3.TlsInspector{},
	Obeyed: []string{"enable_ja3_fingerprinting", "enable_ja4_fingerprinting", "max_client_hello_size",
		"close_connection_on_client_hello_parsing_errors"},
	Ignored: map[string]string{
		"initial_read_buffer_size": "it saves memory of Envoy; here a ClientHello is read in the size that it has",
	},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&fields} }

// Register adds the filter to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.ListenerFilter, func(s *extension.Scope, m *tlsinspectorv3.TlsInspector) filter.ListenerFilterFactory {
		fields.Check(s, m)
		f := &factory{
			ja3: m.GetEnableJa3Fingerprinting().GetValue(), ja4: m.GetEnableJa4Fingerprinting().GetValue(),
			strict: m.GetCloseConnectionOnClientHelloParsingErrors(), max: defaultMaxHello,
		}
		if n := m.GetMaxClientHelloSize(); n != nil {
			f.max = int(n.GetValue())
		}
		return f
	})
}

// A factory is the compiled configuration.
type factory struct {
	ja3, ja4 bool
	strict   bool // what is no ClientHello is closed
	max      int  // bytes of a ClientHello, with the headers of its records
}

// Peeks implements filter.ListenerFilterFactory.
func (*factory) Peeks() bool { return true }

// NewListenerFilter implements filter.ListenerFilterFactory.
func (f *factory) NewListenerFilter(env *filter.Env) (filter.ListenerFilter, error) {
	s := env.Stats.Scope("tls_inspector.")
	return &inspector{
		factory:   *f,
		found:     s.Counter("tls_found"),
		notFound:  s.Counter("tls_not_found"),
		sni:       s.Counter("sni_found"),
		noSNI:     s.Counter("sni_not_found"),
		alpn:      s.Counter("alpn_found"),
		noALPN:    s.Counter("alpn_not_found"),
		tooLarge:  s.Counter("client_hello_too_large"),
		processed: s.Histogram("bytes_processed"),

		notDetected: failure("ClientHelloNotDetected"),
		large:       failure("ClientHelloTooLarge"),
		version:     failure("ClientHelloInvalidTlsVersion"),
	}, nil
}

// failure is metadata that many connections share.
func failure(reason string) filter.Metadata {
	return filter.Metadata{Namespace: {Fields: map[string]*structpb.Value{"failure_reason": structpb.NewStringValue(reason)}}}
}

// An inspector is the filter.
type inspector struct {
	factory
	found, notFound, sni, noSNI, alpn, noALPN, tooLarge filter.Counter
	processed                                           filter.Histogram
	notDetected, large, version                         filter.Metadata
}

// Inspect implements filter.ListenerFilter.
func (f *inspector) Inspect(info *filter.Info, p filter.Peeker) error {
	var x clienthello.Parser
	for need := firstLook; ; {
		n := min(need, f.max)
		b, end := p.Peek(n)
		if len(b) < n {
			return f.ended(info, b, end)
		}
		b = b[:min(len(b), f.max)]
		h, more, err := x.Parse(b)
		switch {
		case h != nil || err != nil:
			f.processed.Record(uint64(x.Seen()))
			return f.answer(info, h, err)
		case len(b) == f.max:
			return f.exceeded(info, len(b))
		}
		need = more
	}
}

// ended judges a connection whose bytes came to an end, or may not be waited for, before
// they were enough. An end decides that few bytes which could not have begun TLS are
// something else, whole as it is.
func (f *inspector) ended(info *filter.Info, b []byte, end error) error {
	switch {
	case errors.Is(end, io.ErrShortBuffer): // a pipe holds no more
		return f.exceeded(info, len(b))
	case !errors.Is(end, io.EOF) || len(b) == 0 || len(b) >= firstLook || b[0] == handshake || b[0] >= 0x80:
		return end
	}
	f.processed.Record(uint64(len(b)))
	return f.answer(info, nil, clienthello.ErrNotTLS)
}

const handshake = 22 // the type of the first record

// exceeded refuses a ClientHello that does not end in the n bytes looked at.
func (f *inspector) exceeded(info *filter.Info, n int) error {
	f.processed.Record(uint64(n))
	f.tooLarge.Add(1)
	info.MergeMetadata(f.large)
	return filter.ErrDenied
}

// answer notes what the bytes are.
func (f *inspector) answer(info *filter.Info, h *clienthello.Hello, err error) error {
	if err == clienthello.ErrClosed {
		return filter.ErrDenied
	}
	if h != nil {
		f.note(info, h)
	}
	if err == nil {
		f.found.Add(1)
		which(len(h.Protocols) > 0, f.alpn, f.noALPN)
		info.More().Inspected.TransportProtocol = "tls"
		return nil
	}
	f.notFound.Add(1)
	why := f.notDetected
	if err == clienthello.ErrVersion {
		why = f.version
	}
	info.MergeMetadata(why)
	info.More().DownFailure = "TLS_error|" + err.Error() + ":TLS_error_end"
	if f.strict || err == clienthello.ErrVersion {
		return filter.ErrDenied
	}
	return nil
}

// note keeps what a ClientHello asks for.
func (f *inspector) note(info *filter.Info, h *clienthello.Hello) {
	to := &info.More().Inspected
	which(h.ServerName != "", f.sni, f.noSNI)
	to.ServerName = lower(h.ServerName)
	if h.Protocols != nil {
		to.ApplicationProtocols = h.Protocols
	}
	if !f.ja3 && !f.ja4 {
		return
	}
	to.Fingerprints = new(filter.Fingerprints)
	if f.ja3 {
		to.Fingerprints.JA3 = h.JA3()
	}
	if f.ja4 {
		to.Fingerprints.JA4 = h.JA4()
	}
}

func which(yes bool, one, other filter.Counter) {
	if yes {
		one.Add(1)
	} else {
		other.Add(1)
	}
}

// lower is of ASCII only: the name may be any bytes.
func lower(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
