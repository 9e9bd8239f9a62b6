package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A table is results as words.
type table struct {
	title, about string
	head         []string
	rows         [][]string
	note         string // "": none
}

// table makes the table of a scenario: a row for each subject with the median and the
// spread of each metric, then the ratios of the first metric.
func (r *report) table(s *scenario) table {
	t := table{title: s.Name, about: s.About, head: []string{""}}
	for _, m := range s.Metrics {
		t.head = append(t.head, m.Key+", "+m.Unit)
	}
	names := ordered(r.subjects(s.Name))
	peers := peersOf(names)
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
	if others := r.others(s.Name); others.median > disturbed {
		t.note = fmt.Sprintf("Disturbed: others took %.0f %% of the CPUs (%.0f to %.0f) meanwhile.", 100*others.median, 100*others.min, 100*others.max)
	}
	return t
}

// unchained splits the name of a subject into its family and its number of hops.
func unchained(name string) (family string, hops int) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return name, 0
	}
	hops, err := strconv.Atoi(name[i+1:])
	if err != nil {
		return name, 0
	}
	return name[:i], hops
}

// noHop stands for the same proxy without internal hops.
const noHop = "no hop"

// peersOf are those that ratios are taken to, of those that took part: with and
// without splice HAProxy is one, the stronger.
func peersOf(names []string) (peers []string) {
	families := map[string]bool{}
	hops := false
	for _, name := range names {
		family, n := unchained(name)
		families[family] = true
		hops = hops || n > 0
	}
	if families["haproxy-splice"] {
		families["haproxy"] = false
	}
	for _, p := range []string{"envoy", "haproxy", "haproxy-splice", "nginx"} {
		if families[p] {
			peers = append(peers, p)
		}
	}
	if hops {
		peers = append(peers, noHop)
	}
	return peers
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
	if !ok {
		return "-"
	}
	return x.String()
}

// digits writes a number with three digits that count, and thousands apart.
func digits(x float64) string {
	abs := math.Abs(x)
	switch {
	case x == 0:
		return "0"
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

// ordered puts proxies without hops before chains, then goes by family, variants after
// ginnel, then by hops.
func ordered(names []string) []string {
	place := func(name string) (chained, family, hops int) {
		f, n := unchained(name)
		at := slices.Index(families, f)
		if at < 0 {
			at = slices.Index(families, "ginnel-pipes")
		}
		return min(n, 1), at, n
	}
	all := slices.Clone(names)
	slices.SortStableFunc(all, func(a, b string) int {
		ca, fa, na := place(a)
		cb, fb, nb := place(b)
		fa2, _ := unchained(a)
		fb2, _ := unchained(b)
		return cmp.Or(ca-cb, fa-fb, strings.Compare(fa2, fb2), na-nb)
	})
	return all
}

// text is the table for a terminal.
func (t table) text() string {
	lines := append([][]string{t.head}, t.rows...)
	width := make([]int, len(t.head))
	for _, row := range lines {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", t.title, t.about)
	for _, row := range lines {
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
	if t.note != "" {
		b.WriteString("  " + t.note + "\n")
	}
	return b.String()
}

// markdown is the same for the document.
func (t table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s.\n\n", upper(t.title), upper(t.about))
	fmt.Fprintf(&b, "| %s |\n|---|%s\n", strings.Join(t.head, " | "), strings.Repeat("---:|", len(t.head)-1))
	for _, row := range t.rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
	}
	if t.note != "" {
		b.WriteString("\n" + t.note + "\n")
	}
	return b.String()
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
