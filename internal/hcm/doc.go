// Package hcm is the network filter that serves HTTP on a connection
// (envoy.extensions.filters.network.http_connection_manager.v3): it chooses the codec,
// makes every request fit to be trusted, finds its route, has the HTTP filters answer it,
// and sends what they return.
//
// A request is served in one goroutine, which is its codec's: from Answer to the end of
// its log entry. Time limits of a connection and of all its streams are looked after by
// one timer of the connection, which is armed for the earliest and finds out when it
// fires what is really due; requests and bytes do not touch it.
package hcm
