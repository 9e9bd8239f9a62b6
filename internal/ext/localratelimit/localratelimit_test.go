package localratelimit_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/ext/localratelimit"
	"github.com/ginnel/ginnel/internal/ext/teststream"
	"github.com/ginnel/ginnel/internal/testcompile"
)

const on = `"stat_prefix": "l", "filter_enabled": {"default_value": {"numerator": 100}}, "filter_enforced": {"default_value": {"numerator": 100}}, "enable_x_ratelimit_headers": "DRAFT_VERSION_03"`

func bucket(most, fill int, interval string) string {
	return fmt.Sprintf(`"token_bucket": {"max_tokens": %d, "tokens_per_fill": %d, "fill_interval": "%s"}`, most, fill, interval)
}

func limiter(t *testing.T, text string) filter.HTTPFilter {
	t.Helper()
	return teststream.Filter(t, teststream.NewEnv(), localratelimit.Register, &localv3.LocalRateLimit{}, "{"+text+"}")
}

// ask serves a request of a connection and returns the status, and what is left.
func ask(t *testing.T, f filter.HTTPFilter, conn *filter.Info, lines ...string) string {
	t.Helper()
	s := teststream.New("GET", "/", lines...)
	s.Info.Remote = filter.IPAddr{AddrPort: netip.MustParseAddrPort("[2001:db8:1::1]:5")}
	if conn != nil {
		s.Info.HTTP().Conn = conn
	}
	resp, err := s.Serve(f, teststream.Answer(200, nil))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s/%s %s", resp.Status, resp.Header.Get("x-ratelimit-remaining"),
		resp.Header.Get("x-ratelimit-limit"), resp.Header.Get("x-ratelimit-reset"))
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestRefill: tokens come evenly, not all at the end of the interval, and never more than
// there may be.
func TestRefill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := limiter(t, on+","+bucket(2, 10, "10s"))
		expect(t, ask(t, f, nil), "200 1/2 0")
		expect(t, ask(t, f, nil), "200 0/2 1")
		expect(t, ask(t, f, nil), "429 0/2 1")
		time.Sleep(999 * time.Millisecond)
		expect(t, ask(t, f, nil), "429 0/2 1")
		time.Sleep(time.Millisecond)
		expect(t, ask(t, f, nil), "200 0/2 1")
		time.Sleep(time.Hour)
		expect(t, ask(t, f, nil), "200 1/2 0")
	})
}

// TestConnections: each connection has its own bucket where that is asked for.
func TestConnections(t *testing.T) {
	f := limiter(t, on+","+bucket(1, 1, "1000s")+`, "local_rate_limit_per_downstream_connection": true`)
	a, b := &filter.Info{ID: 1}, &filter.Info{ID: 2}
	expect(t, ask(t, f, a), "200 0/1 1000")
	expect(t, ask(t, f, b), "200 0/1 1000")
	expect(t, ask(t, f, a)[:3], "429")
}

// TestBlanks: a descriptor with a blank has a bucket for each value, of which only those
// used last are kept.
func TestBlanks(t *testing.T) {
	f := limiter(t, on+","+bucket(1000, 1000, "1000s")+`, "max_dynamic_descriptors": 2,
		"rate_limits": [{"actions": [{"request_headers": {"header_name": "who", "descriptor_key": "user"}}]}],
		"descriptors": [{"entries": [{"key": "user"}], `+bucket(1, 1, "1000s")+`}, {"entries": [{"key": "user", "value": "root"}], `+bucket(2, 2, "1000s")+`}]`)
	for i, c := range []struct{ who, want string }{
		{"a", "200"}, {"a", "429"}, {"b", "200"}, {"a", "429"}, {"c", "200"}, {"a", "429"}, {"b", "200"},
		{"root", "200"}, {"root", "200"}, {"root", "429"},
	} {
		if got := ask(t, f, nil, "who: "+c.who)[:3]; got != c.want {
			t.Errorf("%d: %s got %s, want %s", i, c.who, got, c.want)
		}
	}
}

// TestBlankValues: two lists of values are never the same bucket for what they contain.
func TestBlankValues(t *testing.T) {
	f := limiter(t, on+","+bucket(1000, 1000, "1000s")+`,
		"rate_limits": [{"actions": [{"request_headers": {"header_name": "a", "descriptor_key": "a"}}, {"request_headers": {"header_name": "b", "descriptor_key": "b"}}]}],
		"descriptors": [{"entries": [{"key": "a"}, {"key": "b"}], `+bucket(1, 1, "1000s")+`}]`)
	for _, c := range []struct{ a, b, want string }{
		{"x\x00", "y", "200"}, {"x", "\x00y", "200"}, {"1:", "y", "200"}, {"1", ":y", "200"}, {"x", "\x00y", "429"},
	} {
		if got := ask(t, f, nil, "a: "+c.a, "b: "+c.b)[:3]; got != c.want {
			t.Errorf("%q %q got %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

// TestMaskedAddress: IPv6, too.
func TestMaskedAddress(t *testing.T) {
	f := limiter(t, on+","+bucket(1000, 1000, "1000s")+`,
		"rate_limits": [{"actions": [{"masked_remote_address": {"v6_prefix_mask_len": 32}}]}],
		"descriptors": [{"entries": [{"key": "masked_remote_address", "value": "2001:db8::/32"}], `+bucket(1, 1, "1000s")+`}]`)
	expect(t, ask(t, f, nil), "200 0/1 1000")
	expect(t, ask(t, f, nil), "429 0/1 1000")
}

// TestNotEnabled: without filter_enabled nothing is limited, or counted.
func TestNotEnabled(t *testing.T) {
	env := teststream.NewEnv()
	f := teststream.Filter(t, env, localratelimit.Register, &localv3.LocalRateLimit{}, `{"stat_prefix": "l", `+bucket(0, 1, "1s")+`}`)
	expect(t, ask(t, f, nil), "200 / ")
	if all := env.Stats.All(); len(all) > 0 {
		t.Errorf("counted: %v", all)
	}
}

// TestErrors: at their place, in Envoy's words.
func TestErrors(t *testing.T) {
	for text, path := range map[string]string{
		bucket(1, 1, "1s"): "x.stat_prefix",
		`"stat_prefix": "x", "token_bucket": {"max_tokens": 1}`:                                  "x.token_bucket.fill_interval",
		`"stat_prefix": "x",` + bucket(1, 1, "0.049s"):                                           "x.token_bucket.fill_interval",
		`"stat_prefix": "x",` + bucket(1, 0, "1s"):                                               "x.token_bucket.tokens_per_fill",
		`"stat_prefix": "x", "descriptors": [{` + bucket(1, 1, "1s") + `}]`:                      "x.descriptors[0].entries",
		`"stat_prefix": "x", "descriptors": [{"entries": [{"key": "a"}]}]`:                       "x.descriptors[0].token_bucket",
		`"stat_prefix": "x", "rate_limits": [{}]`:                                                "x.rate_limits[0].actions",
		`"stat_prefix": "x", "rate_limits": [{"stage": 1, "actions": [{"remote_address": {}}]}]`: "x.rate_limits[0]",
		`"stat_prefix": "x", "rate_limits": [{"actions": [{"dynamic_metadata": {}}]}]`:           "x.rate_limits[0].actions[0].dynamic_metadata",
		`"stat_prefix": "x", "local_cluster_rate_limit": {}`:                                     "x.local_cluster_rate_limit",
		`"stat_prefix": "x", "max_dynamic_descriptors": 0`:                                       "x.max_dynamic_descriptors",
	} {
		_, issues := testcompile.JSON(t, localratelimit.Register, extension.HTTPFilter, &localv3.LocalRateLimit{}, "{"+text+"}")
		if len(issues) != 1 || issues[0].Path != path {
			t.Errorf("%s: %v", text, issues)
		}
	}
	_, issues := testcompile.JSON(t, localratelimit.Register, extension.HTTPRouteFilter, &localv3.LocalRateLimit{}, `{"stat_prefix": "x"}`)
	if len(issues) != 1 || issues[0].Message != "local rate limit token bucket must be set for per filter configs" {
		t.Errorf("route: %v", issues)
	}
}
