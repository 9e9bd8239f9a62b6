package stats_test

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An exposition is Prometheus's text format taken apart by the rules of its
// documentation: a family is one group that begins with its type, no other
// family has its names, names and labels have their grammar, and the labels of a
// sample differ.
type exposition struct {
	family  string // of the current line
	types   map[string]string
	samples map[string][]promSample // by name
}

type promSample struct {
	labels map[string]string
	value  float64
}

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*`)
	labelStart = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="`)
	knownTypes = map[string]bool{"counter": true, "gauge": true, "histogram": true, "summary": true}
)

func parseExposition(text string) (*exposition, error) {
	e := &exposition{types: map[string]string{}, samples: map[string][]promSample{}}
	if text != "" && !strings.HasSuffix(text, "\n") {
		return e, fmt.Errorf("no newline at the end")
	}
	if !utf8.ValidString(text) {
		return e, fmt.Errorf("not UTF-8")
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		var err error
		switch {
		case line == "":
		case strings.HasPrefix(line, "#"):
			err = e.typeLine(line)
		default:
			err = e.sampleLine(line)
		}
		if err != nil {
			return e, fmt.Errorf("%w in %q", err, line)
		}
	}
	return e, e.checkDistributions()
}

func (e *exposition) typeLine(line string) error {
	f := strings.Split(line, " ")
	if len(f) != 4 || f[0] != "#" || f[1] != "TYPE" || metricName.FindString(f[2]) != f[2] || !knownTypes[f[3]] {
		return fmt.Errorf("bad type line")
	}
	if e.types[f[2]] != "" {
		return fmt.Errorf("second type")
	}
	e.family, e.types[f[2]] = f[2], f[3]
	for _, part := range e.parts() {
		if e.samples[part] != nil {
			return fmt.Errorf("samples of %s came before", part)
		}
	}
	return nil
}

// parts are the names that samples of the current family can have.
func (e *exposition) parts() []string {
	switch e.types[e.family] {
	case "histogram":
		return []string{e.family + "_bucket", e.family + "_sum", e.family + "_count"}
	case "summary":
		return []string{e.family, e.family + "_sum", e.family + "_count"}
	}
	return []string{e.family}
}

func (e *exposition) sampleLine(line string) error {
	name := metricName.FindString(line)
	rest, ok := strings.CutPrefix(line[len(name):], "{")
	if name == "" || !ok || !slices.Contains(e.parts(), name) {
		return fmt.Errorf("bad name")
	}
	s := promSample{labels: map[string]string{}}
	for !strings.HasPrefix(rest, "}") {
		m := labelStart.FindStringSubmatch(rest)
		if m == nil {
			return fmt.Errorf("bad label at %q", rest)
		}
		if _, dup := s.labels[m[1]]; dup || strings.HasPrefix(m[1], "__") {
			return fmt.Errorf("label %q twice or reserved", m[1])
		}
		var err error
		if s.labels[m[1]], rest, err = labelValue(rest[len(m[0]):]); err != nil {
			return err
		}
		if next, more := strings.CutPrefix(rest, ","); more {
			rest = next
		} else if !strings.HasPrefix(rest, "}") {
			return fmt.Errorf("no comma at %q", rest)
		}
	}
	number, ok := strings.CutPrefix(rest, "} ")
	if !ok {
		return fmt.Errorf("no value")
	}
	var err error
	s.value, err = strconv.ParseFloat(number, 64)
	e.samples[name] = append(e.samples[name], s)
	return err
}

func labelValue(s string) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			i++
			if i == len(s) || !strings.ContainsRune(`\"n`, rune(s[i])) {
				return "", "", fmt.Errorf("bad escape")
			}
			b.WriteString(map[byte]string{'\\': `\`, '"': `"`, 'n': "\n"}[s[i]])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", fmt.Errorf("open label value")
}

func (e *exposition) checkDistributions() error {
	for name, kind := range e.types {
		if kind != "histogram" && kind != "summary" {
			continue
		}
		part, label := name+"_bucket", "le"
		if kind == "summary" {
			part, label = name, "quantile"
		}
		if len(e.samples[part]) == 0 || len(e.samples[name+"_sum"]) == 0 || len(e.samples[name+"_count"]) == 0 {
			return fmt.Errorf("%s %s is incomplete", kind, name)
		}
		before := math.Inf(-1)
		for _, s := range e.samples[part] {
			at, err := strconv.ParseFloat(s.labels[label], 64)
			if err != nil {
				return fmt.Errorf("%s %s: %w", kind, name, err)
			}
			first := at == 0 || at == 0.5 // the next series of the family
			if at <= before && !first {
				return fmt.Errorf("%s %s: %s not ascending", kind, name, label)
			}
			before = at
		}
	}
	return nil
}
