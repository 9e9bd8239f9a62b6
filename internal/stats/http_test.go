package stats_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/internal/stats"
)

// TestBadParams has the texts that Envoy 1.40.0 answers, and shows which of
// several errors it finds first.
func TestBadParams(t *testing.T) {
	const (
		buckets = "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary|prometheusnative)\n"
		hidden  = "usage: /stats?hidden=(include|only|exclude)\n\n"
		format  = "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n"
	)
	s := stats.New(stats.Options{})
	for url, want := range map[string]string{
		"/stats?filter=[":                                      "Invalid re2 regex: missing ]: [",
		"/stats?filter=(?!a)":                                  "Invalid re2 regex: invalid perl operator: (?!",
		"/stats?filter=a{1001}":                                "Invalid re2 regex: invalid repetition size: {1001}",
		"/stats?filter=%5C":                                    `Invalid re2 regex: trailing \`,
		"/stats?filter=*":                                      "Invalid re2 regex: no argument for repetition operator: *",
		"/stats?filter=a(":                                     "Invalid re2 regex: missing ): a(",
		"/stats?filter=a)":                                     "Invalid re2 regex: unexpected ): a)",
		"/stats?filter=%5Cq":                                   `Invalid re2 regex: invalid escape sequence: \q`,
		"/stats?filter=[b-a]":                                  "Invalid re2 regex: invalid character class range: b-a",
		"/stats?filter=(?P<x":                                  "Invalid re2 regex: invalid named capture group: (?P<x",
		"/stats?filter=a**":                                    "Invalid re2 regex: bad repetition operator: **",
		"/stats?filter=[[:foo:]]":                              "Invalid re2 regex: invalid character class range: [:foo:]",
		"/stats?filter=%5CpX":                                  `Invalid re2 regex: invalid character class range: \pX`,
		"/stats?filter=%ff":                                    "Invalid re2 regex: invalid UTF-8",
		"/stats?invert_filter":                                 "invert_filter can only be used if filter is also provided",
		"/stats?filter=&invert_filter":                         "invert_filter can only be used if filter is also provided",
		"/stats?type=x":                                        "invalid &type= param",
		"/stats?type=counters":                                 "invalid &type= param",
		"/stats?format=x":                                      format,
		"/stats?format=JSON":                                   format,
		"/stats?histogram_buckets=combined":                    buckets,
		"/stats?hidden=showonly":                               hidden,
		"/stats?filter=[&type=x&histogram_buckets=z":           "Invalid re2 regex: missing ]: [",
		"/stats?type=x&format=y&histogram_buckets=z":           buckets,
		"/stats?type=x&format=y&hidden=z":                      "invalid &type= param",
		"/stats?format=y&hidden=z":                             hidden,
		"/stats?histogram_buckets=prometheusnative":            "Invalid histogram_buckets type for non prometheus stats type",
		"/stats/prometheus?filter=[":                           "Invalid re2 regex: missing ]: [",
		"/stats/prometheus?format=x":                           format,
		"/stats/prometheus?type=x":                             "invalid &type= param",
		"/stats/prometheus?histogram_buckets=detailed":         "unsupported prometheus histogram bucket mode",
		"/stats?format=prometheus&histogram_buckets=disjoint":  "unsupported prometheus histogram bucket mode",
		"/stats/prometheus?histogram_buckets=prometheusnative": "unsupported prometheusnative histogram type when not using protobuf exposition format",
	} {
		w := get(s, url)
		if got := w.Body.String(); w.Code != http.StatusBadRequest || got != want {
			t.Errorf("%s: %d %q, want %q", url, w.Code, got, want)
		}
	}
}

func TestParams(t *testing.T) {
	s := stats.New(stats.Options{})
	sc := s.Scope("t.")
	sc.Counter("cx_total").Inc()
	sc.Gauge("one").Set(1)
	const textBody, promBody = "t.cx_total: 1\nt.one: 1\n", "# TYPE envoy_t_cx_total counter\nenvoy_t_cx_total{} 1\n# TYPE envoy_t_one gauge\nenvoy_t_one{} 1\n"
	const textType = "text/plain; charset=UTF-8"
	for url, want := range map[string][2]string{
		"/stats?filter=&type=&format=&hidden=&histogram_buckets=": {textType, textBody},
		"/stats?hidden=include":                                   {textType, textBody},
		"/stats?hidden=only":                                      {textType, ""},
		"/stats?Format=json":                                      {textType, textBody},
		"/stats?format=text&format=json":                          {textType, textBody},
		"/stats?format=json&format=text&hidden=only":              {"application/json", `{"stats":[]}`},
		"/stats?filter=t%5C.cx+":                                  {textType, "t.cx_total: 1\n"},
		"/stats?filter=t%5C.cx%zz":                                {textType, ""},
		"/stats?&type=Gauges&":                                    {textType, "t.one: 1\n"},
		"/stats/prometheus?format=json":                           {textType, promBody},
		"/stats/prometheus?type=Gauges":                           {textType, promBody},
		"/stats?format=prometheus&filter=zzz":                     {textType, ""},
		"/stats?format=json&type=Histograms":                      {"application/json", `{"stats":[]}`},
	} {
		w := get(s, url)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != want[0] || w.Body.String() != want[1] {
			t.Errorf("%s: %d %s %q, want %q", url, w.Code, w.Header().Get("Content-Type"), w.Body.String(), want)
		}
	}
}

func TestHTMLIsEscaped(t *testing.T) {
	s := stats.New(stats.Options{})
	s.Scope("").Text("<script>").Set("</pre>&")
	for _, f := range []string{"html", "active-html"} {
		w := get(s, "/stats?format="+f)
		if got := w.Header().Get("Content-Type"); got != "text/html; charset=UTF-8" {
			t.Errorf("content type %q", got)
		}
		if !strings.Contains(w.Body.String(), "&lt;script&gt;: &#34;&lt;/pre&gt;&amp;&#34;\n</pre>") {
			t.Errorf("got\n%s", w.Body)
		}
	}
}
