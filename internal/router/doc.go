// Package router is the HTTP filter that ends a chain of HTTP filters
// (envoy.extensions.filters.http.router.v3): it carries out the route of a request, which
// mostly means to exchange it with a host of a cluster.
//
// A request is served in the goroutine that brings it. Its body, if it has one, is sent in
// a second one; what else waits (a pool, a back-off, a response) waits in the first. All
// of it can be ended from outside, by the client that goes away and by the time limits,
// which share one timer: see [call].
package router
