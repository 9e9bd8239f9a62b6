package localratelimit_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/local_ratelimit/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/ext/localratelimit"
	"github.com/ginnel/ginnel/internal/stats/teststats"
	"github.com/ginnel/ginnel/internal/testcompile"
)

func listenerFilter(t *testing.T, text string) (filter.ListenerFilterFactory, []extension.Issue) {
	t.Helper()
	return testcompile.JSON(t, localratelimit.Register, extension.ListenerFilter, &listenerv3.LocalRateLimit{}, text)
}

// Connections of one listener share the tokens; another one has its own.
func TestArrivals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		factory, issues := listenerFilter(t, `{"stat_prefix": "p", "token_bucket": {"max_tokens": 2, "fill_interval": "10s"}}`)
		if len(issues) > 0 {
			t.Fatal(issues)
		}
		counts := teststats.New()
		var filters [2]filter.ListenerFilter
		for i := range filters {
			var err error
			if filters[i], err = factory.NewListenerFilter(&filter.Env{Stats: counts}); err != nil {
				t.Fatal(err)
			}
		}
		arrive := func(f filter.ListenerFilter, want bool) {
			t.Helper()
			if err := f.Inspect(&filter.Info{}, nil); (err == nil) != want || err != nil && !errors.Is(err, filter.ErrDenied) {
				t.Errorf("let in: %v, want %v", err, want)
			}
		}
		arrive(filters[0], true)
		arrive(filters[0], true)
		arrive(filters[0], false)
		arrive(filters[1], true)
		time.Sleep(10 * time.Second)
		arrive(filters[0], true)
		arrive(filters[0], false)
		counts.Want(t, map[string]int64{"listener_local_ratelimit.p.rate_limited": 2})
	})
}

func TestArrivalErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{"token_bucket": {"max_tokens": 2, "fill_interval": "10s"}}`: "x.stat_prefix",
		`{"stat_prefix": "p"}`: "x.token_bucket",
		`{"stat_prefix": "p", "token_bucket": {"max_tokens": 2, "fill_interval": "0.01s"}}`: "x.token_bucket.fill_interval",
	} {
		if _, issues := listenerFilter(t, text); len(issues) != 1 || issues[0].Path != want {
			t.Errorf("%s: %v, want %s", text, issues, want)
		}
	}
}
