// Package conformance runs other people's test suites against ginnel: h2spec, and the
// interoperability tests of gRPC.
//
//	H2SPEC=/path/to/h2spec go test ./test/conformance
//	go test ./test/conformance -fetch    # builds the suites in a scratch directory
//
// The suites are no dependencies of this module. A suite that is not there is said, and
// not run.
package conformance
