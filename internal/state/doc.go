// Package state makes filter-state objects from text and prints what is known about
// a connection: the object factories and the command operators (%NAME(args):N%) of
// Envoy's format strings.
//
// Everything is compiled once and then used concurrently. The package does no IO
// after compiling and starts no goroutine.
package state
