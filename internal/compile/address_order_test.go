package compile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/internal/plan"
)

func TestTryOrder(t *testing.T) {
	for text, want := range map[string]plan.TryOrder{
		"{}":                                 {},
		"{first_address_family_count: 3}":    {Count: 3},
		"{first_address_family_version: V4}": {First: plan.IPv4Family},
		"{first_address_family_version: V6, first_address_family_count: 1}": {First: plan.IPv6Family, Count: 1},
		"{first_address_family_version: PIPE}":                              {First: plan.PipeFamily},
		"{first_address_family_version: INTERNAL}":                          {First: plan.InternalFamily},
	} {
		got := compiled(t, "upstream_connection_options: {happy_eyeballs_config: "+text+"}")[0].TryOrder
		if got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

// What health checks ask of the transport.
func TestCheckTransport(t *testing.T) {
	const check = "timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}"
	got := compiled(t, "health_checks: [{"+check+"}]")[0].Check
	if got.Protocols != nil || got.Transport != nil {
		t.Errorf("nothing is asked for: %+v", got)
	}
	got = compiled(t, "health_checks: [{"+check+", tls_options: {alpn_protocols: [a, b]}, transport_socket_match_criteria: {k: v}}]")[0].Check
	want, _ := structpb.NewStruct(map[string]any{"k": "v"})
	if d := cmp.Diff([]string{"a", "b"}, got.Protocols); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want, got.Transport, protocmp.Transform()); d != "" {
		t.Error(d)
	}
}
