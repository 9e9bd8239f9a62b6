package router

import (
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// check refuses a request whose x-envoy headers are not right, where that is asked for.
func (c *Config) check(r *httpmsg.Request) (filter.LocalReply, bool) {
	for _, name := range c.Strict {
		v, there := r.Header.Lookup(name)
		if !there || sound(name, v) {
			continue
		}
		return filter.LocalReply{
			Status: 400, Flags: filter.InvalidEnvoyRequestHeaders,
			Body:    "invalid header '" + name + "' with value '" + v + "'",
			Details: "request_headers_failed_strict_check{" + name + "}",
		}, true
	}
	return filter.LocalReply{}, false
}

// sound reports whether a header that can be checked has a value that is understood.
func sound(name, v string) bool {
	switch name {
	case "x-envoy-retry-on":
		_, ok := route.ParseRetryOn(v)
		return ok
	case "x-envoy-retry-grpc-on":
		_, ok := route.ParseRetryGRPCOn(v)
		return ok
	}
	_, err := strconv.ParseUint(strings.TrimSpace(v), 10, 64)
	return err == nil
}
