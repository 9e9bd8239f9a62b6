package stats

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// A Format is a rendering of the stats.
type Format uint8

// The values of the query parameter format.
const (
	FormatText Format = iota
	FormatJSON
	FormatPrometheus
	FormatHTML
	FormatActiveHTML
)

// A Type is a kind of stats.
type Type uint8

// The values of the query parameter type.
const (
	All Type = iota
	Counters
	Gauges
	Histograms
	TextReadouts
)

// Params are the query parameters of /stats and /stats/prometheus.
type Params struct {
	Format       Format
	Type         Type // not used by Prometheus's format
	Buckets      Buckets
	Filter       *regexp.Regexp // part of the name; nil: all
	InvertFilter bool
	UsedOnly     bool
	TextReadouts bool // in Prometheus's format
	// OnlyHidden asks for hidden stats, of which there are none.
	OnlyHidden bool
}

var (
	bucketsByName = map[string]Buckets{
		"": BucketsDefault, "none": BucketsDefault, "cumulative": BucketsCumulative, "disjoint": BucketsDisjoint,
		"detailed": BucketsDetailed, "summary": BucketsSummary, "prometheusnative": bucketsNative,
	}
	typesByName = map[string]Type{
		"": All, "All": All, "Counters": Counters, "Gauges": Gauges,
		"Histograms": Histograms, "TextReadouts": TextReadouts,
	}
	formatsByName = map[string]Format{
		"": FormatText, "text": FormatText, "json": FormatJSON, "prometheus": FormatPrometheus,
		"html": FormatHTML, "active-html": FormatActiveHTML,
	}
)

// ParseParams reads a raw query. Its errors are Envoy's texts, in the order in
// which Envoy finds them.
func ParseParams(query string) (Params, error) {
	q := parseQuery(query)
	_, used := q["usedonly"]
	_, invert := q["invert_filter"]
	_, texts := q["text_readouts"]
	p := Params{UsedOnly: used, InvertFilter: invert, TextReadouts: texts}
	if f := q["filter"]; f != "" {
		re, err := regexp.Compile(f)
		if err != nil {
			return p, errors.New("Invalid re2 regex: " + RE2Error(err)) //nolint:staticcheck // Envoy's text
		}
		p.Filter = re
	} else if invert {
		return p, errors.New("invert_filter can only be used if filter is also provided")
	}
	var ok bool
	if p.Buckets, ok = bucketsByName[q["histogram_buckets"]]; !ok {
		return p, errors.New("usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary|prometheusnative)\n")
	}
	if p.Type, ok = typesByName[q["type"]]; !ok {
		return p, errors.New("invalid &type= param")
	}
	switch q["hidden"] {
	case "", "include", "exclude":
	case "only":
		p.OnlyHidden = true
	default:
		return p, errors.New("usage: /stats?hidden=(include|only|exclude)\n\n")
	}
	if p.Format, ok = formatsByName[q["format"]]; !ok {
		return p, errors.New("usage: /stats?format=(html|active-html|json|prometheus|text)\n\n")
	}
	return p, nil
}

// check refuses what the format cannot show.
func (p Params) check() error {
	if p.Format == FormatPrometheus {
		switch p.Buckets {
		case BucketsDisjoint, BucketsDetailed:
			return errors.New("unsupported prometheus histogram bucket mode")
		case bucketsNative:
			return errors.New("unsupported prometheusnative histogram type when not using protobuf exposition format")
		}
		return nil
	}
	if p.Buckets == bucketsNative {
		return errors.New("Invalid histogram_buckets type for non prometheus stats type") //nolint:staticcheck // Envoy's text
	}
	return nil
}

// parseQuery differs from [net/url.ParseQuery] as Envoy does: the first of equal
// keys counts, "+" is itself, and broken escapes stay.
func parseQuery(query string) map[string]string {
	q := map[string]string{}
	for part := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(part, "=")
		if key = unescape(key); key == "" {
			continue
		}
		if _, dup := q[key]; !dup {
			q[key] = unescape(value)
		}
	}
	return q
}

func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

// Apply returns the samples of s that p asks for.
func (p Params) Apply(s *Snapshot) *Snapshot {
	out := s.Select(func(name string, used bool) bool {
		return (used || !p.UsedOnly) && !p.OnlyHidden &&
			(p.Filter == nil || p.Filter.MatchString(name) != p.InvertFilter)
	})
	if p.Format == FormatPrometheus || p.Type == All {
		return out
	}
	if p.Type != Counters {
		out.Counters = nil
	}
	if p.Type != Gauges {
		out.Gauges = nil
	}
	if p.Type != Histograms {
		out.Histograms = nil
	}
	if p.Type != TextReadouts {
		out.Texts = nil
	}
	return out
}
