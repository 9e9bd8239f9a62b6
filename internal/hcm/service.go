package hcm

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/machine"
	"github.com/ginnel/ginnel/internal/route"
)

// A service serves the connections of one filter chain.
type service struct {
	config   *Config
	routes   atomic.Pointer[route.Table]
	env      *filter.Env
	stats    *stats
	logs     []filter.AccessLog
	local    filter.HTTPLocal
	handler  *chain // the filters
	upgrades []upgradeHandler
	codec    func(Codec, *conn) httpmsg.Server
	machine  func() string // the address of this machine
	date     date
	proxy    *proxyStatus // nil: not said
	streams  sync.Pool    // of *stream
}

// An upgradeHandler serves requests for an upgrade.
type upgradeHandler struct {
	kind    string
	enabled bool
	handler filter.HTTPHandler // nil: that of other requests
}

// NewTerminal implements filter.TerminalFactory.
func (c *Config) NewTerminal(env *filter.Env) (filter.Terminal, error) {
	sv := &service{config: c, env: env, stats: newStats(env.Stats, c.StatPrefix)}
	if env.ListenerStats != nil {
		sv.stats.listener.of(env.ListenerStats.Scope("http." + c.StatPrefix + "."))
	}
	if c.RouteStats {
		s := env.Stats.Scope("http." + c.StatPrefix + ".")
		sv.stats.rqResolving = s.Histogram("downstream_rq_route_resolution_time_us")
		sv.stats.rqResolutions = s.Histogram("downstream_rq_route_resolutions")
	}
	sv.machine = sync.OnceValue(machine.Address)
	sv.streams.New = func() any { return newStream() }
	sv.codec = newCodecs(c.Codecs, env, sv.stats).server
	sv.local = filter.HTTPLocal{StatPrefix: c.StatPrefix, ServerName: c.Response.serverName, Address: sv.machine}
	if n := env.Node; n != nil {
		sv.local.NodeID, sv.local.Cluster = n.GetId(), n.GetCluster()
	}
	sv.proxy = c.Response.proxyStatus.named(&sv.local)
	for _, f := range c.Logs.factories {
		log, err := f.NewAccessLog(env)
		if err != nil {
			return nil, err
		}
		sv.logs = append(sv.logs, log)
	}
	sv.routes.Store(c.Routes)
	if err := sv.build(); err != nil {
		return nil, err
	}
	if c.RDS != nil {
		sv.subscribe(c.RDS)
	}
	return sv, nil
}

// build makes the filters.
func (sv *service) build() (err error) {
	if sv.handler, err = sv.chain(sv.config.Filters); err != nil {
		return err
	}
	for _, u := range sv.config.Upgrades {
		h := upgradeHandler{kind: u.kind, enabled: u.enabled}
		if u.filters != nil {
			own, err := sv.chain(u.filters)
			if err != nil {
				return err
			}
			h.handler = own
		}
		sv.upgrades = append(sv.upgrades, h)
	}
	return nil
}

// upgrade returns what is configured for a kind of upgrade, in lower
// case; nil: nothing.
func (sv *service) upgrade(kind string) *upgradeHandler {
	for i := range sv.upgrades {
		if u := &sv.upgrades[i]; u.kind == kind {
			return u
		}
	}
	return nil
}

// grace is the time between the announcement of a connection's end and the end.
func (sv *service) grace() time.Duration {
	l := &sv.config.Limits
	d := l.drain
	if l.drainJitter > 0 {
		d += time.Duration(rand.Float64() * l.drainJitter * float64(d))
	}
	return d
}
