package script

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	// The scripts run a binary that they build themselves: so that go test knows what
	// of, and does not take an old result for a new program's.
	_ "github.com/ginnel/ginnel"
	_ "github.com/ginnel/ginnel/internal/cli"
)

const (
	scriptDir = "../../testdata/script"
	answerDir = "../../testdata/envoy"
	slugFile  = "../../docs/differences.md"
)

var (
	only = flag.String("subject", "", "the name of one of Modes: run only that (and compare nothing with the others)")
	// Who looks for chance in the scripts, or in ginnel, gives them one.
	attempts = flag.Int("attempts", 3, "how often a script may fail, or a mode differ from another, before it counts; all but the first time it has the machine to itself")
)

// TestMain lets more scripts run at a time than there are CPUs, unless -parallel says
// otherwise: what they do most is wait.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0)))
	}
	os.Exit(m.Run())
}

// TestScripts runs every script with hand-over and with pipes, each with event loops
// and without. What they show to the outside must be the same, and what Envoy answered
// to the same questions.
func TestScripts(t *testing.T) {
	bin := sync.OnceValues(func() (string, error) { return build(t) })
	cases, err := Cases(scriptDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && c.Hops > 2 {
				t.Skip("more than 2 hops")
			}
			path, err := bin()
			if err != nil {
				t.Fatal(err)
			}
			runAll(t, c, Modes(path, testing.Short() || raceFlags != nil))
		})
	}
}

// runAll compares every mode with the first one, and with Envoy.
func runAll(t *testing.T, c Case, modes []Subject) {
	modes = slices.DeleteFunc(modes, func(s Subject) bool { return *only != "" && *only != s.Name })
	recorded, err := os.ReadFile(filepath.Join(answerDir, c.Name+".golden"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	answers := ParseAnswers(recorded)
	var outcomes []Outcome
	for _, s := range modes {
		if !t.Run(s.Name, func(t *testing.T) { outcomes = append(outcomes, run(t, c, s, answers)) }) {
			return
		}
	}
	for i := 1; i < len(outcomes); i++ {
		sameModes(t, c, modes[0], modes[i], outcomes[0], outcomes[i])
	}
}

// alone is held shared by what runs beside other scripts, and alone by what is tried again:
// where the machine had too much to do for the script's times, it has less then.
var alone sync.RWMutex

// run runs the script, which must pass and be answered what Envoy answered. What time or
// chance made of it, it has more attempts for.
func run(t *testing.T, c Case, s Subject, answers []Answer) Outcome {
	lock, unlock := alone.RLock, alone.RUnlock
	for n := 1; ; n++ {
		lock()
		o, passed, said := c.Try(s)
		unlock()
		if o.Crashed != "" {
			t.Fatal(o.Crashed) // not a matter of chance
		}
		different := AnswerDifferences(answers, o.Answers)
		if passed && len(different) == 0 {
			return o
		}
		for _, d := range different {
			said += "not as Envoy: " + d + "\n"
		}
		if n >= *attempts {
			t.Fatalf("%d times, the last one so:\n%s", n, said)
		}
		again(t, said)
		lock, unlock = alone.Lock, alone.Unlock
	}
}

// sameModes fails the test where two modes never do the same: which of two ends was faster
// is another one's turn the next time, while what a mode does it does every time.
func sameModes(t *testing.T, c Case, a, b Subject, x, y Outcome) {
	xs, ys := []Outcome{x}, []Outcome{y}
	differences := ModeDifferences(x, y)
	for n := 1; len(differences) > 0; n++ {
		said := strings.Join(differences, "\n")
		if n >= *attempts {
			t.Errorf("%d times, the least of it:\n%s", n, said)
			return
		}
		again(t, said)
		alone.Lock()
		x, whole, _ := c.Try(a)
		y, wholeToo, _ := c.Try(b)
		alone.Unlock()
		if crashed := x.Crashed + y.Crashed; crashed != "" {
			t.Fatal(crashed)
		}
		if whole && wholeToo { // two that were cut short are alike in nothing but that
			xs, ys = append(xs, x), append(ys, y)
			differences = fewest(xs, ys)
		}
	}
}

// fewest returns the differences of those two that are most alike.
func fewest(xs, ys []Outcome) (least []string) {
	for i, x := range xs {
		for j, y := range ys {
			if d := ModeDifferences(x, y); i+j == 0 || len(d) < len(least) {
				least = d
			}
		}
	}
	return least
}

// again tells of a failure that is not yet one, also in the file that $GINNEL_UNSTEADY
// names, since go test keeps what passing tests say to itself.
func again(t *testing.T, said string) {
	t.Log("once more: " + said)
	file := os.Getenv("GINNEL_UNSTEADY")
	if file == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintf(f, "%s: %s\n", t.Name(), said)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Error(err)
	}
}

// build compiles ginnel into a folder that outlives every parallel script.
func build(t *testing.T) (string, error) {
	bin := filepath.Join(t.TempDir(), "ginnel")
	args := append([]string{"build", "-o", bin}, raceFlags...)
	cmd := exec.Command("go", append(args, "github.com/ginnel/ginnel/cmd/ginnel")...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", &buildError{err, out.String()}
	}
	return bin, nil
}

type buildError struct {
	err error
	out string
}

func (e *buildError) Error() string { return "go build: " + e.err.Error() + "\n" + e.out }
func (e *buildError) Unwrap() error { return e.err }

// TestDifferencesAreDocumented: a script may treat Envoy and ginnel differently
// only where docs/differences.md says why.
func TestDifferencesAreDocumented(t *testing.T) {
	table, err := os.ReadFile(slugFile)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(scriptDir, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		slugs, err := Slugs(string(text))
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
		for _, slug := range slugs {
			if !strings.Contains(string(table), "| `"+slug+"` |") {
				t.Errorf("%s: docs/differences.md has no row `%s`", filepath.Base(file), slug)
			}
		}
	}
}

// TestRecordingsHaveScripts: an answer that nobody asks for any more is taken for a check.
func TestRecordingsHaveScripts(t *testing.T) {
	cases, err := Cases(scriptDir)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, c := range cases {
		known[c.Name+".golden"] = true
	}
	files, err := os.ReadDir(answerDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !known[f.Name()] {
			t.Errorf("testdata/envoy/%s belongs to no script", f.Name())
		}
	}
}
