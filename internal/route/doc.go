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
// What is left to do with a Route is pure, too, and in this order:
//
//	r.Location, r.Direct.Print            // of those that go nowhere
//	r.Action.ClusterOf                    // "" or unknown: NotFoundStatus
//	r.Action.StreamTimeout, IdleTimeout   // of the stream; Limit is that of the request
//	r.Action.Hash                         // chooses the host, and may make cookies
//	r.Forward                             // header mutations, host and path
//	r.Action.SetHost                      // with AutoHost, once a host is known
//	r.ResponseHeaders.Apply               // to every response with this route
//
// Retry, hedge, mirror and internal redirect policies are values of the Action; the
// decisions they hold are methods of theirs.
package route
