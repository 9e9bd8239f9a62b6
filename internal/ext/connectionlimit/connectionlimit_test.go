package connectionlimit_test

import (
	"strings"
	"testing"

	limitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/ext/connectionlimit"
	"github.com/ginnel/ginnel/internal/testcompile"
)

func TestRefused(t *testing.T) {
	for config, want := range map[string]string{
		`{"maxConnections": "1"}`:                                          "x.stat_prefix: is required",
		`{"statPrefix": "a"}`:                                              "x.max_connections: is required",
		`{"statPrefix": "a", "maxConnections": "0"}`:                       "x.max_connections: value must be greater than or equal to 1",
		`{"statPrefix": "a", "maxConnections": "1", "delay": "-1s"}`:       "x.delay: expected a positive duration",
		`{"statPrefix": "a", "maxConnections": "1", "runtimeEnabled": {}}`: "x.runtime_enabled.default_value: is required",
		`{"statPrefix": "a", "maxConnections": "18446744073709551615"}`:    "",
	} {
		_, issues := testcompile.JSON(t, connectionlimit.Register, extension.NetworkFilter, &limitv3.ConnectionLimit{}, config)
		var got []string
		for _, i := range issues {
			got = append(got, i.Path+": "+i.Message)
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("%s: got %q, want %q", config, got, want)
		}
	}
}
