// Package tcpproxy is the network filter that connects a downstream connection to a
// host of a cluster and leaves the bytes to a pump.
//
// Its connections are hops: where the host is an internal listener the downstream
// stream itself may be handed over, and the hop stays behind as an observer.
package tcpproxy

import (
	"math"
	"math/rand/v2"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

// A Proxy serves the connections of one filter chain.
type Proxy struct {
	config *Config
	env    *filter.Env
	stats  *stats
	logs   []filter.AccessLog
}

// NewTerminal implements filter.TerminalFactory.
func (c *Config) NewTerminal(env *filter.Env) (filter.Terminal, error) {
	p := &Proxy{config: c, env: env, stats: newStats(env.Stats, c.StatPrefix)}
	for _, f := range c.AccessLogs {
		log, err := f.NewAccessLog(env)
		if err != nil {
			return nil, err
		}
		p.logs = append(p.logs, log)
	}
	return p, nil
}

// Passive implements filter.Passive: only early data is looked at here.
func (p *Proxy) Passive() bool { return p.config.Mode == Immediate }

// ServeConn implements filter.ConnHandler.
func (p *Proxy) ServeConn(c *filter.Conn) error {
	h := p.newHop(c)
	p.stats.total.Add(1)
	if !c.Own(h) {
		return h.fail(errClosing)
	}
	if p.config.LogOnStart {
		h.log(filter.TCPConnectionStart)
	}
	t, ok := p.route(c)
	if !ok {
		return h.fail(errNoCluster)
	}
	if err := h.awaitData(); err != nil {
		return h.fail(err)
	}
	p.addTLVs(&c.Info, t.cluster)
	if err := h.connect(t); err != nil {
		return h.fail(err)
	}
	if h.up.Stream() != nil { // else the stream was handed over, and h with it
		h.pump()
	}
	return nil
}

// A target is where a connection goes.
type target struct {
	cluster filter.Cluster
	match   *structpb.Struct // envoy.lb
	route   *corev3.Metadata // what passthrough metadata of kind route reads
}

// route chooses the cluster. A cluster named by filter state wins over a configured
// single one, but not over weighted ones (Envoy).
func (p *Proxy) route(c *filter.Conn) (target, bool) {
	name, meta := p.config.Cluster, p.config.Metadata
	if len(p.config.Weighted) > 0 {
		w := p.config.pick(rand.Uint64N(p.config.total))
		name, meta = w.Name, w.Metadata
	} else if o, ok := filter.Get[state.Name](&c.Info.State, state.ClusterKey); ok && o != "" {
		name = string(o)
	}
	cluster, ok := p.env.Clusters.Cluster(name)
	if !ok {
		return target{}, false
	}
	return target{cluster, criteria(meta, c.Info.Metadata), meta}, true
}

const subsetKey = "envoy.lb"

// criteria merges the subset criteria of the connection over those of the route.
func criteria(route *corev3.Metadata, dynamic filter.Metadata) *structpb.Struct {
	base, over := route.GetFilterMetadata()[subsetKey], dynamic[subsetKey]
	if base == nil || over == nil {
		if over != nil {
			return over
		}
		return base
	}
	out := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(base.Fields)+len(over.Fields))}
	for _, s := range []*structpb.Struct{base, over} {
		for k, v := range s.Fields {
			out.Fields[k] = v
		}
	}
	return out
}

// hash returns the hash that the first applicable hash policy gives, nil for none.
func (p *Proxy) hash(i *filter.Info) *uint64 {
	if p.config.Hash == nil {
		return nil
	}
	if h, ok := p.config.Hash(i); ok {
		return &h
	}
	return nil
}

// idleTimeout of a connection: filter state may override the configured one. Only an
// object made by the key's own factory does (Envoy).
func (p *Proxy) idleTimeout(i *filter.Info) time.Duration {
	ms, ok := filter.Get[state.Uint64](&i.State, state.IdleTimeoutKey)
	if !ok {
		return p.config.IdleTimeout
	}
	if ms > state.Uint64(math.MaxInt64/time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(ms) * time.Millisecond
}

// maxDuration of a connection, with its jitter; 0: none.
func (p *Proxy) maxDuration() time.Duration {
	d := p.config.MaxDuration
	if d > 0 && p.config.MaxDurationJitter > 0 {
		d += time.Duration(rand.Float64() * p.config.MaxDurationJitter * float64(d))
	}
	return d
}
