package http2

import (
	"math/rand/v2"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
)

// keepaliveData is the payload of PINGs at intervals; nobody needs to tell them apart.
var keepaliveData = [8]byte{'g', 'i', 'n', 'n', 'e', 'l'}

// startKeepalive begins the interval of the first PING. It holds mu.
func (c *conn) startKeepalive() {
	if c.o.Keepalive.Interval > 0 && !c.ended {
		c.keepalive = time.AfterFunc(c.interval(), c.keepaliveDue)
	}
}

func (c *conn) interval() time.Duration {
	k := &c.o.Keepalive
	return k.Interval + time.Duration(rand.Float64()*k.Jitter*float64(k.Interval))
}

// ping sends a PING and begins the wait for its answer. It holds mu.
func (c *conn) ping() {
	c.out = appendPing(c.queue(), 0, keepaliveData)
	c.flush()
	c.pinging, c.expecting = true, true
	c.pinged.Store(c.reads.Load())
	if c.keepalive == nil {
		c.keepalive = time.AfterFunc(c.o.Keepalive.Timeout, c.keepaliveDue)
	} else {
		c.keepalive.Reset(c.o.Keepalive.Timeout)
	}
}

// keepaliveDue is what the timer runs: a PING is to be sent, or an answer is missing.
func (c *conn) keepaliveDue() {
	c.mu.Lock()
	switch {
	case c.ended:
	case !c.expecting:
		c.ping()
	case !c.pinging:
		c.expecting = false
		if k := &c.o.Keepalive; k.Interval > 0 {
			c.keepalive.Reset(max(c.interval()-k.Timeout, 0))
		}
	case c.reads.Load() != c.pinged.Load(): // what came shows that the peer is there
		c.pinged.Store(c.reads.Load())
		c.keepalive.Reset(c.o.Keepalive.Timeout)
	default:
		c.mu.Unlock()
		c.o.Stats.count(statKeepalive)
		why := &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination, Details: detailKeepalive}
		c.end(why, xhttp2.ErrCodeNo, "keepalive timeout", false)
		c.interrupt()
		return
	}
	c.mu.Unlock()
}
