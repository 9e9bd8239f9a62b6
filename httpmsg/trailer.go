package httpmsg

import "strings"

// ForbiddenTrailer reports whether a name must not occur in trailers: it would say how the
// message is framed, where it goes or who sent it after that was decided. Codecs drop such
// lines in both directions.
func ForbiddenTrailer(name string) bool {
	switch name {
	case "host", "content-length", "transfer-encoding", "connection", "proxy-connection", "keep-alive",
		"upgrade", "te", "trailer", "content-encoding", "content-type", "content-range",
		"authorization", "proxy-authorization", "proxy-authenticate", "www-authenticate",
		"set-cookie", "cookie", "cache-control", "expect", "max-forwards", "range", "location":
		return true
	}
	return strings.HasPrefix(name, "x-forwarded-") || strings.HasPrefix(name, "x-envoy-") || name != "" && name[0] == ':'
}
