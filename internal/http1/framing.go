package http1

import (
	"strings"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
)

// hop is what the headers of one connection only said, before they were taken out.
type hop struct {
	close, keepAlive bool
	upgradeToken     bool   // "upgrade" is among connection's tokens
	upgrade          string // the header's value
	upgrades         int    // its lines
	host             string
	hosts            int
	codings          int // lines of transfer-encoding
	chunked          bool
	lengths          int // lines of content-length
	length           int64
	tokens           int
	nominated        bool // a token names another header
}

// Connection lists at most so many tokens; Envoy's limit.
const maxTokens = 9

// split takes the headers that are of this connection, or say how long the body is, out
// of h, but for content-length, whose value is good for others as well. host is taken
// from requests only.
func (p *hop) split(h httpmsg.Header, request bool) (httpmsg.Header, *refusal) {
	*p = hop{}
	kept, te, connection := 0, "", ""
	for i := range h {
		f := &h[i]
		switch f.Name {
		case "host":
			if request {
				p.host = f.Value
				p.hosts++
				continue
			}
		case "content-length":
			n, ok := httptext.Length(f.Value)
			if !ok || p.lengths > 0 {
				return h, errLength
			}
			p.lengths, p.length = 1, n
		case "transfer-encoding":
			p.codings++
			p.chunked = equalFold(f.Value, "chunked")
			continue
		case "connection", "proxy-connection":
			if f.Name == "connection" && connection == "" {
				connection = f.Value
			} else if f.Name == "connection" {
				connection += "," + f.Value
			}
			if err := p.options(f.Value, f.Name == "connection"); err != nil {
				return h, err
			}
			continue
		case "keep-alive":
			continue
		case "upgrade":
			p.upgrade = f.Value
			p.upgrades++
			continue
		case "te":
			if te != "" || !hasTrailersToken(f.Value) {
				continue
			}
			te = "trailers"
			f.Value = te
		}
		if to := &h[kept]; kept != i {
			to.Name, to.Value, to.Wire = f.Name, f.Value, f.Wire // not *f: see fields
		}
		kept++
	}
	clear(h[kept:])
	h = h[:kept]
	if p.nominated {
		return p.removeNominated(h, connection)
	}
	return h, nil
}

// options reads the tokens of connection; those of proxy-connection, which no standard
// knows, only say what becomes of the connection.
func (p *hop) options(v string, nominates bool) *refusal {
	for more := true; more; {
		var token string
		token, v, more = strings.Cut(v, ",")
		token = trim(token)
		switch {
		case equalFold(token, "close"):
			p.close = true
		case equalFold(token, "keep-alive"):
			p.keepAlive = true
		case !nominates:
		case equalFold(token, "upgrade"):
			p.upgradeToken = true
		case token != "":
			p.nominated = true
			if forbiddenToken(token) {
				return errConnection
			}
		}
		if p.tokens++; nominates && p.tokens > maxTokens {
			return errConnection
		}
	}
	return nil
}

// forbiddenToken reports whether nobody may have the header removed on the way.
func forbiddenToken(token string) bool {
	return token[0] == ':' || equalFold(token, "x-forwarded-for") || equalFold(token, "x-forwarded-proto") ||
		equalFold(token, "x-forwarded-host")
}

// removeNominated removes the headers that connection names. The length of the body
// stays, whatever the peer says: without it the next parser would see another message.
func (p *hop) removeNominated(h httpmsg.Header, connection string) (httpmsg.Header, *refusal) {
	for more := true; more; {
		var token string
		token, connection, more = strings.Cut(connection, ",")
		token = strings.ToLower(trim(token))
		switch token {
		case "", "close", "keep-alive", "upgrade", "content-length", "transfer-encoding", "te":
		case "host":
			p.hosts = 0
		default:
			h.Del(token)
		}
	}
	return h, nil
}

func hasTrailersToken(v string) bool {
	for more := true; more; {
		var token string
		token, v, more = strings.Cut(v, ",")
		token, _, _ = strings.Cut(token, ";")
		if equalFold(trim(token), "trailers") {
			return true
		}
	}
	return false
}

// encoding checks what the headers say about the body. It reports whether it is chunked.
func (p *hop) encoding(http10 bool, r *rules) (chunked bool, err *refusal) {
	switch {
	case p.codings == 0:
		return false, nil
	case http10:
		return false, errCodingHere
	case p.codings > 1:
		return false, errTwoCodings
	case p.lengths > 0 && !(p.chunked && r.chunkedLength):
		return false, errBothLengths
	case !p.chunked:
		return false, errCoding
	}
	return true, nil
}
