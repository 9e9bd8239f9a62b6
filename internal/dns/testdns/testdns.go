// Package testdns answers for name servers in tests.
package testdns

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/ginnel/ginnel/internal/dns"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Directory knows names. Once it is asked, its fields change in Set alone.
type Directory struct {
	Addrs map[string][]string
	TTL   time.Duration
	Slow  time.Duration // until it answers
	Down  bool          // it knows nothing

	mu    sync.Mutex
	asked int
}

// Lookup answers as a resolver does.
func (d *Directory) Lookup(ctx context.Context, name string, _ plan.NameFamily) (dns.Answer, error) {
	var slow time.Duration
	d.Set(func() { slow = d.Slow })
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return dns.Answer{}, ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.Down {
		return dns.Answer{}, errors.New("nobody knows")
	}
	a := dns.Answer{TTL: d.TTL, Missing: d.Addrs[name] == nil}
	for _, text := range d.Addrs[name] {
		a.Addrs = append(a.Addrs, netip.MustParseAddr(text))
	}
	return a, nil
}

// Set changes the directory while it may be asked.
func (d *Directory) Set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// Since returns how often it was asked since the last time.
func (d *Directory) Since() (n int) {
	d.Set(func() { n, d.asked = d.asked, 0 })
	return n
}
