package stats_test

import (
	"strings"
	"testing"

	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ginnel/ginnel/internal/stats"
)

func configure(t *testing.T, json string, cli ...stats.Tag) (stats.Options, error) {
	t.Helper()
	c := new(metricsv3.StatsConfig)
	if err := protojson.Unmarshal([]byte(json), c); err != nil {
		t.Fatal(err)
	}
	return stats.Configure(c, cli)
}

func TestStatsMatcher(t *testing.T) {
	for json, want := range map[string]string{
		`{}`:                                     "http.B.x cluster.a.x tcp.c.x",
		`{"stats_matcher":{"reject_all":true}}`:  "",
		`{"stats_matcher":{"reject_all":false}}`: "http.B.x cluster.a.x tcp.c.x",
		`{"stats_matcher":{"inclusion_list":{"patterns":[{"prefix":"cluster."},{"suffix":"c.x"}]}}}`:                                 "cluster.a.x tcp.c.x",
		`{"stats_matcher":{"exclusion_list":{"patterns":[{"exact":"tcp.c.x"},{"contains":".b.","ignore_case":true}]}}}`:              "cluster.a.x",
		`{"stats_matcher":{"inclusion_list":{"patterns":[{"safe_regex":{"regex":"[a-z]+\\.a.x"}},{"safe_regex":{"regex":"tcp"}}]}}}`: "cluster.a.x",
	} {
		o, err := configure(t, json)
		if err != nil {
			t.Fatalf("%s: %v", json, err)
		}
		s := stats.New(o)
		for _, name := range []string{"http.B.x", "cluster.a.x", "tcp.c.x"} {
			s.Scope("").Counter(name)
		}
		got := text(t, s)
		for _, name := range []string{"http.B.x", "cluster.a.x", "tcp.c.x"} {
			if strings.Contains(got, name) != strings.Contains(want, name) {
				t.Errorf("%s: got %q, want %q", json, got, want)
			}
		}
	}
}

func TestHistogramBucketSettings(t *testing.T) {
	o, err := configure(t, `{"histogram_bucket_settings":[{"match":{"prefix":"a."},"buckets":[10,2,1]},{"match":{"prefix":"a.b"},"buckets":[7]}]}`)
	if err != nil {
		t.Fatal(err)
	}
	s := stats.New(o)
	for _, n := range []string{"a.b", "c"} {
		s.Scope("").Histogram(n, stats.Bytes).Record(2)
	}
	s.Flush()
	got := get(s, "/stats?histogram_buckets=cumulative").Body.String()
	if !strings.HasPrefix(got, "a.b: B1(0,0) B2(1,1) B10(1,1)\nc: B0.5(0,0) B1(0,0) B5(1,1) ") {
		t.Errorf("got %s", got)
	}
}

func TestStatsConfigTags(t *testing.T) {
	o, err := configure(t, `{"use_all_default_tags":false,"stats_tags":[{"tag_name":"t","regex":"^tcp\\.((.*?)\\.)"},{"tag_name":"f","fixed_value":""}]}`,
		stats.Tag{Name: "zone", Value: "z1"})
	if err != nil {
		t.Fatal(err)
	}
	s := stats.New(o)
	s.Scope("tcp.in.").Counter("cx")
	if got, want := get(s, "/stats/prometheus").Body.String(), "# TYPE envoy_tcp_cx counter\nenvoy_tcp_cx{zone=\"z1\",f=\"\",t=\"in\"} 0\n"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestBadStatsConfig(t *testing.T) {
	for json, want := range map[string]string{
		`{"stats_tags":[{"tag_name":"a","fixed_value":"b"},{"tag_name":"x"}]}`:             "stats_tags[1]: no regex specified",
		`{"stats_matcher":{"inclusion_list":{"patterns":[{"safe_regex":{"regex":"("}}]}}}`: "stats_matcher.inclusion_list.patterns[0]: safe_regex: missing ): ",
		`{"stats_matcher":{"exclusion_list":{"patterns":[{}]}}}`:                           "stats_matcher.exclusion_list.patterns[0]: unsupported string matcher",
		`{"histogram_bucket_settings":[{"match":{"custom":{"name":"x"}},"buckets":[1]}]}`:  "histogram_bucket_settings[0].match: unsupported string matcher",
	} {
		if _, err := configure(t, json, stats.Tag{Name: "cli"}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", json, err, want)
		}
	}
}
