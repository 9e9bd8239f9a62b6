package main

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// A table is one scenario's results, as words.
type table struct {
	title, about string
	head         []string
	rows         [][]string
}

// table makes the table of a scenario: a row for each subject with the median and the
// spread of each metric, then the ratios of the first metric.
func (r *report) table(s *scenario) table {
	t := table{title: s.Name, about: s.About, head: []string{""}}
	names := ordered(r.subjects(s.Name))
	for _, m := range s.Metrics {
		t.head = append(t.head, m.Key+", "+m.Unit)
	}
	peers := r.peers(s, names)
	for _, p := range peers {
		t.head = append(t.head, "x "+p)
	}
	for _, name := range names {
		row := []string{name}
		for _, m := range s.Metrics {
			row = append(row, r.cell(s.Name, name, m.Key))
		}
		for _, p := range peers {
			row = append(row, r.times(s, name, p))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// noHop stands for the same proxy without internal hops.
const noHop = "no hop"

// peers are those that ratios are taken to.
func (r *report) peers(s *scenario, names []string) []string {
	var some []string
	hops := false
	for _, name := range names {
		family, n := unchained(name)
		if n > 0 {
			hops = true
		} else if family == "envoy" || family == "nginx" || family == "haproxy-splice" || (family == "haproxy" && !s.splice) {
			some = append(some, family)
		} else {
			continue
		}
	}
	if hops && len(names) > 1 {
		if !contains(some, "envoy") && containsFamily(names, "envoy") {
			some = append([]string{"envoy"}, some...)
		}
		some = append(some, noHop)
	}
	return some
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func containsFamily(names []string, family string) bool {
	for _, n := range names {
		if f, _ := unchained(n); f == family {
			return true
		}
	}
	return false
}

// unchained splits the name of a subject into its family and its number of hops.
func unchained(name string) (family string, hops int) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return name, 0
	}
	if _, err := fmt.Sscanf(name[i+1:], "%d", &hops); err != nil || hops == 0 {
		return name, 0
	}
	return name[:i], hops
}

// times is the ratio of the first metric of a subject to a peer: to Envoy with as
// many hops, to others as they are, to itself without hops.
func (r *report) times(s *scenario, name, peer string) string {
	family, hops := unchained(name)
	switch {
	case peer == noHop && hops == 0:
		return ""
	case peer == noHop && family == "ginnel-pipes":
		peer = "ginnel"
	case peer == noHop:
		peer = family
	case peer == "envoy" && hops > 0:
		peer = fmt.Sprintf("envoy-%d", hops)
	}
	x, ok := r.ratio(s.Name, s.Metrics[0].Key, name, peer)
	if !ok || name == peer {
		return ""
	}
	return fmt.Sprintf("%.2f", x.median)
}

func (r *report) cell(scenario, subject, key string) string {
	x, ok := r.spread(scenario, subject, key)
	switch {
	case !ok:
		return "-"
	case x.n == 1:
		return digits(x.median)
	}
	return fmt.Sprintf("%s (%s to %s)", digits(x.median), digits(x.min), digits(x.max))
}

// digits writes a number with three digits that count, and thousands apart.
func digits(x float64) string {
	abs := math.Abs(x)
	switch {
	case abs >= 99.95:
		return thousands(x)
	case abs >= 9.995:
		return fmt.Sprintf("%.1f", x)
	case abs >= 0.9995:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3f", x)
}

func thousands(x float64) string {
	s := fmt.Sprintf("%.0f", math.Abs(x))
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if x < 0 {
		return "-" + s
	}
	return s
}

// ordered puts each family's hops after one another, as they come first.
func ordered(names []string) []string {
	var all []string
	for _, hops := range []bool{false, true} {
		for _, name := range names {
			if _, n := unchained(name); (n > 0) != hops || contains(all, name) {
				continue
			}
			if !hops {
				all = append(all, name)
				continue
			}
			family, _ := unchained(name)
			for _, other := range names {
				if f, n := unchained(other); f == family && n > 0 && !contains(all, other) {
					all = append(all, other)
				}
			}
		}
	}
	return all
}

// text is the table for a terminal.
func (t table) text() string {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", t.title, t.about)
	for _, row := range append([][]string{t.head}, t.rows...) {
		line := ""
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 0 {
				line += "  " + c + pad
			} else {
				line += "  " + pad + c
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// markdown is the same for the document.
func (t table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s.\n\n", t.title, upper(t.about))
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(t.head, " | "), "---|"+strings.Repeat("---:|", len(t.head)-1))
	for _, row := range t.rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
	}
	return b.String()
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
