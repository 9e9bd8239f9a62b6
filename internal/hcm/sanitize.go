package hcm

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// found is what a first look at the headers finds, so that the rare is looked for only
// where it is.
type found struct {
	te, envoy, cert, referer, proto, agent bool
}

func look(h httpmsg.Header) (f found) {
	for i := range h {
		switch name := h[i].Name; name {
		case "te":
			f.te = true
		case forwardedCert:
			f.cert = true
		case "referer":
			f.referer = true
		case "x-forwarded-proto":
			f.proto = true
		case "user-agent":
			f.agent = h[i].Value != ""
		default:
			f.envoy = f.envoy || len(name) > 8 && name[:8] == "x-envoy-"
		}
	}
	return f
}

// sanitize makes the headers say what can be trusted, and adds what those after this
// proxy rely on. It returns the answer to a request that goes no further.
func (s *stream) sanitize() *httpmsg.Response {
	sv, r := s.conn.service, s.handed.Request
	o, h := &sv.config.Request, &r.Header
	if o.early != nil {
		o.early.Apply(h, &s.info)
	}
	f := look(*h)
	if f.te {
		keepTrailersOnly(h)
	}
	from, resp := s.origin(h)
	if resp != nil {
		return resp
	}
	if resp := s.scheme(h, f.proto); resp != nil {
		return resp
	}
	s.trust(h, from, f.envoy)
	if o.userAgent {
		s.identify(h, f.agent)
	}
	s.http.SchemeOfHost = o.schemeOfHost
	if o.via != "" {
		appendVia(h, o.via)
	}
	if from.edge && from.addr.IsValid() {
		h.Set("x-envoy-external-address", from.addr.WithZone("").String())
	}
	if f.cert || o.forwardCert != sanitizeCert {
		s.clientCert(h, f.cert)
	}
	s.requestID(h, from.edge && !o.preserveExternalID)
	if f.referer && !goodReferer(h.Get("referer")) {
		h.Del("referer")
	}
	return nil
}

// keepTrailersOnly leaves of te what a proxy passes on.
func keepTrailersOnly(h *httpmsg.Header) {
	trailers := false
	for v := range h.Values("te") {
		for token := range strings.SplitSeq(v, ",") {
			token, _, _ = strings.Cut(token, ";")
			trailers = trailers || strings.EqualFold(strings.TrimSpace(token), "trailers")
		}
	}
	if trailers {
		h.Set("te", "trailers")
	} else {
		h.Del("te")
	}
}

const (
	forwardedProto = "x-forwarded-proto"
	forwardedPort  = "x-forwarded-port"
)

// scheme settles how the client has come.
func (s *stream) scheme(h *httpmsg.Header, has bool) *httpmsg.Response {
	r, o := s.handed.Request, &s.conn.service.config.Request
	untrusted := o.useRemoteAddress && o.trustedHops == 0
	if o.useRemoteAddress && s.conn.tls() == nil && r.Scheme == "https" && r.Protocol != httpmsg.HTTP2 {
		s.conn.closeAfter()
		s.conn.service.stats.cxProtocolError.Add(1)
		return s.Reply(filter.LocalReply{Status: http.StatusForbidden, Details: "http1.https_url_on_plaintext_connection",
			Body: http.StatusText(http.StatusForbidden), Flags: filter.DownstreamProtocolError})
	}
	if untrusted || !has {
		h.Set(forwardedProto, s.transport())
	}
	if o.forwardedPort && (untrusted || !h.Has(forwardedPort)) {
		if p := s.conn.port(); p != 0 {
			h.Set(forwardedPort, strconv.Itoa(int(p)))
		}
	}
	if r.Scheme == "" && !(r.Connect() && r.Path == "") {
		r.Scheme = "http"
		if h.Get(forwardedProto) == "https" {
			r.Scheme = "https"
		}
	}
	if o.scheme != "" {
		r.Scheme = o.scheme
		h.Set(forwardedProto, o.scheme)
	}
	return nil
}

// transport is the scheme by which the client has come, as far as this proxy can tell: of
// one that another proxy has passed on, the port that it asked for there may say it.
func (s *stream) transport() string {
	if ports := s.conn.service.config.Request.schemeOf; ports != nil && s.info.LocalRestored() {
		if scheme := ports[s.conn.port()]; scheme != "" {
			return scheme
		}
	}
	if s.conn.tls() != nil {
		return "https"
	}
	return "http"
}

// untrusted are headers that only internal clients may send.
var untrusted = map[string]bool{
	"x-envoy-retriable-status-codes": true, "x-envoy-retriable-header-names": true, "x-envoy-retry-on": true,
	"x-envoy-retry-grpc-on": true, "x-envoy-max-retries": true, "x-envoy-upstream-alt-stat-name": true,
	"x-envoy-upstream-rq-timeout-ms": true, "x-envoy-upstream-rq-per-try-timeout-ms": true,
	"x-envoy-upstream-rq-timeout-alt-response": true, "x-envoy-expected-rq-timeout-ms": true,
	"x-envoy-force-trace": true, "x-envoy-ip-tags": true, "x-envoy-original-url": true,
	"x-envoy-hedge-on-per-try-timeout": true,
}

// edgeOnly are those that nobody outside may send.
var edgeOnly = map[string]bool{
	"x-envoy-decorator-operation": true, "x-envoy-downstream-service-cluster": true,
	"x-envoy-downstream-service-node": true, "x-envoy-original-path": true,
}

// trust removes what the client may not say, and tells whether it is internal.
func (s *stream) trust(h *httpmsg.Header, from origin, envoy bool) {
	if envoy {
		kept := (*h)[:0]
		for _, f := range *h {
			if f.Name == "x-envoy-internal" || !from.internal && (untrusted[f.Name] || from.edge && edgeOnly[f.Name]) {
				continue
			}
			kept = append(kept, f)
		}
		clear((*h)[len(kept):])
		*h = kept
	}
	if from.internal {
		h.Add("x-envoy-internal", "true")
		return
	}
	for _, name := range s.routes().InternalOnly {
		h.Del(name)
	}
}

// identify names this proxy to those after it (add_user_agent).
func (s *stream) identify(h *httpmsg.Header, agent bool) {
	local := &s.conn.service.local
	if local.Cluster != "" {
		h.Set("x-envoy-downstream-service-cluster", local.Cluster)
		if !agent {
			h.Set("user-agent", local.Cluster)
		}
	}
	if local.NodeID != "" {
		h.Set("x-envoy-downstream-service-node", local.NodeID)
	}
}

// requestID gives the request an id, if it needs one.
func (s *stream) requestID(h *httpmsg.Header, replace bool) {
	if s.conn.service.config.Request.generateID {
		i := h.Index("x-request-id")
		switch {
		case i < 0:
			h.Add("x-request-id", newID())
		case replace || (*h)[i].Value == "":
			h.Set("x-request-id", newID())
		}
	}
	s.http.StreamID = h.Get("x-request-id")
}

// newID returns a random UUID (version 4).
func newID() string {
	const hex = "0123456789abcdef"
	var b [36]byte
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range b {
		switch i {
		case 8, 13, 18, 23:
			b[i] = '-'
			continue
		}
		b[i] = hex[hi&15]
		if hi >>= 4; i == 17 {
			hi = lo
		}
	}
	b[14] = '4'
	b[19] = "89ab"[rand.Uint32N(4)]
	return string(b[:])
}

// goodReferer reports whether a referer may be passed on: one that is relative, or an
// absolute URL without user and fragment.
func goodReferer(v string) bool {
	if v == "" || strings.ContainsAny(v, " \t") {
		return false
	}
	if strings.HasPrefix(v, "/") {
		return true
	}
	scheme, rest, ok := strings.Cut(v, "://")
	if !ok {
		return !strings.Contains(v, ":")
	}
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	return scheme != "" && host != "" && !strings.Contains(host, "@") && !strings.Contains(rest, "#")
}
