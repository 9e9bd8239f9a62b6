package rawhttp

import (
	"os"
	"strings"
	"testing"
	"text/tabwriter"
)

// A row is what a subject made of an input or an answer.
type row struct{ got, saw string }

// refusals are how the host answers CONNECT.
var refusals = map[string]string{"h:1": "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n"}

// TestInputs requires ginnel's column, and prints those of the peers beside it.
func TestInputs(t *testing.T) {
	own := send(ginnel(t, refusals))
	table := map[string][]row{"ginnel": own}
	names := []string{"ginnel"}
	if !testing.Short() {
		for _, p := range peers(t, refusals) {
			t.Run(p.name, func(t *testing.T) { table[p.name] = send(p) })
			names = append(names, p.name)
		}
	}
	for i, in := range inputs {
		if got := own[i]; got.got != in.want || got.saw != in.saw {
			t.Errorf("%s: %s, and the host saw %q; want %s, %q", in.name, got.got, got.saw, in.want, in.saw)
		}
		if envoy := table["envoy"]; envoy != nil && in.differs == "" && envoy[i] != own[i] {
			t.Errorf("%s: Envoy answers %s, and its host saw %q: no row of docs/differences.md is named", in.name, envoy[i].got, envoy[i].saw)
		}
	}
	var list []string
	for _, in := range inputs {
		list = append(list, in.name)
	}
	t.Log(printed(list, names, table))
}

// send has a subject answer all inputs.
func send(s *subject) (rows []row) {
	for _, in := range inputs {
		at := in.at
		if at == "" {
			at = "plain"
		}
		network, addr := s.listener(at)
		if network == "" {
			rows = append(rows, row{"", ""})
			continue
		}
		got := ask(network, addr, in.text, max(in.n, 1), s.patience)
		var saw []string
		for _, r := range s.host.take() {
			if !strings.HasPrefix(r.text, "GET /probe ") {
				saw = append(saw, r.text)
			}
		}
		rows = append(rows, row{got, strings.Join(saw, "\n")})
	}
	return rows
}

func printed(list, names []string, table map[string][]row) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { w.Write([]byte(strings.Join(cells, "\t") + "\n")) }
	line(append([]string{""}, names...)...)
	for i, name := range list {
		cells := []string{name}
		saw := false
		for _, n := range names {
			r := table[n][i]
			cells = append(cells, r.got)
			saw = saw || r.saw != table["ginnel"][i].saw
		}
		line(cells...)
		if !saw {
			continue
		}
		for _, n := range names {
			if r := table[n][i]; r.got != "" {
				line("    host of " + n + " saw: " + strings.ReplaceAll(shortened(r.saw), "\n", ", "))
			}
		}
	}
	w.Flush()
	return "\n" + b.String()
}

func shortened(s string) string {
	if len(s) > 160 {
		return s[:160] + "..."
	}
	return s
}

// TestDifferencesAreDocumented: ginnel does something else than Envoy only where
// docs/differences.md says why.
func TestDifferencesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range inputs {
		if in.differs != "" && !strings.Contains(string(text), "| `"+in.differs+"` |") {
			t.Errorf("%s: docs/differences.md has no row `%s`", in.name, in.differs)
		}
	}
}
