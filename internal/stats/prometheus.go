package stats

import (
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"
)

// WritePrometheus renders s in Prometheus's text format: counters, gauges, text
// readouts if texts, histograms; with BucketsSummary, histograms as summaries of
// the last interval.
//
// It differs from Envoy where Envoy's output is not a valid exposition: stats of
// one kind whose names become equal share one family, stats of different kinds
// get different names, and so do labels; text is valid UTF-8.
func WritePrometheus(w io.Writer, s *Snapshot, mode Buckets, texts bool) error {
	p := prometheus{output: newOutput(w), snapshot: s, claimed: map[string]bool{}}
	writeFamilies(&p, "counter", s.Counters, p.number)
	writeFamilies(&p, "gauge", s.Gauges, p.number)
	if texts {
		writeFamilies(&p, "gauge", s.Texts, p.text)
	}
	if mode == BucketsSummary {
		writeFamilies(&p, "summary", s.Histograms, p.summary)
	} else {
		writeFamilies(&p, "histogram", s.Histograms, p.histogram)
	}
	return p.flush()
}

type prometheus struct {
	*output
	snapshot *Snapshot
	claimed  map[string]bool // names in use
	labels   []byte          // scratch
	taken    []string        // scratch: the labels' names
}

// A series is a stat with its name taken apart.
type series[S named] struct {
	stat   S
	tagged *tagged
}

type tagging interface {
	named
	split(t *Tagger) *tagged
}

func (s sample) split(t *Tagger) *tagged { return t.split(s) }

// writeFamilies writes the stats of one kind, those of one family together:
// families by their name without tags, series by their full name, both in the
// order of Envoy's symbol table.
func writeFamilies[S tagging](p *prometheus, kind string, stats []S, write func(family string, tags []Tag, s S)) {
	all := make([]series[S], len(stats))
	for i, s := range stats {
		all[i] = series[S]{s, s.split(p.snapshot.tags)}
	}
	slices.SortFunc(all, func(a, b series[S]) int {
		return cmp.Or(compareTokens(a.tagged.rest, b.tagged.rest), compareTokens(a.stat.name(), b.stat.name()))
	})
	families := map[string][]series[S]{}
	var order []string
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].tagged.rest == all[i].tagged.rest {
			j++
		}
		if name, ok := p.familyName(all[i].tagged.rest); ok {
			if families[name] == nil {
				order = append(order, name)
				families[name] = all[i:j:j]
			} else {
				families[name] = append(families[name], all[i:j]...)
			}
		}
		i = j
	}
	for _, family := range order {
		name := p.claim(family, kind)
		p.string("# TYPE ", name, " ", kind, "\n")
		for _, s := range families[family] {
			write(name, s.tagged.tags, s.stat)
			p.room()
		}
	}
}

// claim returns name, or if a family of another kind has it or a name that the
// format derives from it, name with the kind at its end.
func (p *prometheus) claim(name, kind string) string {
	parts := []string{""}
	if kind == "histogram" || kind == "summary" {
		parts = []string{"", "_bucket", "_sum", "_count"}
	}
	for slices.ContainsFunc(parts, func(part string) bool { return p.claimed[name+part] }) {
		name += "_" + kind
	}
	for _, part := range parts {
		p.claimed[name+part] = true
	}
	return name
}

// compareTokens orders names as lists of dot-separated tokens.
func compareTokens(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] != b[i] {
			switch {
			case a[i] == '.':
				return -1
			case b[i] == '.':
				return 1
			}
			return int(a[i]) - int(b[i])
		}
	}
	return len(a) - len(b)
}

// familyName returns the name of the family of the stats called rest, and
// whether it is one that Prometheus can have.
func (p *prometheus) familyName(rest string) (string, bool) {
	for _, n := range p.snapshot.namespaces {
		if custom, ok := strings.CutPrefix(rest, n+"."); ok {
			name := promName(custom)
			return name, name != "" && (name[0] < '0' || name[0] > '9')
		}
	}
	return "envoy_" + promName(rest), true
}

// promName replaces every byte that Prometheus allows in no name.
func promName(s string) string {
	if strings.IndexFunc(s, notInName) < 0 {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if notInName(rune(c)) {
			b[i] = '_'
		}
	}
	return string(b)
}

func notInName(r rune) bool {
	return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

func (p *prometheus) number(family string, tags []Tag, n NumberSample) {
	p.line(family, "", p.tags(tags))
	p.buf = append(strconv.AppendUint(p.buf, n.Value, 10), '\n')
}

// text writes the readout as the label of a gauge that is always 0.
func (p *prometheus) text(family string, tags []Tag, t TextSample) {
	p.line(family, "", p.tags(append(slices.Clip(tags), Tag{"text_value", t.Value})))
	p.string("0\n")
}

func (p *prometheus) histogram(family string, tags []Tag, h HistogramSample) {
	labels := p.tags(tags, "le")
	counts := h.Cumulative.buckets(h.Bounds, BucketsCumulative)
	for i, bound := range h.Bounds {
		p.with(family, "_bucket", labels, "le")
		p.buf = append(appendExact(p.buf, bound), `"} `...)
		p.buf = append(strconv.AppendUint(p.buf, counts[i], 10), '\n')
	}
	p.with(family, "_bucket", labels, "le")
	p.string(`+Inf"} `)
	p.buf = append(strconv.AppendUint(p.buf, h.Cumulative.Count(), 10), '\n')
	p.sumAndCount(family, labels, h.Cumulative)
}

func (p *prometheus) summary(family string, tags []Tag, h HistogramSample) {
	labels := p.tags(tags, "quantile")
	for i, v := range h.Interval.Quantiles(quantiles) {
		p.with(family, "", labels, "quantile")
		p.buf = append(appendShortest(p.buf, quantiles[i]), `"} `...)
		p.buf = append(appendExact(p.buf, v), '\n')
	}
	p.sumAndCount(family, labels, h.Interval)
}

func (p *prometheus) sumAndCount(family string, labels []byte, d Distribution) {
	p.line(family, "_sum", labels)
	p.buf = append(appendExact(p.buf, d.Sum()), '\n')
	p.line(family, "_count", labels)
	p.buf = append(strconv.AppendUint(p.buf, d.Count(), 10), '\n')
}

// line begins a line up to its value.
func (p *prometheus) line(family, suffix string, labels []byte) {
	p.string(family, suffix, "{")
	p.buf = append(append(p.buf, labels...), "} "...)
}

// with begins a line up to the value of one more label.
func (p *prometheus) with(family, suffix string, labels []byte, label string) {
	p.string(family, suffix, "{")
	if p.buf = append(p.buf, labels...); len(labels) > 0 {
		p.string(",")
	}
	p.string(label, `="`)
}

// tags formats the tags as labels; the names in reserved are the format's own.
// The result is valid until the next call.
func (p *prometheus) tags(tags []Tag, reserved ...string) []byte {
	p.labels, p.taken = p.labels[:0], append(p.taken[:0], reserved...)
	for i, t := range tags {
		name := labelName(t.Name)
		for slices.Contains(p.taken, name) {
			name = "exported_" + name
		}
		p.taken = append(p.taken, name)
		if i > 0 {
			p.labels = append(p.labels, ',')
		}
		p.labels = append(append(p.labels, name...), `="`...)
		p.labels = append(appendLabelValue(p.labels, t.Value), '"')
	}
	return p.labels
}

func labelName(tag string) string {
	name := promName(tag)
	if name == "" || name[0] >= '0' && name[0] <= '9' || strings.HasPrefix(name, "__") {
		return "tag_" + name
	}
	return name
}

func appendLabelValue(to []byte, s string) []byte {
	s = strings.ToValidUTF8(s, "\uFFFD")
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\', '"':
			to = append(to, '\\', c)
		case '\n':
			to = append(to, '\\', 'n')
		default:
			to = append(to, c)
		}
	}
	return to
}
