// Package dns looks up the addresses of names, with the time for which an answer holds:
// in the hosts file first, then by asking name servers.
package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/ginnel/ginnel/internal/plan"
)

// An Answer is what a name stands for.
type Answer struct {
	Addrs []netip.Addr  // none: the name does not exist, or has no address of that family
	TTL   time.Duration // of the record that ends first; 0: nobody said
	// Missing tells that there is no such name, not even one with other records.
	Missing bool
}

// A ServerError is what a name server said in place of an answer.
type ServerError struct {
	Server string
	Code   int // the RCODE
}

func (e *ServerError) Error() string {
	return fmt.Sprintf("%s answers %s", e.Server, dns.RcodeToString[e.Code])
}

// A Resolver looks names up. It is safe for concurrent use.
type Resolver struct {
	config  plan.NameServers
	servers []string
	search  *dns.ClientConfig
	hosts   net.Resolver
	turn    atomic.Uint32
}

const systemConfig = "/etc/resolv.conf"

var (
	errNoServer      = errors.New("there is no name server")
	errOtherQuestion = errors.New("the name server answered another question")
)

// New returns a resolver. What the system configures is read now.
func New(c plan.NameServers) *Resolver {
	r := &Resolver{config: c}
	if r.config.Timeout == 0 {
		r.config.Timeout = 5 * time.Second
	}
	if r.config.Tries == 0 {
		r.config.Tries = 4
	}
	r.search = &dns.ClientConfig{Ndots: 1}
	if system, err := dns.ClientConfigFromFile(systemConfig); err == nil {
		r.search = system
	}
	if len(c.Servers) == 0 || c.Fallback && len(r.search.Servers) > 0 {
		for _, s := range r.search.Servers {
			r.servers = append(r.servers, net.JoinHostPort(s, r.search.Port))
		}
	} else {
		for _, s := range c.Servers {
			r.servers = append(r.servers, s.String())
		}
	}
	// What is in the hosts file is found before anything is dialled.
	r.hosts = net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, os.ErrPermission
	}}
	return r
}

// Lookup returns the addresses of a name, which may be an address itself. An error means
// that nobody knows: who asks keeps what was known before.
func (r *Resolver) Lookup(ctx context.Context, name string, f plan.NameFamily) (Answer, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return Answer{Addrs: []netip.Addr{a}}, nil
	}
	one, other := uint16(dns.TypeAAAA), uint16(dns.TypeA)
	if f == plan.V4Only || f == plan.V4Preferred {
		one, other = other, one
	}
	a, err := r.find(ctx, name, one)
	if f == plan.V4Only || f == plan.V6Only || f != plan.AllFamilies && len(a.Addrs) > 0 {
		return a, err
	}
	b, otherErr := r.find(ctx, name, other)
	if f == plan.AllFamilies {
		b = both(b, a) // IPv4 first, as c-ares lists them
	}
	if err = cmp.Or(otherErr, err); err != nil && len(b.Addrs) == 0 {
		return Answer{}, err // there may be addresses of the family that nobody answered for
	}
	return b, nil
}

func both(a, b Answer) Answer {
	out := Answer{Addrs: append(a.Addrs[:len(a.Addrs):len(a.Addrs)], b.Addrs...), TTL: a.TTL}
	if len(a.Addrs) == 0 || len(b.Addrs) > 0 && b.TTL < a.TTL {
		out.TTL = b.TTL
	}
	out.Missing = a.Missing && b.Missing
	return out
}

// find looks for records of one type, under the name and then in the search domains.
func (r *Resolver) find(ctx context.Context, name string, kind uint16) (Answer, error) {
	if a := r.inHosts(ctx, name, kind); len(a) > 0 {
		return Answer{Addrs: a}, nil
	}
	names := []string{dns.Fqdn(name)}
	if !r.config.NoSearch {
		names = r.search.NameList(name)
	}
	var last Answer
	for _, n := range names {
		a, err := r.ask(ctx, n, kind)
		if err != nil || len(a.Addrs) > 0 {
			return a, err
		}
		last = a
	}
	return last, nil
}

func (r *Resolver) inHosts(ctx context.Context, name string, kind uint16) []netip.Addr {
	network := "ip4"
	if kind == dns.TypeAAAA {
		network = "ip6"
	}
	found, err := r.hosts.LookupNetIP(ctx, network, strings.TrimSuffix(name, "."))
	if err != nil {
		return nil
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return found
}

// ask asks the servers until one of them knows.
func (r *Resolver) ask(ctx context.Context, name string, kind uint16) (Answer, error) {
	q := new(dns.Msg).SetQuestion(name, kind)
	q.SetEdns0(1232, false)
	err := errNoServer
	first := 0
	if r.config.Rotate {
		first = int(r.turn.Add(1) - 1)
	}
	for try := range r.config.Tries {
		if len(r.servers) == 0 || ctx.Err() != nil {
			break
		}
		var m *dns.Msg
		if m, err = r.exchange(ctx, q, r.servers[(first+try)%len(r.servers)]); err == nil {
			return answer(m, kind), nil
		}
	}
	return Answer{}, fmt.Errorf("look up %s: %w", name, err)
}

// exchange asks one server; over TCP what does not fit in a datagram.
func (r *Resolver) exchange(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	network := "udp"
	if r.config.TCP {
		network = "tcp"
	}
	m, err := r.once(ctx, q, network, server)
	if err == nil && m.Rcode == dns.RcodeFormatError && m.IsEdns0() == nil {
		q = q.Copy()
		q.Extra = nil // an old server, which does not know EDNS
		m, err = r.once(ctx, q, network, server)
	}
	if err == nil && m.Truncated && !r.config.TCP {
		m, err = r.once(ctx, q, "tcp", server)
	}
	switch {
	case err != nil:
		return nil, err
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, &ServerError{server, m.Rcode}
	}
	return m, nil
}

// once sends one question and waits for its answer until ctx ends, which dns.Client alone
// does not look at.
func (r *Resolver) once(ctx context.Context, q *dns.Msg, network, server string) (*dns.Msg, error) {
	c := dns.Client{Net: network, Timeout: r.config.Timeout}
	conn, err := c.DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	q = q.Copy()
	q.Id = dns.Id()
	m, _, err := c.ExchangeWithConnContext(ctx, q, conn)
	if err == nil && m.Rcode != dns.RcodeFormatError && !isReply(m, q) {
		return nil, errOtherQuestion
	}
	return m, err
}

// isReply reports whether m is for the question of q, and not for an earlier one.
func isReply(m, q *dns.Msg) bool {
	if !m.Response || len(m.Question) != 1 {
		return false
	}
	is, want := m.Question[0], q.Question[0]
	return is.Qtype == want.Qtype && is.Qclass == want.Qclass && strings.EqualFold(is.Name, want.Name)
}

// answer reads the addresses of a message. The names that led to them count for how long
// they hold.
func answer(m *dns.Msg, kind uint16) Answer {
	out := Answer{Missing: m.Rcode == dns.RcodeNameError}
	ttl, known := uint32(0), false
	for _, rr := range m.Answer {
		if rr.Header().Class != dns.ClassINET {
			continue
		}
		var addr net.IP
		switch rr := rr.(type) {
		case *dns.A:
			addr = rr.A.To4()
		case *dns.AAAA:
			addr = rr.AAAA
		case *dns.CNAME:
		default:
			continue
		}
		if h := rr.Header(); h.Rrtype == kind || h.Rrtype == dns.TypeCNAME {
			if !known || h.Ttl < ttl {
				ttl, known = h.Ttl, true
			}
			if a, ok := netip.AddrFromSlice(addr); ok {
				out.Addrs = append(out.Addrs, a)
			}
		}
	}
	out.TTL = time.Duration(ttl) * time.Second
	return out
}
