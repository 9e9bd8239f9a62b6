package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// threeRounds is a report in which a slow round disturbs everybody.
func threeRounds() *report {
	r := &report{Date: "2000-01-01", Machine: "a machine", Rounds: 3, Window: 1}
	for round, slow := range []float64{1, 10, 2} {
		for name, cpu := range map[string]float64{"ginnel": 1, "ginnel-8": 1.5, "ginnel-pipes-8": 3, "envoy": 2, "envoy-8": 6, "a<b": 4} {
			r.Samples = append(r.Samples, sample{Scenario: "bulk-down-1", Subject: name, Round: round, Values: values{cpuPerGB.Key: slow * cpu, speed.Key: 1}, Others: 0.5})
		}
	}
	r.Samples = append(r.Samples, sample{Scenario: "bulk-down-1", Subject: "envoy", Round: 3, Values: values{cpuPerGB.Key: 1000}})
	r.Samples = append(r.Samples, sample{Scenario: "bulk-down-1", Subject: "nginx", Round: 0, Error: "did not start"})
	return r
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		all  []float64
		want spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3, 1}},
		{[]float64{9, 1}, spread{5, 1, 9, 2}},
		{[]float64{9, 1, 2}, spread{2, 1, 9, 3}},
	} {
		if got := spreadOf(c.all); got != c.want {
			t.Errorf("%v: %v, want %v", c.all, got, c.want)
		}
	}
}

// TestRatio: ratios are taken within rounds, and rounds that one side lacks are left out.
func TestRatio(t *testing.T) {
	r := threeRounds()
	if got, _ := r.ratio("bulk-down-1", cpuPerGB.Key, "ginnel", "envoy"); got != (spread{0.5, 0.5, 0.5, 3}) {
		t.Errorf("ratio: %+v", got)
	}
	if got, _ := r.perHop("bulk-down-1", cpuPerGB.Key, "envoy-8", "envoy", 8); got != (spread{1, 0.5, 5, 3}) {
		t.Errorf("per hop: %+v", got)
	}
	if got, ok := r.ratio("bulk-down-1", cpuPerGB.Key, "ginnel", "nginx"); ok {
		t.Errorf("a ratio to what did not run: %+v", got)
	}
}

func TestTable(t *testing.T) {
	s := bulk("bulk-down-1", "one way", job{}, chains)
	got := threeRounds().table(&s).markdown()
	want := `### Bulk-down-1

One way.

|  | CPU, s/GB | throughput, GB/s | x envoy | x nginx | x no hop |
|---|---:|---:|---:|---:|---:|
| ginnel | 2.00 (1.00 to 10.0) | 1.00 (1.00 to 1.00) | 0.50 |  |  |
| a<b | 8.00 (4.00 to 40.0) | 1.00 (1.00 to 1.00) | 2.00 |  |  |
| envoy | 12.0 (2.00 to 1,000) | 1.00 (1.00 to 1.00) |  |  |  |
| nginx | - | - |  |  |  |
| ginnel-8 | 3.00 (1.50 to 15.0) | 1.00 (1.00 to 1.00) | 0.25 |  | 1.50 |
| ginnel-pipes-8 | 6.00 (3.00 to 30.0) | 1.00 (1.00 to 1.00) | 0.50 |  | 3.00 |
| envoy-8 | 12.0 (6.00 to 60.0) | 1.00 (1.00 to 1.00) |  |  | 3.00 |

Disturbed: others took 50 % of the CPUs (0 to 50) meanwhile.
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for line := range strings.Lines(threeRounds().table(&s).text()) {
		if strings.TrimRight(line, " \n")+"\n" != line {
			t.Errorf("spaces at the end: %q", line)
		}
	}
}

func TestOrdered(t *testing.T) {
	got := ordered([]string{"nginx", "envoy-8", "haproxy-splice", "envoy", "mine-2", "ginnel-8", "ginnel-1", "mine", "ginnel", "haproxy", direct})
	want := []string{direct, "ginnel", "mine", "envoy", "haproxy", "haproxy-splice", "nginx", "ginnel-1", "ginnel-8", "mine-2", "envoy-8"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestDigits(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.0123: "0.012", 0.9996: "1.00", 9.999: "10.0", 99.96: "100", 1234567.8: "1,234,568", -1234: "-1,234", -0.5: "-0.500"} {
		if got := digits(x); got != want {
			t.Errorf("%v: %s, want %s", x, got, want)
		}
	}
}

func TestTargets(t *testing.T) {
	verdicts := map[string]string{}
	for _, row := range threeRounds().targetTable().rows {
		verdicts[row[0]] = row[3]
	}
	want := map[string]string{"bulk down, 1 connection, to Envoy": "reached", "8 hops to none, bulk on 1 connection": "missed"}
	if len(verdicts) != len(want) {
		t.Errorf("got %v, want %v", verdicts, want)
	}
	for text, v := range want {
		if verdicts[text] != v {
			t.Errorf("%s: %q, want %s", text, verdicts[text], v)
		}
	}
	if (target{limit: 95, atLeast: true}).reached(spread{median: 94}) {
		t.Error("94 is at least 95")
	}
}

// TestTargetsExist: a target names a scenario and a metric that there are.
func TestTargetsExist(t *testing.T) {
	for _, target := range targets() {
		if !slices.ContainsFunc(scenarios(&options{}), func(s scenario) bool {
			return s.Name == target.scenario && slices.Contains(s.Metrics, target.metric)
		}) {
			t.Errorf("%s: no %s in %s", target.text, target.metric.Key, target.scenario)
		}
	}
	for _, p := range panels() {
		if !slices.ContainsFunc(scenarios(&options{}), func(s scenario) bool {
			return s.Name == p.scenario && slices.Contains(s.Metrics, p.metric)
		}) {
			t.Errorf("panel %s: no %s in %s", p.title, p.metric.Key, p.scenario)
		}
	}
}

// TestSVG: the drawing is well-formed and names everybody who was measured.
func TestSVG(t *testing.T) {
	drawing := threeRounds().svg()
	var text strings.Builder
	for d := xml.NewDecoder(bytes.NewReader(drawing)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, drawing)
		}
		if chars, ok := token.(xml.CharData); ok {
			text.Write(chars)
		}
	}
	for _, want := range []string{"ginnel", "ginnel-pipes", "envoy", "a<b", "8.00", "a machine"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("nobody reads %q in the drawing", want)
		}
	}
	if strings.Contains(string(drawing), "NaN") || strings.Contains(string(drawing), "Inf") {
		t.Error("the drawing holds what is no number")
	}
	if empty := (&report{}).svg(); !bytes.HasSuffix(empty, []byte("</svg>\n")) {
		t.Errorf("a drawing of nothing: %s", empty)
	}
}

func TestInsert(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + beginMark + "old\n" + endMark + "after\n")
	for range 2 {
		if err := insert(file, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if want := "before\n" + beginMark + "\nnew\n\n" + endMark + "after\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	write("no marks\n")
	if insert(file, "x") == nil {
		t.Error("inserted into a file without marks")
	}
}
