package state

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A finder finds a text; false: there is none.
type finder func(m moment) (string, bool)

// operator prints what f finds.
func (f finder) operator(a args) operator {
	return operator{text: func(dst []byte, m moment) ([]byte, bool) {
		s, ok := f(m)
		if !ok {
			return dst, false
		}
		return append(dst, a.cutText(s)...), true
	}}
}

// header makes an operator that reads the first line of a header, or of its
// alternative: NAME(main?alternative):N.
func header(find func(name string) finder) builder {
	return func(a args) (operator, error) {
		names, err := headerNames(a.text)
		if err != nil {
			return operator{}, err
		}
		first := find(names[0])
		if names[1] == "" {
			return first.operator(a), nil
		}
		second := find(names[1])
		return finder(func(m moment) (string, bool) {
			if s, ok := first(m); ok {
				return s, true
			}
			return second(m)
		}).operator(a), nil
	}
}

func headerNames(text string) ([2]string, error) {
	names := strings.Split(strings.ToLower(text), "?")
	if len(names) > 2 {
		return [2]string{}, fmt.Errorf("More than 1 alternative header specified in token: %s", text) //nolint:staticcheck // Envoy's text
	}
	for _, n := range names {
		if !headerName(n) {
			return [2]string{}, errors.New("Invalid header configuration. Format string contains invalid characters.") //nolint:staticcheck // Envoy's text
		}
	}
	return [2]string(append(names, "")), nil
}

// headerName reports whether s is empty or a header name; a leading colon marks a
// pseudo header.
func headerName(s string) bool {
	s = strings.TrimPrefix(s, ":")
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') &&
			!strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// requestHeader finds a header of the request as the filters left it. What makes an
// upgrade is a header in Envoy.
func requestHeader(name string) finder {
	of := func(r *httpmsg.Request) (string, bool) { return r.Header.Lookup(name) }
	switch name {
	case ":method", ":scheme", ":authority", ":path", "host":
		of = func(r *httpmsg.Request) (string, bool) { return r.Lookup(name) }
	case "upgrade":
		of = func(r *httpmsg.Request) (string, bool) { return r.Upgrade, r.Upgrade != "" }
	case "connection":
		of = func(r *httpmsg.Request) (string, bool) { return "upgrade", r.Upgrade != "" }
	}
	return func(m moment) (string, bool) {
		if r := request(m); r != nil {
			return of(r)
		}
		return "", false
	}
}

func responseHeader(name string) finder {
	if name == ":status" {
		return func(m moment) (string, bool) {
			if r := response(m); r != nil {
				return strconv.Itoa(r.Status), true
			}
			return "", false
		}
	}
	return func(m moment) (string, bool) {
		if r := response(m); r != nil {
			return r.Header.Lookup(name)
		}
		return "", false
	}
}

func responseTrailer(name string) finder {
	return func(m moment) (string, bool) {
		if h := m.HTTP(); h != nil {
			return h.Trailer.Lookup(name)
		}
		return "", false
	}
}

// request is nil for a connection.
func request(m moment) *httpmsg.Request {
	if h := m.HTTP(); h != nil {
		return h.Request
	}
	return nil
}

// response is nil where there is none, yet or at all.
func response(m moment) *httpmsg.Response {
	if h := m.HTTP(); h != nil {
		return h.Response
	}
	return nil
}

// ofRequest makes an operator whose empty value is missing, as that of a connection.
func ofRequest(f func(*filter.HTTPInfo) string) builder {
	return textOf(func(m moment) string {
		if h := m.HTTP(); h != nil {
			return f(h)
		}
		return ""
	})
}

func routeName(h *filter.HTTPInfo) string {
	if h.Route == nil {
		return ""
	}
	return h.Route.Name()
}

// virtualCluster has no name for the one of all that fit no other.
func virtualCluster(h *filter.HTTPInfo) string {
	if h.VirtualCluster == "other" {
		return ""
	}
	return h.VirtualCluster
}

func routeResolutions(h *filter.HTTPInfo) uint64 { return uint64(h.RouteLookups) }

func responseCode(m moment) uint64 {
	if h := m.HTTP(); h != nil {
		return uint64(h.Code)
	}
	return 0
}

func withoutQuery(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}

func requestWithoutQuery(name string) finder {
	find := requestHeader(name)
	return func(m moment) (string, bool) {
		s, ok := find(m)
		return withoutQuery(s), ok
	}
}

func oneOf(a args, got string, of ...string) error {
	if got == "" || slices.Contains(of, got) {
		return nil
	}
	return fmt.Errorf("Invalid %s option: '%s', only '%s' are allowed", a.name, got, strings.Join(of, "'/'")) //nolint:staticcheck // Envoy's text
}

var (
	sentPath     = requestHeader(":path")
	originalPath = requestHeader("x-envoy-original-path")
)

// path makes PATH(WQ|NQ:ORIG|PATH|ORIG_OR_PATH).
func path(a args) (operator, error) {
	p := append(strings.Split(a.text, ":"), "")
	if err := errors.Join(oneOf(a, p[0], "WQ", "NQ"), oneOf(a, p[1], "ORIG", "PATH", "ORIG_OR_PATH")); err != nil {
		return operator{}, err
	}
	from := []finder{originalPath, sentPath}
	switch p[1] {
	case "ORIG":
		from = from[:1]
	case "PATH":
		from = from[1:]
	}
	bare := p[0] == "NQ"
	return finder(func(m moment) (string, bool) {
		for _, f := range from {
			if s, ok := f(m); ok {
				if bare {
					s = withoutQuery(s)
				}
				return s, true
			}
		}
		return "", false
	}).operator(a), nil
}

// queryParam makes QUERY_PARAM(name).
func queryParam(a args) (operator, error) {
	return finder(func(m moment) (string, bool) {
		path, _ := sentPath(m)
		_, query, _ := strings.Cut(path, "?")
		for one := range strings.SplitSeq(query, "&") {
			k, v, _ := strings.Cut(one, "=")
			if one != "" && decoded(k) == a.text {
				return decoded(v), true
			}
		}
		return "", false
	}).operator(a), nil
}

// queryParams makes QUERY_PARAMS(ORIG|DECODED).
func queryParams(a args) (operator, error) {
	if err := oneOf(a, a.text, "ORIG", "DECODED"); err != nil {
		return operator{}, err
	}
	decode := func(s string) string { return s }
	if a.text == "DECODED" {
		decode = func(s string) string { return unescaped(s, visible) }
	}
	return finder(func(m moment) (string, bool) {
		path, _ := sentPath(m)
		_, query, ok := strings.Cut(path, "?")
		return decode(query), ok
	}).operator(a), nil
}

// decoded replaces what percent signs encode; where they encode nothing they stay.
func decoded(s string) string { return unescaped(s, func(byte) bool { return true }) }

// visible are the characters that QUERY_PARAMS decodes: what would change where a value
// ends in a line of text stays as it is.
func visible(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '\\' }

// unescaped replaces what percent signs encode, if it is wanted.
func unescaped(s string, want func(byte) bool) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil && want(byte(n)) {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// serverName makes REQUESTED_SERVER_NAME(SNI_ONLY|SNI_FIRST|HOST_FIRST:ORIG_OR_HOST|HOST|ORIG).
func serverName(a args) (operator, error) {
	p := append(strings.Split(a.text, ":"), "")
	err := errors.Join(oneOf(a, p[0], "SNI_ONLY", "SNI_FIRST", "HOST_FIRST"), oneOf(a, p[1], "ORIG_OR_HOST", "HOST", "ORIG"))
	if err != nil {
		return operator{}, err
	}
	sni := func(m moment) string { return sanitized(m.Rest().Inspected.ServerName) }
	host := hostOf(p[1])
	from := []func(moment) string{sni}
	switch p[0] {
	case "SNI_FIRST":
		from = append(from, host)
	case "HOST_FIRST":
		from = []func(moment) string{host, sni}
	}
	return textOf(func(m moment) string {
		for _, f := range from {
			if s := f(m); s != "" {
				return s
			}
		}
		return ""
	})(a)
}

// hostOf returns the authority of a request.
func hostOf(form string) func(moment) string {
	sent, original := requestHeader(":authority"), requestHeader("x-envoy-original-host")
	return func(m moment) string {
		if form != "HOST" {
			if s, ok := original(m); ok {
				return s
			}
		}
		if form == "ORIG" {
			return ""
		}
		s, _ := sent(m)
		return s
	}
}

// sanitized replaces what no host name has, and says so, for the name came from a client.
func sanitized(s string) string {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}
	if !strings.ContainsFunc(s, bad) {
		return s
	}
	out := []byte(s)
	for i, c := range out {
		if bad(rune(c)) {
			out[i] = '_'
		}
	}
	return "invalid:" + string(out)
}
