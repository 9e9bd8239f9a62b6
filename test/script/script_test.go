package script

import (
	"bytes"
	"flag"
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

var only = flag.String("subject", "", "the name of one of Modes: run only that (and compare nothing with the others)")

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
	var outcomes []Outcome
	for _, s := range modes {
		if !t.Run(s.Name, func(t *testing.T) { outcomes = append(outcomes, c.Run(t, s)) }) {
			return
		}
	}
	recorded, err := os.ReadFile(filepath.Join(answerDir, c.Name+".golden"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		for _, d := range AnswerDifferences(ParseAnswers(recorded), o.Answers) {
			t.Errorf("with %s: %s", modes[i].Name, d)
		}
		if len(ModeDifferences(outcomes[0], o)) > 0 {
			differAgain(t, c, modes[0], modes[i])
		}
	}
}

// differAgain compares two modes that differed once more: what a mode does it does every
// time, while who of two was faster is another one's turn the next time.
func differAgain(t *testing.T, c Case, a, b Subject) {
	for _, d := range ModeDifferences(c.Run(t, a), c.Run(t, b)) {
		t.Error("twice, this time: " + d)
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
