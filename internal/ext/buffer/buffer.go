// Package buffer is an HTTP filter that passes a request on only when it is there as a
// whole (envoy.extensions.filters.http.buffer.v3.Buffer).
package buffer

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	bufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

var bufferFields = extension.Fields{
	Message: &bufferv3.Buffer{},
	Obeyed:  []string{"max_request_bytes"},
}

var routeFields = extension.Fields{
	Message: &bufferv3.BufferPerRoute{},
	Obeyed:  []string{"disabled", "buffer"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&bufferFields, &routeFields} }

// Register adds the filter, and what routes say of it, to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.HTTPFilter, func(s *extension.Scope, m *bufferv3.Buffer) filter.HTTPFilterFactory {
		return &buffer{limit: compile(s, m)}
	})
	extension.Register(r, extension.HTTPRouteFilter, compileRoute)
}

// A limit is the most bytes that a body may have; off: it is not buffered.
type limit struct {
	bytes int
	off   bool
}

func compile(s *extension.Scope, m *bufferv3.Buffer) limit {
	bufferFields.Check(s, m)
	if m.GetMaxRequestBytes() == nil {
		s.Field("max_request_bytes").Errorf("is required")
	} else if m.MaxRequestBytes.Value == 0 {
		s.Field("max_request_bytes").Errorf("must be greater than 0")
	}
	return limit{bytes: int(m.GetMaxRequestBytes().GetValue())}
}

func compileRoute(s *extension.Scope, m *bufferv3.BufferPerRoute) any {
	routeFields.Check(s, m)
	switch o := m.GetOverride().(type) {
	case *bufferv3.BufferPerRoute_Disabled:
		if !o.Disabled {
			s.Field("disabled").Errorf("must be true, or not be there")
		}
	case *bufferv3.BufferPerRoute_Buffer:
		return compile(s.Field("buffer"), o.Buffer)
	default:
		s.Errorf("either disabled or buffer is required")
	}
	return limit{off: true}
}

// buffer is the compiled filter; with a name it is the running one.
type buffer struct {
	limit limit

	name string
}

// NewHTTPFilter implements filter.HTTPFilterFactory.
func (f *buffer) NewHTTPFilter(env *filter.HTTPEnv) (filter.HTTPFilter, error) {
	return &buffer{f.limit, env.Name}, nil
}

// WrapHTTP implements filter.HTTPFilter.
func (f *buffer) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		r := s.Request
		l := f.limitOf(s)
		if r.Body == nil || r.Tunnel() || l.off {
			return next.ServeHTTP(s)
		}
		s.Wait()
		b, err := read(r, l.bytes)
		s.Resume()
		switch {
		case errors.Is(err, errTooLarge):
			return s.Reply(filter.LocalReply{
				Status: http.StatusRequestEntityTooLarge, Body: "Payload Too Large", Details: "request_payload_too_large",
			}), nil
		case err != nil:
			return nil, err
		}
		if !r.Header.Has("content-length") {
			r.Header.Add("content-length", strconv.Itoa(len(b.data)))
		}
		r.Body = b
		return next.ServeHTTP(s)
	})
}

func (f *buffer) limitOf(s *filter.HTTPStream) limit {
	if r := s.Route(); r != nil {
		if all := r.FilterConfigs(f.name); len(all) > 0 {
			if l, ok := all[len(all)-1].(limit); ok {
				return l
			}
		}
	}
	return f.limit
}

var errTooLarge = errors.New("the request is too large")

// read reads a body that must not be longer than most bytes. A length that is announced
// and too much is refused at once.
func read(r *httpmsg.Request, most int) (*whole, error) {
	if n, err := strconv.ParseUint(r.Header.Get("content-length"), 10, 64); err == nil && n > uint64(most) {
		return nil, errTooLarge
	}
	b := &whole{}
	for {
		p, err := r.Body.Next()
		if err != nil && err != io.EOF {
			return nil, err
		}
		if len(p) > most-len(b.data) {
			return nil, errTooLarge
		}
		b.data = append(b.data, p...)
		if err == io.EOF {
			b.trailer = r.Body.Trailer()
			return b, nil
		}
	}
}

// whole is a body that is there.
type whole struct {
	data    []byte
	trailer httpmsg.Header
}

// Next implements httpmsg.Body.
func (b *whole) Next() ([]byte, error) {
	p := b.data
	b.data = nil
	return p, io.EOF
}

// Ready implements httpmsg.Body.
func (b *whole) Ready() bool { return true }

// Trailer implements httpmsg.Body.
func (b *whole) Trailer() httpmsg.Header { return b.trailer }
