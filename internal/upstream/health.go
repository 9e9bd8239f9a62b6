package upstream

import (
	"errors"
	"math/rand/v2"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/health"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/outlier"
)

// watch begins to look after the hosts' health; the checks begin with check.
func (c *Cluster) watch() {
	c.watchChecks()
	p := c.plan.Outlier
	if p == nil {
		return
	}
	c.detector = outlier.New(outlier.Options{
		Plan: *p, Stats: c.stats.scope, Runtime: c.set.opts.Runtime, Changed: c.healed,
	}, len(c.hosts))
	for i, h := range c.hosts {
		h.outlier = c.detector.Host(i)
	}
}

// unwatch ends what watch began.
func (c *Cluster) unwatch() {
	if c.checker != nil {
		c.checker.Close()
	}
	if c.detector != nil {
		c.detector.Close()
	}
}

// watchChecks makes the active health checks, if there are any.
func (c *Cluster) watchChecks() {
	p := c.plan.Check
	if p == nil {
		return
	}
	codecs := c.codecs()
	c.checker = health.New(health.Options{
		Plan: p, Cluster: c.plan.Name, Stats: c.stats.scope, Used: c.stats.used.Load, Changed: c.healed,
		HTTP1: codecs.http1, HTTP2: codecs.http2,
	})
	for _, h := range c.hosts {
		if e := &h.endpoint.Check; !e.Disabled {
			h.check = c.checker.Watch(health.Target{Dial: newProbe(h).dial, Hostname: e.Hostname, Passed: h.passed})
		}
	}
}

// check begins the active health checks; further calls do nothing.
func (c *Cluster) check() { c.checks.Do(c.beginChecks) }

func (c *Cluster) beginChecks() {
	if c.checker == nil {
		return
	}
	var hosts []*health.Host
	for _, h := range c.hosts {
		if h.check != nil {
			hosts = append(hosts, h.check)
		}
	}
	c.checker.Start(hosts)
}

// passed is told that the host has passed an active health check.
func (h *host) passed() {
	if h.outlier != nil {
		h.outlier.Checked()
	}
}

// current returns the members with their health as it is now.
func (c *Cluster) current() lb.Hosts {
	out := c.members
	out.Localities = make([]lb.Locality, len(c.members.Localities))
	for i, l := range c.members.Localities {
		endpoints := make([]lb.Endpoint, len(l.Endpoints))
		for j, e := range l.Endpoints {
			e.Health = c.byHost[e.Host].health(e.Health)
			endpoints[j] = e
		}
		l.Endpoints = endpoints
		out.Localities[i] = l
	}
	return out
}

// health is how far the host may be used, which is configured for something else.
func (h *host) health(configured lb.Health) lb.Health {
	switch {
	case configured == lb.Excluded, h.check != nil && h.check.Excluded():
		return lb.Excluded
	case configured == lb.Unhealthy, h.check != nil && h.check.Failed(), h.outlier != nil && h.outlier.Ejected():
		return lb.Unhealthy
	case h.check != nil && h.check.Degraded():
		return lb.Degraded
	}
	return configured
}

// healed lets the cluster choose by the health that its hosts have now. Connections to
// those that became unhealthy are not kept: others may do better (Envoy).
func (c *Cluster) healed() {
	c.healing.Lock()
	defer c.healing.Unlock()
	c.balancer.Store(lb.New(c.policy(), c.current(), rand.Uint64()))
	c.stats.healed(c)
	for _, h := range c.hosts {
		health := h.health(lb.Healthy)
		ill := health == lb.Unhealthy || health == lb.Excluded
		if ill && !h.ill {
			h.pools.renew()
		}
		h.ill = ill
	}
}

// noStream is told why there was no stream for a request.
func (h *host) noStream(err error) {
	if err != filter.ErrCanceled && err != filter.ErrPendingOverflow {
		h.requests.failed.Add(1)
	}
	h.failed(err)
}

// failed is told why there was no connection.
func (h *host) failed(err error) {
	var c *filter.ConnectError
	switch {
	case h.outlier == nil:
	case err == filter.ErrConnectTimeout:
		h.outlier.TimedOut()
	case errors.As(err, &c):
		h.outlier.Failed()
	}
}

// outcome is told what became of a request; see filter.UpstreamStream.
func (h *host) outcome(status int, why *httpmsg.ResetError) {
	local := status == 0 && (why == nil || why.Reason == httpmsg.ConnectionTimeout) // a time limit of this side
	switch {
	case status > 0 && status < 500:
		h.requests.succeeded.Add(1)
	case local:
		h.requests.timedOut.Add(1)
		fallthrough // Envoy
	default:
		h.requests.failed.Add(1)
	}
	switch {
	case h.outlier == nil, status == 0 && !local && why.Reason == httpmsg.Overflow:
	case status > 0:
		h.outlier.Answered(status)
	case local:
		h.outlier.TimedOut()
	default:
		h.outlier.Failed()
	}
}
