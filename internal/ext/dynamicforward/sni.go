package dynamicforward

import (
	"errors"
	"sync"

	sniv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/dnscache"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/state"
)

// connections is the network filter, compiled; with a cache it is the running one.
type connections struct {
	plan *plan.DNSCache
	port uint16
	save bool

	cache *dnscache.Cache // nil: the proxy has none
}

func compileSNI(s *extension.Scope, m *sniv3.FilterConfig) filter.NetworkFactory {
	sniFields.Check(s, m)
	f := &connections{
		plan: dnscache.Compile(s.Field("dns_cache_config"), m.GetDnsCacheConfig()),
		port: 443, save: m.GetSaveUpstreamAddress(),
	}
	if p := m.GetPortValue(); p > 0 && p <= 65535 {
		f.port = uint16(p)
	}
	return f
}

// NewNetwork implements filter.NetworkFactory.
func (f *connections) NewNetwork(env *filter.Env) (filter.Network, error) {
	running := *f
	running.cache = dnscache.Of(env.Clusters, f.plan)
	return &running, nil
}

// Passive implements filter.Passive.
func (f *connections) Passive() bool { return true }

// WrapConn implements filter.Network.
func (f *connections) WrapConn(next filter.ConnHandler) filter.ConnHandler { return handler{f, next} }

type handler struct {
	*connections
	next filter.ConnHandler
}

// errFull is the reason of a close; Envoy gives none.
var errFull = errors.New("dynamic_forward_proxy_overflow")

// ServeConn implements filter.ConnHandler. A name that is not found is the cluster's to
// refuse.
func (h handler) ServeConn(c *filter.Conn) error {
	name, port := state.DynamicHost(&c.Info), h.port
	if name == "" {
		name = c.Info.Rest().Inspected.ServerName
	}
	if name == "" || h.cache == nil {
		return h.next.ServeConn(c)
	}
	if p, ok := state.DynamicPort(&c.Info); ok {
		port = p
	} else {
		c.Info.State.Set(filter.Entry{Name: state.DynamicPortKey, Object: state.Uint32(port)})
	}
	w := &held{conn: c}
	found, err := h.cache.Resolve(dnscache.Name(name, port), dnscache.Wait{Begins: w.begins})
	switch {
	case err == dnscache.ErrPending, err == dnscache.ErrFull:
		return c.Refuse(errFull)
	case err == filter.ErrCanceled:
		return c.Refuse(w.why())
	case err == nil && h.save:
		save(&c.Info, found)
	}
	return h.next.ServeConn(c)
}

// held is a connection that waits for a lookup, which lasts no longer than
// dns_query_timeout. It implements filter.Closer.
type held struct {
	conn *filter.Conn

	mu     sync.Mutex
	cancel chan struct{}
	reason string // "": nothing has ended it
}

func (w *held) begins() <-chan struct{} {
	w.cancel = make(chan struct{})
	w.conn.Accept()
	if !w.conn.Own(w) {
		w.CloseLocal(w.conn.Closing())
	}
	return w.cancel
}

// CloseLocal implements filter.Closer.
func (w *held) CloseLocal(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reason == "" {
		w.reason = reason
		close(w.cancel)
	}
}

// why is what has ended the connection.
func (w *held) why() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reason == "" {
		return errors.New("shutting_down")
	}
	return errors.New(w.reason)
}
