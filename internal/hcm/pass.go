package hcm

import (
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A chain is a list of running filters. It implements filter.HTTPHandler.
type chain struct {
	first   filter.HTTPHandler
	filters []*point // without the terminal one
}

// A point is a filter of a chain, which routes may switch off, or on.
type point struct {
	chain    *chain
	index    int
	on, off  filter.HTTPHandler // with the filter, and without it
	replies  filter.HTTPReplyFilter
	name     string
	disabled bool
}

// A terminus is the terminal filter of a chain.
type terminus struct {
	handler filter.HTTPHandler
	index   int
}

// chain makes the handler of a list of filters, from its end to its beginning.
func (sv *service) chain(list []httpFilter) (*chain, error) {
	n := len(list) - 1
	last, err := list[n].terminal.NewHTTPHandler(sv.filterEnv(list[n].name))
	if err != nil {
		return nil, err
	}
	c := &chain{first: &terminus{last, n}, filters: make([]*point, n)}
	for i := n - 1; i >= 0; i-- {
		f, err := list[i].filter.NewHTTPFilter(sv.filterEnv(list[i].name))
		if err != nil {
			return nil, err
		}
		p := &point{chain: c, index: i, on: f.WrapHTTP(c.first), off: c.first, name: list[i].name, disabled: list[i].disabled}
		p.replies, _ = f.(filter.HTTPReplyFilter)
		c.first, c.filters[i] = p, p
	}
	return c, nil
}

func (sv *service) filterEnv(name string) *filter.HTTPEnv {
	return &filter.HTTPEnv{
		Env: sv.env, Name: name, Local: sv.local,
		HTTP: sv.env.Stats.Scope("http." + sv.config.StatPrefix + "."),
	}
}

// ServeHTTP implements filter.HTTPHandler.
func (c *chain) ServeHTTP(hs *filter.HTTPStream) (*httpmsg.Response, error) {
	hs.HTTPHost.(*stream).chain = c
	return c.first.ServeHTTP(hs)
}

// ServeHTTP implements filter.HTTPHandler.
func (t *terminus) ServeHTTP(hs *filter.HTTPStream) (*httpmsg.Response, error) {
	s := hs.HTTPHost.(*stream)
	s.met = t.index + 1
	resp, err := t.handler.ServeHTTP(hs)
	if err != nil {
		return s.excuse(err)
	}
	return resp, nil
}

// ServeHTTP implements filter.HTTPHandler.
func (p *point) ServeHTTP(hs *filter.HTTPStream) (*httpmsg.Response, error) {
	s, h := hs.HTTPHost.(*stream), p.on
	s.met = p.index + 1
	if p.without(hs) {
		h = p.off
	}
	resp, err := h.ServeHTTP(hs)
	if err != nil {
		if resp, err = s.excuse(err); err != nil {
			return nil, err
		}
	}
	if s.met == p.index+1 {
		s.unmet(resp)
	}
	return resp, nil
}

// without reports whether the filter is switched off for a request.
func (p *point) without(hs *filter.HTTPStream) bool {
	if r := hs.Route(); r != nil {
		if disabled, ok := r.FilterDisabled(p.name); ok {
			return disabled
		}
	}
	return p.disabled
}

// unmet has the filters that the request has not come to change its answer, the last one
// first, as if the answer came from behind them.
func (s *stream) unmet(resp *httpmsg.Response) {
	c, met := s.chain, s.met
	if c == nil {
		c = s.conn.service.handler
	}
	s.met = len(c.filters) + 1
	for i := len(c.filters) - 1; i >= met; i-- {
		if p := c.filters[i]; p.replies != nil && !p.without(&s.handed) {
			p.replies.ChangeReply(&s.handed, resp)
		}
	}
}

// excuse makes an answer, for the filters before to see, of an error of a handler that was
// told that the stream is over: where the client is still there.
func (s *stream) excuse(err error) (*httpmsg.Response, error) {
	if err == errAgain {
		return nil, err
	}
	s.mu.Lock()
	struck, gone := s.struck, s.gone
	s.mu.Unlock()
	switch {
	case struck != nil && gone == nil:
		s.excused = true
		return s.timedOut(struck), nil
	case struck == nil && gone != nil && s.answerable(gone):
		s.excused = true
		return s.refuse(400, gone), nil
	}
	return nil, err
}
