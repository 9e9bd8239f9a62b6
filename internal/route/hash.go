package route

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// A hashPolicy makes a hash of a request, or none. cookie is told of a cookie that was
// made, as its set-cookie line; nil: none are made.
type hashPolicy struct {
	hash     func(r *httpmsg.Request, info *filter.Info, cookie func(line string)) (uint64, bool)
	terminal bool
}

// Hash returns the hash that chooses a host for a request; false: there is none. cookies
// are lines of set-cookie that the response must get.
func (p *Policies) Hash(r *httpmsg.Request, info *filter.Info) (hash uint64, cookies []string, ok bool) {
	if len(p.hashes) == 0 {
		return 0, nil, false
	}
	return p.hashWithCookies(r, info) // apart, for it makes a closure
}

func (p *Policies) hashWithCookies(r *httpmsg.Request, info *filter.Info) (hash uint64, cookies []string, ok bool) {
	hash, ok = p.hash(r, info, func(line string) { cookies = append(cookies, line) })
	return hash, cookies, ok
}

func (p *Policies) hash(r *httpmsg.Request, info *filter.Info, cookie func(string)) (hash uint64, ok bool) {
	for i := range p.hashes {
		one := &p.hashes[i]
		if h, has := one.hash(r, info, cookie); has {
			// Turned, so that policies that say the same do not cancel each other out.
			hash, ok = (hash<<1|hash>>63)^h, true
		}
		if ok && one.terminal {
			break
		}
	}
	return hash, ok
}

func hashPolicies(s *extension.Scope, list []*routev3.RouteAction_HashPolicy) []hashPolicy {
	var out []hashPolicy
	for i, m := range list {
		p := hashPolicy{terminal: m.GetTerminal()}
		hashFields.Check(s.Index(i), m)
		switch x := m.GetPolicySpecifier().(type) {
		case *routev3.RouteAction_HashPolicy_Header_:
			p.hash = headerHash(s.Index(i).Field("header"), x.Header)
		case *routev3.RouteAction_HashPolicy_Cookie_:
			p.hash = cookieHash(s.Index(i).Field("cookie"), x.Cookie)
		case *routev3.RouteAction_HashPolicy_ConnectionProperties_:
			if !x.ConnectionProperties.GetSourceIp() {
				continue
			}
			p.hash = sourceHash
		case *routev3.RouteAction_HashPolicy_QueryParameter_:
			name := x.QueryParameter.GetName()
			p.hash = func(r *httpmsg.Request, _ *filter.Info, _ func(string)) (uint64, bool) {
				v, ok := httpmatch.Parameter(r.Path, name)
				return xxhash.Sum64String(v), ok
			}
		case *routev3.RouteAction_HashPolicy_FilterState_:
			p.hash = stateHash(x.FilterState.GetKey())
		default:
			s.Index(i).Errorf("hash policy not set")
			continue
		}
		out = append(out, p)
	}
	return out
}

// headerHash hashes the values of all lines of a header, whatever their order.
func headerHash(s *extension.Scope, m *routev3.RouteAction_HashPolicy_Header) func(*httpmsg.Request, *filter.Info, func(string)) (uint64, bool) {
	headerHashFields.Check(s, m)
	name := lowerCase(m.GetHeaderName())
	var rewrite *httpmatch.Substitution
	if m.GetRegexRewrite() != nil {
		rewrite = httpmatch.Substitute(s.Field("regex_rewrite"), m.GetRegexRewrite())
	}
	return func(r *httpmsg.Request, _ *filter.Info, _ func(string)) (uint64, bool) {
		var few [4]string
		values := few[:0]
		for v := range r.Values(name) {
			if rewrite != nil {
				v, _ = rewrite.Replace(v)
			}
			values = append(values, v)
		}
		return hashAll(values), len(values) > 0
	}
}

// hashAll hashes texts one after the other, each with the hash before as its seed (Envoy).
func hashAll(values []string) (hash uint64) {
	if len(values) == 1 {
		return xxhash.Sum64String(values[0])
	}
	slices.Sort(values)
	for _, v := range values {
		d := xxhash.NewWithSeed(hash)
		_, _ = d.WriteString(v)
		hash = d.Sum64()
	}
	return hash
}

func sourceHash(_ *httpmsg.Request, info *filter.Info, _ func(string)) (uint64, bool) {
	ap, ok := filter.IP(info.Remote)
	if !ok {
		return 0, false
	}
	var text [64]byte
	return xxhash.Sum64(ap.Addr().Unmap().AppendTo(text[:0])), true
}

func stateHash(key string) func(*httpmsg.Request, *filter.Info, func(string)) (uint64, bool) {
	return func(_ *httpmsg.Request, info *filter.Info, _ func(string)) (uint64, bool) {
		o, _ := info.State.Get(key)
		if h, ok := o.(filter.Hashable); ok {
			return h.Hash()
		}
		return 0, false
	}
}

// cookieHash hashes a cookie. With a ttl, a client that has none is given one.
func cookieHash(s *extension.Scope, m *routev3.RouteAction_HashPolicy_Cookie) func(*httpmsg.Request, *filter.Info, func(string)) (uint64, bool) {
	cookieHashFields.Check(s, m)
	name, attributes, give := m.GetName(), cookieAttributes(m), m.GetTtl() != nil
	return func(r *httpmsg.Request, info *filter.Info, cookie func(string)) (uint64, bool) {
		v, _ := httpmatch.CookieValue(r.Header, name)
		switch {
		case v != "":
			return xxhash.Sum64String(v), true
		case !give || cookie == nil:
			return 0, false
		}
		v = newCookie(info)
		cookie(name + `="` + v + `"` + attributes)
		return xxhash.Sum64String(v), true
	}
}

// newCookie is a value that is the same for all requests of a connection (Envoy).
func newCookie(info *filter.Info) string {
	var text []byte
	for _, a := range []interface{ String() string }{info.Remote, info.Local} {
		if a != nil {
			text = append(text, a.String()...)
		}
	}
	hex := strconv.FormatUint(xxhash.Sum64(text), 16)
	return strings.Repeat("0", 16-len(hex)) + hex
}

func cookieAttributes(m *routev3.RouteAction_HashPolicy_Cookie) string {
	var b strings.Builder
	if ttl := m.GetTtl().AsDuration(); ttl >= time.Second {
		b.WriteString("; Max-Age=" + strconv.FormatInt(int64(ttl/time.Second), 10))
	}
	if m.GetPath() != "" {
		b.WriteString("; Path=" + m.GetPath())
	}
	for _, a := range m.GetAttributes() {
		b.WriteString("; " + a.GetName())
		if a.GetValue() != "" {
			b.WriteString("=" + a.GetValue())
		}
	}
	return b.String() + "; HttpOnly"
}
