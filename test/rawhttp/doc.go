// Package rawhttp sends bytes that two parsers of HTTP/1 could read differently to
// ginnel, and to Envoy, nginx and HAProxy where they are installed, each in front of a
// host that records what it was sent.
//
//	go test ./test/rawhttp -v                          # prints the table
//	ENVOY_BIN=/path/to/envoy go test ./test/rawhttp -v
//	go test ./test/rawhttp -v -envoy=wheel             # as for test/differ
//
// What ginnel does with each input is required; what the others do is for comparison.
// Where ginnel does on purpose something else than Envoy, the input names the row of
// docs/differences.md.
package rawhttp
