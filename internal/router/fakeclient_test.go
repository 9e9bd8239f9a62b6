package router

import (
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// A client is a stream's host: it does what a connection manager would.
type client struct {
	world    *world
	stream   *filter.HTTPStream
	response httpmsg.Response
	informed []int
	upgraded bool
	cleared  bool
	found    *route.Route
	ends     []func()
	body     *clientBody

	mu   sync.Mutex
	hook func(*httpmsg.ResetError)
	gone *httpmsg.ResetError
}

func (c *client) Route() filter.HTTPRoute {
	if c.found == nil {
		c.found = c.world.table.Match(queryOf(c))
	}
	if c.found == nil {
		return nil
	}
	return c.found
}

func queryOf(c *client) *route.Query {
	return &route.Query{Request: c.stream.Request, Info: c.stream.Info, Runtime: noRuntime{}}
}

func (c *client) Wait()       {}
func (c *client) Resume()     {}
func (c *client) ClearRoute() { c.found, c.cleared = nil, true }

func (c *client) Reply(l filter.LocalReply) *httpmsg.Response {
	i := c.stream.Info
	i.Raise(l.Flags)
	i.More().Details = l.Details
	r := &httpmsg.Response{Status: l.Status, Header: l.Header}
	if l.Body != "" {
		b := httpmsg.Bytes(l.Body)
		r.Body = &b
	}
	return r
}

func (c *client) NewResponse() *httpmsg.Response { return &c.response }

func (c *client) Inform(r *httpmsg.Response) error {
	c.informed = append(c.informed, r.Status)
	return nil
}

func (c *client) OnReset(f func(*httpmsg.ResetError)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hook = f
	if f != nil && c.gone != nil {
		f(c.gone)
	}
}

// leave is the client going away.
func (c *client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = &httpmsg.ResetError{Reason: httpmsg.RemoteReset}
	if c.body != nil {
		c.body.stop(c.gone)
	}
	if c.hook != nil {
		c.hook(c.gone)
	}
}

func (c *client) Again(*httpmsg.Response) error { return errAgain }

var errAgain = errors.New("again")

func (c *client) end() {
	for _, f := range slices.Backward(c.ends) {
		f()
	}
	c.ends = nil
}

func (c *client) OnEnd(f func())                      { c.ends = append(c.ends, f) }
func (c *client) Upgraded()                           { c.upgraded = true }
func (c *client) StopRequest(why *httpmsg.ResetError) { c.body.stop(why) }

// A result is what a client saw, and what the log says.
type result struct {
	status  int
	header  httpmsg.Header
	body    string
	trailer httpmsg.Header
	err     error // that the stream was reset for
	flags   string
	details string
	took    time.Duration
}

// do has a request answered, as a connection manager does it.
func (c *client) do() (r result) {
	begun := time.Now()
	resp, err := c.world.handler.ServeHTTP(c.stream)
	for err == errAgain {
		c.end()
		resp, err = c.world.handler.ServeHTTP(c.stream)
	}
	r.err = err
	if resp != nil {
		r.status, r.header = resp.Status, resp.Header.Clone()
		r.read(resp.Body)
	}
	r.took = time.Since(begun)
	whole := r.err == nil
	if c.body != nil && !(whole && c.upgraded) {
		c.body.stop(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	}
	c.end()
	r.flags, r.details = c.stream.Info.Flags.String(), c.stream.Info.Rest().Details
	return r
}

func (r *result) read(b httpmsg.Body) {
	var got []byte
	defer func() { r.body = string(got) }()
	for b != nil {
		p, err := b.Next()
		got = append(got, p...)
		if err == io.EOF {
			r.trailer = b.Trailer()
			return
		}
		if err != nil {
			r.err = err
			return
		}
	}
}
