package script

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// A Subject is a proxy that scripts can run against.
type Subject struct {
	Name string   // "envoy" is the oracle, all others are ginnel
	Is   []string // the conditions that hold for it alone, of those below
	Bin  string   // path of the binary
	Args []string // before the arguments of every start
}

// How a ginnel crosses internal hops and who moves the bytes between sockets.
const (
	HandOver   = "handover"
	Pipes      = "pipes"
	Loops      = "loops"
	Goroutines = "goroutines"
)

// Modes are the ways of one ginnel to do the same. Few are those that together do
// everything once.
func Modes(bin string, few bool) []Subject {
	const noLoops, noHandOver = "--force-goroutine-pumps", "--force-pipes"
	all := []Subject{
		{"handover", []string{HandOver, Loops}, bin, nil},
		{"pipes-goroutines", []string{Pipes, Goroutines}, bin, []string{noHandOver, noLoops}},
		{"handover-goroutines", []string{HandOver, Goroutines}, bin, []string{noLoops}},
		{"pipes", []string{Pipes, Loops}, bin, []string{noHandOver}},
	}
	if few {
		return all[:2]
	}
	return all
}

// Envoy reports whether the subject is the oracle and not ginnel.
func (s Subject) Envoy() bool { return s.Name == "envoy" }

// holds evaluates a condition of a script.
func (s Subject) holds(cond string) (bool, error) {
	switch cond {
	case "envoy":
		return s.Envoy(), nil
	case "ginnel":
		return !s.Envoy(), nil
	case HandOver, Pipes, Loops, Goroutines:
		return slices.Contains(s.Is, cond), nil
	case "transparent":
		return mayBeTransparent(), nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// A Case is one script with one number of hops.
type Case struct {
	Name string // of the script, with the hops where it names several
	File string
	Hops int // 1 unless the script names others
}

var hopsLine = regexp.MustCompile(`(?m)^# hops:((?: [0-9]+)+)$`)

// Cases lists the scripts of a folder, once for each number of hops they name.
func Cases(dir string) ([]Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no scripts in %s", dir)
	}
	var cases []Case
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		m := hopsLine.FindSubmatch(text)
		if m == nil {
			cases = append(cases, Case{name, file, 1})
			continue
		}
		for _, f := range strings.Fields(string(m[1])) {
			n, err := strconv.Atoi(f)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			cases = append(cases, Case{fmt.Sprintf("%s.%d", name, n), file, n})
		}
	}
	return cases, nil
}

// Run runs the case against the subject and fails t as the script fails.
func (c Case) Run(t *testing.T, subject Subject) Outcome {
	t.Helper()
	return c.run(inPlace{t}, subject)
}

// Try runs the case against the subject and reports whether the script passed, and what it
// said.
func (c Case) Try(subject Subject) (o Outcome, passed bool, said string) {
	t := new(trial)
	t.Run("", func(testscript.T) { o = c.run(t, subject) })
	return o, !t.Failed(), t.said.String()
}

func (c Case) run(t report, subject Subject) Outcome {
	var s *session
	testscript.RunT(t, testscript.Params{
		Files:               []string{c.File},
		Cmds:                commands(),
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Condition:           subject.holds,
		Setup: func(env *testscript.Env) (err error) {
			s, err = c.setup(t, subject, env)
			return err
		},
	})
	if s == nil {
		return Outcome{}
	}
	return s.outcome
}

func (c Case) setup(t report, subject Subject, env *testscript.Env) (*session, error) {
	s := &session{
		subject:  subject,
		outcome:  Outcome{subject: subject.Name},
		hops:     c.Hops,
		work:     env.WorkDir,
		backends: make(map[string]*backend), origins: make(map[string]*origin), https: make(map[string]*http.Transport),
		clients: make(map[string]*actor),
	}
	env.Values[sessionKey{}] = s
	env.Defer(func() {
		if err := s.close(); err != nil {
			t.Errorf("at the end of the script: %v", err)
		}
		if t.Failed() {
			t.Log(s.trace())
		}
	})
	env.Setenv("HOPS", strconv.Itoa(c.Hops))
	return s, s.namePorts(c.File, env)
}

var portName = regexp.MustCompile(`\bPORT_([A-Za-z0-9_]+)|\bat "([A-Za-z0-9_]+)"`)

// namePorts reserves the ports that the script names, so that its lines can use $PORT_name.
func (s *session) namePorts(file string, env *testscript.Env) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, m := range portName.FindAllStringSubmatch(string(text), -1) {
		name := m[1] + m[2]
		port, err := s.ports.get(name)
		if err != nil {
			return err
		}
		env.Setenv("PORT_"+name, strconv.Itoa(port))
	}
	return nil
}

func (s *session) logNames() []string {
	files, err := filepath.Glob(filepath.Join(s.work, "*.log"))
	if err != nil {
		return nil
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".log"))
	}
	return names
}

// trace is what a reader of a failed test wants to see of the proxy.
func (s *session) trace() string {
	var b strings.Builder
	for i := 0; i < len(s.outcome.logs); {
		line, n := s.outcome.logs[i], 0
		for i < len(s.outcome.logs) && s.outcome.logs[i] == line {
			i, n = i+1, n+1
		}
		fmt.Fprintf(&b, "%4d times %s\n", n, line)
	}
	if s.last != nil {
		fmt.Fprintf(&b, "the proxy said at last:\n%s", s.last.lastWords())
	}
	return b.String()
}

// A report is what a script tells how it went.
type report interface {
	testscript.T
	Errorf(format string, args ...any)
	Failed() bool
}

// inPlace runs testscript's one sub-test within t itself.
type inPlace struct{ *testing.T }

func (t inPlace) Parallel()                            {}
func (t inPlace) Run(_ string, f func(t testscript.T)) { f(t) }
func (t inPlace) Verbose() bool                        { return false }

// Slugs returns the rows of docs/differences.md that a script names, and an
// error where a line under a subject's condition names none.
func Slugs(script string) ([]string, error) {
	var slugs []string
	current := ""
	story, _, _ := strings.Cut(script, "\n-- ")
	for line := range strings.Lines(story) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			current = ""
		case strings.HasPrefix(line, "# differs: "):
			current = strings.TrimPrefix(line, "# differs: ")
			slugs = append(slugs, current)
		case subjectCondition.MatchString(line) && current == "":
			return nil, errors.New("a condition without a \"# differs:\" line before it: " + line)
		}
	}
	slices.Sort(slugs)
	return slices.Compact(slugs), nil
}

var subjectCondition = regexp.MustCompile(`^\[!?(envoy|ginnel|handover|pipes|loops|goroutines)\]`)
