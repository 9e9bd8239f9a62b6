package route

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A Table is a compiled RouteConfiguration. It is immutable.
type Table struct {
	Name string
	// InternalOnly are headers, in lower case, that requests from outside lose before
	// anything else looks at them.
	InternalOnly []string
	Metadata     *corev3.Metadata // nil: none

	hosts        domains
	hostHeader   string // names virtual hosts in place of :authority; "": none
	ignorePort   bool
	ignoreParams bool
}

// A Query asks where a request goes.
type Query struct {
	Request *httpmsg.Request
	Info    *filter.Info   // of the request
	Random  uint64         // decides fractions and weights; the same for a request's whole life
	Runtime filter.Runtime // nil: no key has a value
}

// A VirtualHost is what the routes of one have in common.
type VirtualHost struct {
	Name     string
	Metadata *corev3.Metadata // nil: none
	// AttemptCount adds x-envoy-attempt-count to requests, AttemptCountInResponse to
	// responses.
	AttemptCount, AttemptCountInResponse bool
	// TimeoutRetryHeader adds x-envoy-is-timeout-retry to retries after a per-try timeout.
	TimeoutRetryHeader bool

	ignoreParams bool // as its table
	tls          tlsRequirement
	redirect     *Route // for those who must come by TLS
	routes       []Route
	tree         *tree // finds the routes; nil: they are routes
	clusters     []virtualCluster
}

type tlsRequirement uint8

const (
	tlsNone tlsRequirement = iota
	tlsExternal
	tlsAll
)

// Match returns the route of a request; nil: none.
func (t *Table) Match(q *Query) *Route {
	h := t.hosts.find(t.authority(q.Request))
	if h == nil {
		return nil
	}
	return h.match(q, t.ignoreParams)
}

// authority is what virtual hosts are found by.
func (t *Table) authority(r *httpmsg.Request) string {
	a := r.Authority
	if t.hostHeader != "" {
		a = r.Get(t.hostHeader)
	}
	if t.ignorePort {
		a = a[:portStart(a)]
	}
	return a
}

// portStart returns where the port of an authority begins, with its colon; the end if
// there is none.
func portStart(a string) int {
	i := strings.LastIndexByte(a, ':')
	if i < 0 || strings.LastIndexByte(a, ']') > i {
		return len(a)
	}
	return i
}

func (h *VirtualHost) match(q *Query, ignoreParams bool) *Route {
	if h.tls != tlsNone {
		switch proto := q.Request.Header.Get("x-forwarded-proto"); {
		case proto == "": // Envoy: no route without it
			return nil
		case proto != "https" && (h.tls == tlsAll || q.Request.Header.Get("x-envoy-internal") != "true"):
			return h.redirect
		}
	}
	path := withoutQuery(q.Request.Path)
	if ignoreParams {
		path = withoutParams(path)
	}
	routes := h.routes
	if h.tree != nil {
		routes, _ = h.tree.Match(*q, nil) // all that counts is known: nothing is undecided
	}
	for i := range routes {
		if r := &routes[i]; r.match.fits(q, path) {
			return r.pick(q)
		}
	}
	return nil
}

// VirtualCluster returns the name of the virtual cluster of a request: "other" where
// there are some and none fits, "" where there are none.
func (h *VirtualHost) VirtualCluster(r *httpmsg.Request) string {
	for i := range h.clusters {
		if c := &h.clusters[i]; c.headers.Request(r) {
			return c.name
		}
	}
	if len(h.clusters) > 0 {
		return "other"
	}
	return ""
}

// withoutQuery cuts a path before its query.
func withoutQuery(path string) string {
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		return path[:i]
	}
	return path
}

// withoutParams removes what follows a semicolon in each segment of a path.
func withoutParams(path string) string {
	if strings.IndexByte(path, ';') < 0 {
		return path
	}
	out := make([]byte, 0, len(path))
	param := false
	for i := range len(path) {
		switch path[i] {
		case ';':
			param = true
		case '/':
			param = false
		}
		if !param {
			out = append(out, path[i])
		}
	}
	return string(out)
}
