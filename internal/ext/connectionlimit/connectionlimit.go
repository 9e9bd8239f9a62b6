// Package connectionlimit is the network filter that bounds how many connections a filter
// chain has (envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit).
package connectionlimit

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	limitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

var fields = extension.Fields{
	Message: &limitv3.ConnectionLimit{},
	Obeyed:  []string{"stat_prefix", "max_connections", "delay", "runtime_enabled"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&fields} }

// Register adds the filter to a registry.
func Register(r *extension.Registry) { extension.Register(r, extension.NetworkFilter, compile) }

// config is the compiled filter.
type config struct {
	prefix  string
	most    int64
	delay   time.Duration // before who is too many is closed; 0: at once
	enabled httpmatch.Flag
}

func compile(s *extension.Scope, m *limitv3.ConnectionLimit) filter.NetworkFactory {
	fields.Check(s, m)
	if m.GetStatPrefix() == "" {
		s.Field("stat_prefix").Errorf("is required")
	}
	switch n := m.GetMaxConnections(); {
	case n == nil:
		s.Field("max_connections").Errorf("is required")
	case n.Value == 0:
		s.Field("max_connections").Errorf("value must be greater than or equal to 1")
	}
	delay := m.GetDelay().AsDuration()
	if delay < 0 {
		s.Field("delay").Errorf("expected a positive duration")
	}
	return &config{
		prefix:  m.GetStatPrefix(),
		most:    int64(min(m.GetMaxConnections().GetValue(), 1<<62)),
		delay:   delay,
		enabled: httpmatch.CompileFlag(s.Field("runtime_enabled"), m.GetRuntimeEnabled()),
	}
}

// NewNetwork implements filter.NetworkFactory.
func (c *config) NewNetwork(env *filter.Env) (filter.Network, error) {
	stats := env.Stats.Scope("connection_limit." + c.prefix + ".")
	return &limit{
		config: c, runtime: env.Runtime,
		active: stats.Gauge("active_connections"), limited: stats.Counter("limited_connections"),
	}, nil
}

// limit is the running filter.
type limit struct {
	*config
	runtime filter.Runtime
	open    atomic.Int64 // those that are let wait for their end, too

	active  filter.Gauge
	limited filter.Counter
}

// Passive implements filter.Passive: only who is let wait is read from.
func (l *limit) Passive() bool { return l.delay == 0 }

// WrapConn implements filter.Network.
func (l *limit) WrapConn(next filter.ConnHandler) filter.ConnHandler { return &handler{l, next} }

type handler struct {
	limit *limit
	next  filter.ConnHandler
}

// overLimit is the reason of a close, in Envoy's words.
const overLimit = "over_connection_limit"

var errOverLimit = errors.New(overLimit)

// ServeConn implements filter.ConnHandler.
func (h *handler) ServeConn(c *filter.Conn) error {
	l := h.limit
	if !l.enabled.On(l.runtime) {
		return h.next.ServeConn(c)
	}
	l.active.Add(1)
	over := l.open.Add(1) > l.most
	c.OnEnd(func() {
		l.open.Add(-1)
		l.active.Add(-1)
	})
	switch {
	case !over:
		return h.next.ServeConn(c)
	case l.delay > 0:
		l.limited.Add(1)
		return l.refuseLater(c)
	}
	l.limited.Add(1)
	return c.Refuse(errOverLimit)
}

// refuseLater closes a connection after a while; what it sends meanwhile is nobody's.
func (l *limit) refuseLater(c *filter.Conn) error {
	return filter.ServeBytes(c, func(s *filter.Counted) error {
		c.Accept()
		defer time.AfterFunc(l.delay, func() { s.CloseLocal(overLimit) }).Stop()
		_, err := io.Copy(io.Discard, struct{ io.Reader }{s})
		if err == nil { // only its own direction has ended
			<-s.Done()
		}
		return err
	})
}
