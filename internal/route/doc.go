// Package route finds where a request goes: a RouteConfiguration compiled to an
// immutable [Table], and pure decisions over it. It starts nothing, waits for nothing and
// asks no clock; random numbers are passed in.
//
// [Compile] makes the table, [Table.Match] finds the [Route] of a request without
// allocating. A Route has exactly one of [Action] (forward it), [Redirect] and
// [DirectResponse], and what holds for it from all four levels (route configuration,
// virtual host, route, weighted cluster), put together when it was compiled. So does each
// entry of a weighted cluster: Match returns the Route of the entry that was chosen.
//
// The connection manager executes redirects and direct responses, and response headers;
// the router all of an Action. In their order:
//
//	r.RequestHeaders.Apply(&req.Header, info)         // before the rewrites
//	r.Action.RewritePath(req, info)                   // and RewriteHost
//	r.Action.Hash(…)                                  // may make a cookie
//	r.ResponseHeaders.Apply(&resp.Header, info)       // on every response with this route
package route
