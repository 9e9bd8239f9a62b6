package upstream

import (
	"errors"
	"slices"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/health"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/outlier"
)

// watch makes what looks after the hosts' health; the checks begin with start.
func (c *Cluster) watch() {
	if p := c.plan.Outlier; p != nil {
		c.detector = outlier.New(outlier.Options{
			Plan: *p, Stats: c.stats.scope, Runtime: c.set.opts.Runtime, Changed: c.healed, Cluster: c.plan.Name, Events: c.set.opts.Outliers,
		}, 0)
	}
	if p := c.plan.Check; p != nil {
		codecs := c.codecs()
		c.checker = health.New(health.Options{
			Plan: p, Cluster: c.plan.Name, Stats: c.stats.scope, Used: c.stats.used.Load, Changed: c.healed,
			HTTP1: codecs.http1, HTTP2: codecs.http2, Events: c.events,
		})
	}
}

// care lets a new host be looked after, which old was before, if it is not nil.
func (c *Cluster) care(h, old *host) {
	if old != nil {
		old.heir = h
		h.outlier, h.ill, h.since = old.outlier, old.ill, old.since
		if old.transport == h.transport && !h.pass.on && sameCheck(old, h) {
			h.check = old.check
		}
	}
	if h.outlier == nil && c.detector != nil {
		h.outlier = c.detector.Add(h.Addr.String())
	}
	e := &h.endpoint.Load().Check
	if h.check == nil && c.checker != nil && !e.Disabled {
		h.check = c.checker.Watch(health.Target{
			Dial: newProbe(h).dial, Hostname: e.Hostname, Passed: h.passed, Addr: h.Addr, Metadata: h.Metadata, Locality: h.Locality,
		})
		c.continues(h)
	}
}

// sameCheck reports whether two hosts of one address are asked in the same way.
func sameCheck(a, b *host) bool {
	return a.endpoint.Load().Check == b.endpoint.Load().Check && slices.Equal(a.Additional, b.Additional)
}

// unwatch ends what watch began.
func (c *Cluster) unwatch() {
	c.changing.Lock()
	c.ended = true
	c.changing.Unlock()
	c.end()
	c.secures.close()
	if c.names != nil {
		c.names.close()
	}
	if c.eds != nil {
		c.eds.close()
	}
	if c.origin != nil {
		c.origin.close()
	}
	if c.checker != nil {
		c.checker.Close()
	}
	if c.detector != nil {
		c.detector.Close()
	}
}

func (c *Cluster) beginChecks() {
	c.changing.Lock()
	defer c.changing.Unlock()
	if c.checker == nil || c.checking || c.ended {
		return
	}
	c.checking = true
	var hosts []*health.Host
	for _, h := range c.roster.Load().hosts {
		if h.check != nil {
			hosts = append(hosts, h.check)
		}
	}
	c.checker.Start(hosts)
}

// begin checks a host that is new, once checks have begun.
func (c *Cluster) begin(h *health.Host) {
	c.changing.Lock()
	defer c.changing.Unlock()
	if c.checking {
		c.checker.Begin(h)
	}
}

// passed is told that the host has passed an active health check.
func (h *host) passed() {
	if h.outlier != nil {
		h.outlier.Checked()
	}
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

// healthy reports whether the host is as well as can be.
func (h *host) healthy() bool { return h.health(configured(h.endpoint.Load().Health)) == lb.Healthy }

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
