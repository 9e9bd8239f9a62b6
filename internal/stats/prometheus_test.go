package stats_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/internal/stats"
)

func parse(t *testing.T, s *stats.Store, mode stats.Buckets) *exposition {
	t.Helper()
	var b strings.Builder
	if err := stats.WritePrometheus(&b, s.Snapshot(), mode, true); err != nil {
		t.Fatal(err)
	}
	e, err := parseExposition(b.String())
	if err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	return e
}

func TestPrometheusParses(t *testing.T) {
	e := parse(t, envoyStore(t, "interval"), stats.BucketsDefault)
	if n := len(e.samples["envoy_t_h_ms_bucket"]); n != 20 || e.samples["envoy_t_h_ms_count"][0].value != 60 {
		t.Errorf("histogram: %d buckets, %v", n, e.samples["envoy_t_h_ms_count"])
	}
	if e.types["envoy_t_cx_total"] != "counter" || e.samples["envoy_t_cx_total"][0].value != 180 {
		t.Errorf("counter: %v", e.samples["envoy_t_cx_total"])
	}
	readout := e.samples["envoy_listener_manager_lds_version_text"][0]
	if readout.value != 0 || readout.labels["text_value"] != "v\"1<&>\\\u00e9\n\t\x01z" {
		t.Errorf("text readout: %+v", readout)
	}
	e = parse(t, envoyStore(t, "interval"), stats.BucketsSummary)
	if len(e.samples["envoy_t_h_ms"]) != 10 || e.samples["envoy_t_h_ms_count"][0].value != 20 {
		t.Errorf("summary: %v", e.samples["envoy_t_h_ms"])
	}
}

// TestEqualNamesStayValid: Envoy writes families of one name twice here, which
// parsers refuse.
func TestEqualNamesStayValid(t *testing.T) {
	s := stats.New(stats.Options{})
	sc := s.Scope("")
	sc.Counter("t.a.b").Add(1)
	sc.Counter("t.a-b").Add(2)
	sc.Gauge("t.a_b").Set(3)
	sc.Gauge("t.h.count").Set(4)
	sc.Histogram("t.h", stats.Bytes)
	e := parse(t, s, stats.BucketsDefault)
	for name, want := range map[string][]float64{
		"envoy_t_a_b": {1, 2}, "envoy_t_a_b_gauge": {3}, "envoy_t_h_count": {4}, "envoy_t_h_histogram_count": {0},
	} {
		var got []float64
		for _, s := range e.samples[name] {
			got = append(got, s.value)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestCustomNamespaces(t *testing.T) {
	s := stats.New(stats.Options{CustomNamespaces: []string{"istiocustom"}})
	sc := s.Scope("istiocustom.")
	sc.Counter("istio_requests_total").Inc()
	sc.Counter("1bad").Inc()
	got := get(s, "/stats/prometheus").Body.String()
	if want := "# TYPE istio_requests_total counter\nistio_requests_total{} 1\n"; got != want {
		t.Errorf("got %q", got)
	}
}

// TestTagRules repeats what Envoy 1.40.0 made of these stats_tags.
func TestTagRules(t *testing.T) {
	fixed := stats.TagRule{Tag: "envoy.cluster_name", Fixed: "FX", IsFixed: true}
	part := stats.TagRule{Tag: "envoy.cluster_name", Regex: `^cluster\.((al)pha\.)`}
	for name, c := range map[string]struct {
		rules                []stats.TagRule
		noDefaults, override bool
		want                 []string // of alpha, of be.ta
	}{
		"one group": {
			rules: []stats.TagRule{{Tag: "one", Regex: `^cluster\.([a-z]+\.)`}},
			want:  []string{`cluster_upstream_cx_total{envoy_cluster_name="alpha",one="alpha"}`, `cluster_ta_upstream_cx_total{envoy_cluster_name="be",one="be"}`},
		},
		"the default wins": {
			rules: []stats.TagRule{part},
			want:  []string{`cluster_upstream_cx_total{envoy_cluster_name="alpha"}`, `cluster_ta_upstream_cx_total{envoy_cluster_name="be"}`},
		},
		"the default is overridden": {
			rules: []stats.TagRule{part}, override: true,
			want: []string{`cluster_upstream_cx_total{envoy_cluster_name="al"}`, `cluster_be_ta_upstream_cx_total{}`},
		},
		"fixed goes first": {
			rules: []stats.TagRule{fixed},
			want:  []string{`cluster_alpha_upstream_cx_total{envoy_cluster_name="FX"}`, `cluster_be_ta_upstream_cx_total{envoy_cluster_name="FX"}`},
		},
		"order and escapes": {
			rules: []stats.TagRule{{Tag: "cli", Fixed: "val", IsFixed: true}, {Tag: "f.x-y", Fixed: "v\"\\\n.z", IsFixed: true}, {Tag: "f2", Regex: `upstream_((cx|rq)_)`}},
			want:  []string{`cluster_upstream_total{cli="val",f_x_y="v\"\\\n.z",f2="cx",envoy_cluster_name="alpha"}`, `cluster_ta_upstream_total{cli="val",f_x_y="v\"\\\n.z",f2="cx",envoy_cluster_name="be"}`},
		},
		"one default": {
			rules: []stats.TagRule{{Tag: "envoy.cluster_name"}}, noDefaults: true,
			want: []string{`cluster_upstream_cx_total{envoy_cluster_name="alpha"}`, `cluster_ta_upstream_cx_total{envoy_cluster_name="be"}`},
		},
		"no group": {
			rules: []stats.TagRule{{Tag: "x", Regex: "cx"}},
			want:  []string{`cluster_upstream_cx_total{envoy_cluster_name="alpha"}`, `cluster_ta_upstream_cx_total{envoy_cluster_name="be"}`},
		},
		"value group takes no part": {
			rules: []stats.TagRule{{Tag: "x", Regex: "(c)(q)?x"}},
			want:  []string{`cluster_upstream_x_total{x="",envoy_cluster_name="alpha"}`, `cluster_ta_upstream_x_total{x="",envoy_cluster_name="be"}`},
		},
		"name group takes no part": {
			rules: []stats.TagRule{{Tag: "x", Regex: "(q)?(c)x"}},
			want:  []string{`cluster_upstream_cx_total{x="c",envoy_cluster_name="alpha"}`, `cluster_ta_upstream_cx_total{x="c",envoy_cluster_name="be"}`},
		},
		"the first of one name": {
			rules: []stats.TagRule{{Tag: "cli", Fixed: "a", IsFixed: true}, {Tag: "cli", Fixed: "b", IsFixed: true}},
			want:  []string{`cluster_upstream_cx_total{cli="a",envoy_cluster_name="alpha"}`, `cluster_ta_upstream_cx_total{cli="a",envoy_cluster_name="be"}`},
		},
		"documented lookahead": {
			rules: []stats.TagRule{{Tag: "x", Regex: `^cluster(?=\.).*?\.((upstream)_)`}},
			want:  []string{`cluster_cx_total{envoy_cluster_name="alpha",x="upstream"}`, `cluster_ta_cx_total{envoy_cluster_name="be",x="upstream"}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tags, err := stats.NewTagger(c.rules, c.noDefaults, c.override)
			if err != nil {
				t.Fatal(err)
			}
			for i, cluster := range []string{"alpha", "be.ta"} {
				s := stats.New(stats.Options{Tags: tags})
				s.Scope("cluster." + cluster).Counter("upstream_cx_total")
				_, got, _ := strings.Cut(get(s, "/stats/prometheus").Body.String(), "\n")
				if diff := cmp.Diff("envoy_"+c.want[i]+" 0\n", got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestBadTagRules(t *testing.T) {
	for rule, want := range map[stats.TagRule]string{
		{Tag: "nope"}:              "stats_tags[0]: no regex specified for tag specifier and no default regex for name: 'nope'",
		{Tag: "x", Regex: "("}:     `stats_tags[0]: invalid regex "(": missing ): (`,
		{Tag: "x", Regex: `(?!a)`}: `stats_tags[0]: invalid regex "(?!a)": invalid perl operator: (?!`,
	} {
		if _, err := stats.NewTagger([]stats.TagRule{rule}, false, false); err == nil || err.Error() != want {
			t.Errorf("%v: %v, want %s", rule, err, want)
		}
	}
}

// FuzzPrometheusParses: no name, tag or text makes an exposition that parsers
// refuse.
func FuzzPrometheusParses(f *testing.F) {
	f.Add("cluster.a.b", "cluster.a-b", "tag", "value", "text")
	f.Add("x.count", "x", "le", "\"\\\n", "\xff\x00")
	f.Add("x", "x.bucket", "text_value", "", "quantile")
	f.Add("x.sum.count", "x.sum", "", "\xff", "")
	f.Add("", ".", "__name__", "a\u2028", "\r")
	f.Fuzz(func(t *testing.T, a, b, tag, value, text string) {
		rules := []stats.TagRule{{Tag: tag, Fixed: value, IsFixed: true}, {Tag: tag + ".", Fixed: value, IsFixed: true}, {Tag: tag + "_", Fixed: value, IsFixed: true}}
		tags, err := stats.NewTagger(rules, false, false)
		if err != nil {
			t.Fatal(err)
		}
		s := stats.New(stats.Options{Tags: tags, CustomNamespaces: []string{"x"}})
		sc := s.Scope("")
		for _, n := range []string{a, b} {
			sc.Counter(n).Inc()
			sc.Gauge(n + "_").Inc()
			sc.Gauge(n + ".count").Inc()
			sc.Text(n).Set(text)
			sc.Histogram(n, stats.Bytes).Record(uint64(len(a)))
			sc.Histogram(n+".h", stats.Percent).Record(uint64(len(a)))
			sc.Histogram(n+".h.sum", stats.Percent)
		}
		s.Flush()
		parse(t, s, stats.BucketsDefault)
		parse(t, s, stats.BucketsSummary)
	})
}
