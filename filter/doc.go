// Package filter is what the author of an extension implements and meets:
// connections, what is known about them, the state that travels with them, and
// the interfaces of filters, clusters and access logs.
//
// The package starts no goroutine and does no IO.
package filter
