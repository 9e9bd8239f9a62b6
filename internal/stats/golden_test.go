package stats_test

import (
	"encoding/json"
	"math"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ginnel/ginnel/internal/stats"
)

// envoyStore builds the stats that the Envoy which answered envoy-1.40.0.txtar
// had: its access log counted sixty requests, one sample of each histogram a
// request.
func envoyStore(t *testing.T, state string) *stats.Store {
	t.Helper()
	s := stats.New(stats.Options{})
	lds := s.Scope("listener_manager.lds.")
	lds.Text("version_text").Set("v\"1<&>\\\u00e9\n\t\x01z")
	lds.Gauge("version").Set(13540532644980575993)
	root := s.Scope("")
	for name, perRequest := range map[string]uint64{
		"t.cx_total": 3, "t.a:b/c": 1, "t.sp ace": 1, `t.q"uo\te`: 2, "t.uni\u00e9": 4, "t.da-sh": 5, "t.a.b": 6,
		"t.a-b2": 7, "t.a_b3": 7, "t.aa": 8, "t.zero": 0, "t.big": math.MaxInt64, "t.e$": 1, "t.A": 1, "t.1x": 1,
		"t.<b>": 2, "t.tab\t": 2,
	} {
		for range 60 {
			root.Counter(name).Add(perRequest)
		}
	}
	for name, v := range map[string]uint64{"t.g.one": 1, "t.g.zero": 0, "t.a.c": 9, "t.cx_active": 4} {
		root.Gauge(name).Set(v)
	}
	recordSamples(t, s)
	if state == "idle" {
		s.Flush()
	}
	return s
}

func recordSamples(t *testing.T, s *stats.Store) {
	t.Helper()
	text, err := os.ReadFile("testdata/samples.json")
	if err != nil {
		t.Fatal(err)
	}
	var samples []struct{ A, B, C, E, F, G uint64 }
	if err := json.Unmarshal(text, &samples); err != nil {
		t.Fatal(err)
	}
	sc := s.Scope("t.")
	for i, v := range samples {
		sc.Histogram("h.ms", stats.Milliseconds).Record(v.A)
		sc.Histogram("h.us", stats.Microseconds).Record(v.B)
		sc.Histogram("h.bytes", stats.Bytes).Record(v.C)
		sc.Histogram("h.pct", stats.Percent).Record(v.E * stats.PercentScale)
		sc.Histogram("ah", stats.Milliseconds).Record(v.F)
		sc.Histogram("h.big", stats.Bytes).Record(v.G)
		if i == 39 {
			s.Flush()
		}
	}
	s.Flush()
}

func get(s *stats.Store, url string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeStats(w, httptest.NewRequest("GET", url, nil))
	return w
}

func TestAnswersAreEnvoys(t *testing.T) {
	a, err := txtar.ParseFile("testdata/envoy-1.40.0.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Files) < 20 {
		t.Fatalf("only %d answers", len(a.Files))
	}
	for _, f := range a.Files {
		t.Run(f.Name, func(t *testing.T) {
			state, url, _ := strings.Cut(f.Name, " ")
			got := get(envoyStore(t, state), url).Body.String()
			if strings.HasPrefix(got, "{") {
				got += "\n"
			}
			if diff := cmp.Diff(string(f.Data), got); diff != "" {
				t.Errorf("-envoy +ginnel:\n%s", diff)
			}
		})
	}
}

// TestTagsAreEnvoys builds stats of the names that a large Envoy had and
// compares families, labels and order.
func TestTagsAreEnvoys(t *testing.T) {
	a, err := txtar.ParseFile("testdata/tags-1.40.0.txtar")
	if err != nil {
		t.Fatal(err)
	}
	root := stats.New(stats.Options{})
	sc := root.Scope("")
	want := ""
	for _, f := range a.Files {
		if f.Name == "prometheus" {
			want = string(f.Data)
			continue
		}
		for name := range strings.Lines(string(f.Data)) {
			switch name = strings.TrimSuffix(name, "\n"); f.Name {
			case "Counters":
				sc.Counter(name)
			case "Gauges":
				sc.Gauge(name)
			case "Histograms":
				sc.Histogram(name, stats.Milliseconds)
			}
		}
	}
	var got strings.Builder
	for line := range strings.Lines(get(root, "/stats/prometheus").Body.String()) {
		if strings.Contains(line, "_bucket{") {
			continue
		}
		if !strings.HasPrefix(line, "#") {
			line = line[:strings.LastIndexByte(line, ' ')] + "\n"
		}
		got.WriteString(line)
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got.String(), "\n")); diff != "" {
		t.Errorf("-envoy +ginnel:\n%s", diff)
	}
}
