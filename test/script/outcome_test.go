package script

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestModeDifferences(t *testing.T) {
	handover := Outcome{
		subject: "handover",
		stats:   map[string]string{"same": "1", "more": "2", "only.handover": "0", "allowed": "1"},
		logs:    []string{"a: one", "a: two", "a: two"},
	}
	pipes := Outcome{
		subject:  "pipes",
		stats:    map[string]string{"same": "1", "more": "3", "only.pipes": "1", "allowed": "2"},
		logs:     []string{"a: one", "a: two", "b: three"},
		excepted: []exception{{"stat", regexp.MustCompile("^allowed$")}, {"log", regexp.MustCompile("^stat")}},
	}
	want := []string{
		`stat more: "2" with handover, "3" with pipes`,
		`stat only.handover: "0" with handover, "" with pipes`,
		`stat only.pipes: "" with handover, "1" with pipes`,
		"only with handover: a: two",
		"only with pipes: b: three",
	}
	if d := cmp.Diff(want, ModeDifferences(handover, pipes)); d != "" {
		t.Error(d)
	}
	if got := ModeDifferences(handover, handover); len(got) > 0 {
		t.Errorf("an outcome differs from itself: %q", got)
	}
}

// answers makes answers of commands and texts by turns.
func answers(all ...string) (out []Answer) {
	for i := 0; i < len(all); i += 2 {
		out = append(out, Answer{Command: all[i], Text: all[i+1]})
	}
	return out
}

func TestAnswersSurviveTheFile(t *testing.T) {
	in := answers("log out .", "one\ntwo", "admin GET /", "200\n\n  indented\n> quoted", "log out .", "")
	if d := cmp.Diff(in, ParseAnswers(FormatAnswers(in))); d != "" {
		t.Error(d)
	}
}

func TestAnswerDifferences(t *testing.T) {
	envoy := answers("log a", "1", "log a", "2", "only envoy", "x")
	same := answers("log a", "1", "only ginnel", "y", "log a", "2", "log a", "asked once more")
	if got := AnswerDifferences(envoy, same); len(got) > 0 {
		t.Errorf("%q", got)
	}
	want := []string{"> log a\nEnvoy:  2\nginnel: 3"}
	if d := cmp.Diff(want, AnswerDifferences(envoy, answers("log a", "1", "log a", "3"))); d != "" {
		t.Error(d)
	}
}

// TestOrderOfLines: that of an access log of requests is nobody's promise.
func TestOrderOfLines(t *testing.T) {
	recorded, other := answers("log a", "1\n2\n2"), answers("log a", "2\n1\n2")
	if len(AnswerDifferences(recorded, other)) == 0 {
		t.Error("another order was taken for the same")
	}
	other[0].AnyOrder = true
	if got := AnswerDifferences(recorded, other); len(got) > 0 {
		t.Errorf("%q", got)
	}
	other[0].Text = "2\n1\n1"
	if len(AnswerDifferences(recorded, other)) == 0 {
		t.Error("other lines were taken for the same")
	}
}

func TestHide(t *testing.T) {
	s := &session{work: "/x/script-a"}
	port, err := s.ports.get("up")
	if err != nil {
		t.Fatal(err)
	}
	defer s.ports.release()
	p := strconv.Itoa(port)
	in := "127.0.0.1:" + p + " listener.127.0.0.1_" + p + ".x 127.0.0.1:45678 127.0.0.9:8080 /x/script-a/f 2026-11-21T02:03:04.123Z ms=12 id=7 1" + p
	want := "127.0.0.1:PORT_up listener.127.0.0.1_PORT_up.x 127.0.0.1:PORT 127.0.0.9:8080 $WORK/f TIME ms=N id=N 1" + p
	if got := s.hide(in); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSlugs(t *testing.T) {
	got, err := Slugs("# differs: b\n[envoy] stat x == 1\n\n# differs: a\n[ginnel] x\n[!envoy] y\n-- file --\n[envoy] not a line of the story\n")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a", "b"}, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"[envoy] x\n", "# differs: a\n[envoy] x\n\n[ginnel] y\n", "[!pipes] x\n"} {
		if _, err := Slugs(bad); err == nil {
			t.Errorf("no complaint about %q", bad)
		}
	}
}

func TestPortsAreHeld(t *testing.T) {
	var a ports
	defer a.release()
	n, err := a.get("x")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := a.get("x"); again != n {
		t.Errorf("a name has two ports, %d and %d", n, again)
	}
	if lock, ok := take(n); ok {
		lock.Close()
		t.Errorf("port %d was given away twice", n)
	}
	a.release()
	lock, ok := take(n)
	if !ok {
		t.Fatalf("port %d stays locked", n)
	}
	lock.Close()
}

// TestFewest: two modes that chance leads one way or the other are alike as soon as one of
// each has been led the same way; two that are never alike stay different.
func TestFewest(t *testing.T) {
	one, other, third := Outcome{logs: []string{"one"}}, Outcome{logs: []string{"other"}}, Outcome{logs: []string{"third"}}
	if d := fewest([]Outcome{one, other}, []Outcome{third, one}); len(d) != 0 {
		t.Errorf("led the same way, and yet different: %q", d)
	}
	if d := fewest([]Outcome{one, one}, []Outcome{other, third}); len(d) == 0 {
		t.Error("never alike, and yet not different")
	}
}

// TestCrashed: what no second attempt makes undone is found in what the proxy wrote.
func TestCrashed(t *testing.T) {
	for _, c := range []struct {
		text string
		want bool
	}{
		{"starting\n==================\nWARNING: DATA RACE\nRead at", true},
		{"panic: runtime error: index out of range\n", true},
		{"fatal error: concurrent map writes\n", true},
		{"level=ERROR msg=\"a filter panicked\" panic=x\n", true},
		{"level=WARN msg=\"in panic: all hosts\"\n", false},
	} {
		var p process
		p.stderr.Write([]byte(c.text))
		if got := p.crashed() != ""; got != c.want {
			t.Errorf("%q: crashed is %v", c.text, got)
		}
	}
}

// A number that scripts or answers have is never a port: its name would be put in its place.
func TestPortsAreNotSaid(t *testing.T) {
	files, err := filepath.Glob("../../testdata/*/*.[tg]*")
	if err != nil || len(files) < 100 {
		t.Fatal(len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range digits.FindAllString(string(text), -1) {
			port, _ := strconv.Atoi(n)
			if len(n) == 5 && port >= firstPort && port <= lastPort && !slices.Contains(said[:], port) {
				t.Errorf("%s has %s, which is to be listed in said, in ports.go", f, n)
			}
		}
	}
}
