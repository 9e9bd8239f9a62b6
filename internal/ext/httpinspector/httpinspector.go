// Package httpinspector is the listener filter that tells HTTP from other protocols, and
// its versions, before a filter chain is chosen
// (envoy.extensions.filters.listener.http_inspector.v3.HttpInspector).
package httpinspector

import (
	"errors"
	"io"

	httpinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

// maxLine is how long a request line may be, its end included.
const maxLine = 65536

var fields = extension.Fields{Message: &httpinspectorv3.HttpInspector{}}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&fields} }

// Register adds the filter to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.ListenerFilter, func(s *extension.Scope, m *httpinspectorv3.HttpInspector) filter.ListenerFilterFactory {
		fields.Check(s, m)
		return factory{}
	})
}

// A factory is the compiled configuration: there is nothing to configure.
type factory struct{}

// Peeks implements filter.ListenerFilterFactory.
func (factory) Peeks() bool { return true }

// NewListenerFilter implements filter.ListenerFilterFactory.
func (factory) NewListenerFilter(env *filter.Env) (filter.ListenerFilter, error) {
	s := env.Stats.Scope("http_inspector.")
	return &inspector{
		readError: s.Counter("read_error"),
		results: map[protocol]result{
			none:   {found: s.Counter("http_not_found")},
			http10: {s.Counter("http10_found"), []string{"http/1.0"}},
			http11: {s.Counter("http11_found"), []string{"http/1.1"}},
			http2:  {s.Counter("http2_found"), []string{"h2c"}},
		},
	}, nil
}

// An inspector is the filter.
type inspector struct {
	readError filter.Counter
	results   map[protocol]result
}

// A result is what follows from a protocol.
type result struct {
	found filter.Counter
	names []string // application protocols, which all connections share; nil: none
}

// Inspect implements filter.ListenerFilter.
func (f *inspector) Inspect(info *filter.Info, p filter.Peeker) error {
	if t := info.Rest().Inspected.TransportProtocol; t != "" && t != "raw_buffer" {
		return nil // what is inside cannot be seen
	}
	var s sniffer
	for seen := 0; ; {
		b, err := p.Peek(seen + 1)
		b = b[:min(len(b), maxLine)]
		switch found := f.look(&s, b, seen, err); {
		case found != unknown:
			f.note(info, found)
			return nil
		case len(b) == maxLine || errors.Is(err, io.ErrShortBuffer): // or all that a pipe holds
			f.readError.Add(1)
			return filter.ErrDenied
		case len(b) <= seen:
			return err
		}
		seen = len(b)
	}
}

// look judges b, of which seen bytes are known. An end decides that what it ends is whole:
// bytes without a line are not HTTP.
func (f *inspector) look(s *sniffer, b []byte, seen int, err error) protocol {
	switch {
	case len(b) > seen:
		return s.sniff(b)
	case seen > 0 && errors.Is(err, io.EOF):
		return none
	}
	return unknown
}

func (f *inspector) note(info *filter.Info, p protocol) {
	r := f.results[p]
	r.found.Add(1)
	if r.names != nil {
		info.More().Inspected.ApplicationProtocols = r.names
	}
}
