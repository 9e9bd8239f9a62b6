package rawhttp

import (
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// A row is what a subject made of an input or an answer.
type row struct{ got, saw string }

// TestInputs requires ginnel's column, and prints those of the peers beside it.
func TestInputs(t *testing.T) {
	own := send(ginnel(t))
	table := map[string][]row{"ginnel": own}
	names := []string{"ginnel"}
	if !testing.Short() {
		for _, p := range peers(t) {
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

// TestAnswers requires ginnel's column for what hosts answer, and that it uses no
// connection to a host again that is in doubt.
func TestAnswers(t *testing.T) {
	own := receive(ginnel(t))
	table := map[string][]row{"ginnel": own}
	names := []string{"ginnel"}
	if !testing.Short() {
		for _, p := range peers(t) {
			t.Run(p.name, func(t *testing.T) { table[p.name] = receive(p) })
			names = append(names, p.name)
		}
	}
	var list []string
	for i, a := range answers {
		list = append(list, a.name)
		want := row{a.want, "not used again"}
		if a.reused {
			want.saw = "used again"
		}
		if own[i] != want {
			t.Errorf("%s: %s, connection %s; want %s, %s", a.name, own[i].got, own[i].saw, want.got, want.saw)
		}
		if envoy := table["envoy"]; envoy != nil && a.differs == "" && envoy[i] != own[i] {
			t.Errorf("%s: Envoy: %s, connection %s: no row of docs/differences.md is named", a.name, envoy[i].got, envoy[i].saw)
		}
	}
	t.Log(printed(list, names, table))
}

// receive has the host of a subject answer with all answers, and another client ask
// for something else after each.
func receive(s *subject) (rows []row) {
	for i := range answers {
		a := &answers[i]
		at := a.at
		if at == "" {
			at = "plain"
		}
		network, addr := s.listener(at)
		if network == "" {
			rows = append(rows, row{})
			continue
		}
		// A connection is there for others a moment after its answer is. Who asks before
		// gets another one, and that one again from then on: so all is asked anew.
		var r row
		for end := time.Now().Add(s.patience); ; {
			r = receiveOne(s, a, network, addr)
			if !a.reused || r.saw == "used again" || time.Now().After(end) {
				break
			}
		}
		rows = append(rows, r)
	}
	return rows
}

func receiveOne(s *subject, a *answer, network, addr string) row {
	s.host.answer(a)
	defer s.host.answer(nil)
	got := ask(network, addr, a.request(), max(a.n, 1), s.patience)
	seen := s.host.take()
	if after := ask(network, addr, second, 1, s.patience); after != ok {
		got += ", then " + after
	}
	return row{got, reuse(append(seen, s.host.take()...))}
}

// reuse tells whether a connection of the first request served one for something else.
func reuse(seen []request) string {
	asked := make(map[int]bool)
	for _, r := range seen {
		switch {
		case strings.Contains(r.text, "answer"):
			asked[r.conn] = true
		case asked[r.conn]:
			return "used again"
		}
	}
	return "not used again"
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
	check := func(name, slug string) {
		if slug != "" && !strings.Contains(string(text), "| `"+slug+"` |") {
			t.Errorf("%s: docs/differences.md has no row `%s`", name, slug)
		}
	}
	for _, in := range inputs {
		check(in.name, in.differs)
	}
	for _, a := range answers {
		check(a.name, a.differs)
	}
}
