package headermutation

import (
	"io"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// A changed body is one whose trailers are changed, if it has any.
type changed struct {
	httpmsg.Body
	info    *filter.Info
	steps   []route.Mutations
	done    bool
	trailer httpmsg.Header
	noted   func(httpmsg.Header)
}

// Next implements httpmsg.Body.
func (b *changed) Next() ([]byte, error) {
	p, err := b.Body.Next()
	if err == io.EOF && !b.done {
		b.done = true
		b.change()
	}
	return p, err
}

// Trailer implements httpmsg.Body.
func (b *changed) Trailer() httpmsg.Header { return b.trailer }

func (b *changed) change() {
	t := b.Body.Trailer()
	if len(t) == 0 {
		return
	}
	b.trailer = t.Clone()
	if b.noted != nil {
		b.noted(t)
	}
	for _, m := range b.steps {
		m.Apply(&b.trailer, b.info)
	}
}

func collect(levels []*mutations, of func(*mutations) route.Mutations) []route.Mutations {
	var out []route.Mutations
	for _, m := range levels {
		if ms := of(m); len(ms) > 0 {
			out = append(out, ms)
		}
	}
	return out
}

// changeRequestTrailer has the trailers of the request changed when they come. Formats
// then see the request as it was at its head, for another goroutine reads the body.
func changeRequestTrailer(s *filter.HTTPStream, levels []*mutations) {
	if s.Request.Body == nil || s.Request.Tunnel() {
		return
	}
	steps := collect(levels, func(m *mutations) route.Mutations { return m.requestTrailer })
	if len(steps) == 0 {
		return
	}
	info, extra, http := *s.Info, *s.Info.Extra, *s.Info.HTTP()
	info.Extra, extra.HTTP = &extra, &http
	s.Request.Body = &changed{Body: s.Request.Body, info: &info, steps: steps}
}

// changeResponseTrailer has the trailers of the response changed when they come.
func changeResponseTrailer(s *filter.HTTPStream, resp *httpmsg.Response, levels []*mutations) {
	if resp.Body == nil {
		return
	}
	steps := collect(levels, func(m *mutations) route.Mutations { return m.responseTrailer })
	if len(steps) == 0 {
		return
	}
	resp.Body = &changed{
		Body: resp.Body, info: s.Info, steps: steps,
		noted: func(t httpmsg.Header) { s.Info.HTTP().Trailer = t },
	}
}
