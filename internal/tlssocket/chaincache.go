package tlssocket

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"sync"
	"time"
)

// A chainCache remembers chains that were found good. What it holds is bounded, and so is
// for how long.
type chainCache struct {
	mu   sync.Mutex
	good map[[sha256.Size]byte]time.Time // until when
}

const (
	cacheChains = 4096
	cacheTime   = time.Hour
)

// cacheKey is the chain's bytes and what is asked beside the configuration.
func cacheKey(chain []*x509.Certificate, names []string) (key [sha256.Size]byte) {
	h := sha256.New()
	for _, c := range chain {
		h.Write(c.Raw) // DER says how long it is
	}
	for _, n := range names {
		fmt.Fprintf(h, "%d:%s", len(n), n)
	}
	h.Sum(key[:0])
	return key
}

func (c *chainCache) has(key [sha256.Size]byte, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.good[key]
	if ok && !now.Before(until) {
		delete(c.good, key)
		return false
	}
	return ok
}

func (c *chainCache) put(key [sha256.Size]byte, until, now time.Time) {
	if !now.Before(until) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.good == nil || len(c.good) >= cacheChains { // all are soon there again
		c.good = make(map[[sha256.Size]byte]time.Time)
	}
	c.good[key] = until
}
