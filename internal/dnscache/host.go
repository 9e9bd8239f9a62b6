package dnscache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/dns"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Host is a name that was asked for.
type Host struct {
	Name  string // with its port
	cache *Cache
	host  string
	port  uint16
	used  atomic.Int64 // when it was asked for last, in nanoseconds since the cache was made
	first chan struct{}

	// Guarded by cache.mu.
	addrs   []net.Addr // replaced, never changed; nil: none was found yet
	details string     // why there are none
	known   bool       // there has been an answer, or none will come
	stale   bool       // it is to be looked up when it is asked for
	gone    bool
	asking  bool // a lookup is under way
	timer   *time.Timer
	fails   dns.Backoff
}

// Touch tells that the host is in use.
func (h *Host) Touch() { h.used.Store(int64(time.Since(h.cache.born))) }

// Addrs returns where the host is. It is for Watchers: others ask Resolve.
func (h *Host) Addrs() []net.Addr { return h.addrs }

// Addr returns the first address; it is for hosts that Resolve returned.
func (h *Host) Addr() net.Addr {
	h.cache.mu.Lock()
	defer h.cache.mu.Unlock()
	return h.addrs[0]
}

func (h *Host) result(waited bool) (*Host, error) {
	h.cache.mu.Lock()
	defer h.cache.mu.Unlock()
	switch {
	case h.addrs != nil:
		return h, nil
	case h.cache.ended:
		return nil, filter.ErrCanceled
	}
	return nil, &FailedError{h.details, waited}
}

// await waits for the first answer.
func (h *Host) await(w Wait) error {
	select {
	case <-h.first:
		return nil
	default:
	}
	cancel := w.Begins()
	if w.Ends != nil {
		defer w.Ends()
	}
	var late <-chan time.Time
	if !w.Until.IsZero() {
		t := time.NewTimer(time.Until(w.Until))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-h.first:
		return nil
	case <-cancel:
	case <-late:
	}
	return filter.ErrCanceled
}

// settled tells those who wait that there is an answer. cache.mu is held.
func (h *Host) settled() {
	if !h.known {
		h.known = true
		close(h.first)
	}
}

func (h *Host) stop() {
	if h.timer != nil {
		h.timer.Stop()
	}
}

// begin looks a host up, unless that is being done. c.mu is held.
func (c *Cache) begin(h *Host) {
	if h.asking || c.ended {
		return
	}
	h.asking, h.stale = true, false
	h.stop()
	c.stats.attempt.Add(1)
	c.tasks.Go(func() { c.find(h) })
}

// find is one lookup.
func (c *Cache) find(h *Host) {
	ctx, cancel := c.ctx, context.CancelFunc(func() {})
	if d := c.plan.QueryTimeout; d > 0 {
		ctx, cancel = context.WithTimeout(ctx, d)
	}
	defer cancel()
	var a dns.Answer
	var err error
	if ip, bad := netip.ParseAddr(bare(h.host)); bad == nil && ip.Is6() && c.plan.Family == plan.V4Only {
		err = errNotV4
	} else {
		a, err = c.lookup(ctx, bare(h.host), c.plan.Family)
	}
	until, limited := ctx.Deadline()
	late := err != nil && limited && !time.Now().Before(until) // a socket may know before ctx does
	c.mu.Lock()
	defer c.mu.Unlock()
	h.asking = false
	if c.ended || h.gone {
		return
	}
	c.settle(h, a, err, late)
}

// settle takes the result of a lookup. c.mu is held.
func (c *Cache) settle(h *Host, a dns.Answer, err error, late bool) {
	switch {
	case late:
		c.stats.timeout.Add(1)
		c.stats.failure.Add(1)
		h.details = "resolve_timeout"
	case err != nil:
		c.stats.failure.Add(1)
		h.details = "cares_failure:" + words(err)
	default:
		c.stats.success.Add(1)
		h.details = "cares_norecords:" + missing(a)
	}
	addrs, filtered := c.addresses(h, a.Addrs)
	if filtered && len(addrs) == 0 {
		err, h.details = errFiltered, "address_denied"
	}
	if len(addrs) > 0 && !same(addrs, h.addrs) {
		h.addrs = addrs
		c.stats.changed.Add(1)
		for _, w := range c.watchers {
			w.Found(h)
		}
	}
	h.settled()
	c.again(h, a, err)
}

var (
	errNotV4    = errors.New("misformatted domain name") // as c-ares says of what is IPv6
	errFiltered = errors.New("all addresses are filtered out")
)

// addresses are those of an answer that may be used.
func (c *Cache) addresses(h *Host, in []netip.Addr) (out []net.Addr, anyFiltered bool) {
	for _, a := range in {
		if filtered(c.plan, a) {
			c.stats.filtered.Add(1)
			anyFiltered = true
			continue
		}
		out = append(out, filter.IPAddr{AddrPort: netip.AddrPortFrom(a, h.port)})
	}
	return out, anyFiltered
}

// again sees to the next lookup. c.mu is held.
func (c *Cache) again(h *Host, a dns.Answer, err error) {
	var wait time.Duration
	switch {
	case err != nil && c.plan.ForgetFailed:
		h.stale = true
		wait = c.plan.HostTTL // until it is forgotten
	case err != nil:
		wait = max(h.fails.Next(), c.plan.LeastRefresh)
	case len(a.Addrs) == 0:
		h.fails = c.backoff()
		wait = c.plan.Refresh
	default:
		h.fails = c.backoff()
		wait = max(a.TTL, c.plan.LeastRefresh)
	}
	h.timer = time.AfterFunc(wait, func() { c.due(h) })
}

// due looks a host up again, or forgets it if nobody asked for it.
func (c *Cache) due(h *Host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended || h.gone:
	case time.Since(c.born)-time.Duration(h.used.Load()) >= c.plan.HostTTL:
		c.remove(h)
		c.doze()
	case h.stale:
		h.timer = time.AfterFunc(c.plan.HostTTL, func() { c.due(h) })
	default:
		c.begin(h)
	}
}

// missing says as c-ares why an answer has no address.
func missing(a dns.Answer) string {
	if a.Missing {
		return "Domain name not found"
	}
	return "DNS server returned answer with no data"
}

// words is an error as c-ares says it.
func words(err error) string {
	var s *dns.ServerError
	switch {
	case err == errNotV4:
		return "Misformatted domain name"
	case errors.As(err, &s):
		if text, ok := map[int]string{
			mdns.RcodeServerFailure: "DNS server returned general failure", mdns.RcodeRefused: "DNS server refused query",
			mdns.RcodeFormatError:    "DNS server claims query was misformatted",
			mdns.RcodeNotImplemented: "DNS server does not implement requested operation",
		}[s.Code]; ok {
			return text
		}
		return fmt.Sprintf("DNS server answered %s", mdns.RcodeToString[s.Code])
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), strings.Contains(err.Error(), "timeout"):
		return "Timeout while contacting DNS servers"
	}
	return "Could not contact DNS servers"
}
