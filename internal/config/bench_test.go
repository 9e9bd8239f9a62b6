package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/internal/config"
)

func manyClusters(n int) string {
	var b strings.Builder
	b.WriteString("static_resources:\n  clusters:\n")
	for i := range n {
		fmt.Fprintf(&b, `  - name: cluster-%d
    connect_timeout: 1s
    type: STATIC
    circuit_breakers: {thresholds: [{max_connections: 1000}]}
    transport_socket:
      name: envoy.transport_sockets.internal_upstream
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport
        passthrough_metadata: [{kind: {host: {}}, name: a}]
        transport_socket:
          name: envoy.transport_sockets.raw_buffer
          typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}
    load_assignment:
      cluster_name: cluster-%d
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 10000}}}
          metadata: {filter_metadata: {envoy.lb: {canary: true}}}
        - endpoint: {address: {envoy_internal_address: {server_listener_name: l, endpoint_id: e}}}
`, i, i)
	}
	return b.String()
}

func BenchmarkLoad1000Clusters(b *testing.B) {
	data := []byte(manyClusters(1000))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := config.Load(config.Input{Path: "f.yaml", Data: data}); err != nil {
			b.Fatal(err)
		}
	}
}
