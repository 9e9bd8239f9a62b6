package script

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func (s *session) cmdProxy(ts *testscript.TestScript, neg bool, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: proxy start|stop|signal|validate|run|said|idle|files")
	}
	verb, args := args[0], args[1:]
	if neg && !slices.Contains([]string{"start", "validate", "run", "said"}, verb) {
		return fmt.Errorf("no ! before proxy %s", verb)
	}
	switch verb {
	case "start":
		return s.start(ts, neg, args)
	case "validate":
		return s.validate(ts, neg, args)
	case "run":
		return s.runOnce(ts, neg, args)
	case "stop":
		return s.stop(args)
	case "signal":
		return s.signal(args)
	case "said":
		return s.said(neg, args)
	case "idle":
		return s.idle()
	case "files":
		return s.files(args)
	}
	return fmt.Errorf("proxy %s: no such thing to do", verb)
}

var configFile = regexp.MustCompile(`\.(yaml|yml|json|pb|pb_text|textproto)$`)

// rendered writes the file of the script, filled in, to run/ and returns that path.
func (s *session) rendered(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(s.work, name))
	if err != nil {
		return "", err
	}
	out, err := s.render(name, string(text))
	if err != nil {
		return "", err
	}
	path := filepath.Join("run", name)
	full := filepath.Join(s.work, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(full, []byte(out), 0o644)
}

// config takes a leading file name off the arguments; config.yaml is the default.
func (s *session) config(args []string) (path string, rest []string, err error) {
	name := "config.yaml"
	if len(args) > 0 && configFile.MatchString(args[0]) {
		name, args = args[0], args[1:]
	}
	path, err = s.rendered(name)
	return path, args, err
}

func (s *session) start(ts *testscript.TestScript, neg bool, args []string) error {
	if s.proxy != nil {
		return errors.New("already running")
	}
	path, args, err := s.config(args)
	if err != nil {
		return err
	}
	line, err := s.commandLine(path, args)
	if err != nil {
		return err
	}
	if neg {
		return s.finish(ts, neg, line)
	}
	return s.startTried(line)
}

// startTried starts again where a port that was free is taken: the kernel may
// still hold it for a moment after the check that found it free.
func (s *session) startTried(line []string) error {
	for try := 1; ; try++ {
		p, err := launch(s.subject.Bin, s.work, line)
		if err != nil {
			return err
		}
		s.started = append(s.started, p)
		err = s.ready(p)
		if err == nil {
			s.proxy = p
			return nil
		}
		if p.running() {
			p.cmd.Process.Kill()
			<-p.done
		}
		if try == 3 || !strings.Contains(strings.ToLower(p.stderr.String()), "address already in use") {
			return fmt.Errorf("%w\n%s", err, p.lastWords())
		}
	}
}

// commandLine adds the flags that every script wants and none says: one worker,
// access logs written soon, an admin address.
func (s *session) commandLine(config string, args []string) ([]string, error) {
	admin, err := s.at("admin")
	if err != nil {
		return nil, err
	}
	defaults := [][2]string{
		{"-c", config},
		{"--config-yaml", "admin: {address: " + admin + "}"},
		{"--concurrency", "1"},
		{"--file-flush-interval-msec", "50"},
	}
	line := slices.Clone(s.subject.Args)
	for _, d := range defaults {
		if !slices.Contains(args, d[0]) {
			line = append(line, d[0], d[1])
		}
	}
	return append(append(line, "--disable-hot-restart"), args...), nil
}

// ready waits until the workers of p accept connections.
func (s *session) ready(p *process) error {
	s.adminBase = ""
	port, err := s.ports.get("admin")
	if err != nil {
		return err
	}
	s.adminBase = fmt.Sprintf("http://127.0.0.1:%d", port)
	return poll(startTimeout, func() error {
		if !p.running() {
			return final{fmt.Errorf("exit code %d at the start", p.cmd.ProcessState.ExitCode())}
		}
		status, body, err := s.ask("GET", "/ready")
		if err != nil || status != 200 {
			return fmt.Errorf("not ready: %v %d %s", err, status, body)
		}
		v, ok, err := s.stat("listener_manager.workers_started")
		if err == nil && ok && v != "1" {
			err = errors.New("workers not started")
		}
		return err
	})
}

func (s *session) validate(ts *testscript.TestScript, neg bool, args []string) error {
	file := "config.yaml"
	if n := len(args); n > 0 && configFile.MatchString(args[n-1]) {
		file, args = args[n-1], args[:n-1]
	}
	path, err := s.rendered(file)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return s.finish(ts, neg, append(append([]string{"validate"}, args...), path))
	}
	return s.finish(ts, neg, []string{"--mode", "validate", "-c", path})
}

func (s *session) runOnce(ts *testscript.TestScript, neg bool, args []string) error {
	return s.finish(ts, neg, args)
}

// finish runs the binary to its end and keeps what it said for stdout and stderr.
func (s *session) finish(ts *testscript.TestScript, neg bool, line []string) error {
	p, err := launch(s.subject.Bin, s.work, line)
	if err != nil {
		return err
	}
	code, err := p.await(startTimeout)
	fmt.Fprint(ts.Stdout(), s.hide(p.stdout.String()))
	fmt.Fprint(ts.Stderr(), oneBlank(s.hide(p.stderr.String())))
	switch {
	case err != nil:
		return err
	case neg && code <= 0:
		return fmt.Errorf("exit code %d: %s", code, p.lastWords())
	case !neg && code != 0:
		return fmt.Errorf("exit code %d", code)
	}
	return nil
}

var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1,
}

func (s *session) signal(args []string) error {
	if len(args) != 1 || signals[args[0]] == 0 {
		return errors.New("usage: proxy signal TERM|INT|HUP|USR1")
	}
	if s.proxy == nil {
		return errNotStarted
	}
	return s.proxy.signal(signals[args[0]])
}

// stop asks the proxy to end, by signal or (no argument "none") after the
// script has made it end in another way.
func (s *session) stop(args []string) error {
	if s.proxy == nil {
		return errNotStarted
	}
	sig := "TERM"
	if len(args) > 0 {
		sig = args[0]
	}
	if sig != "none" {
		s.snapshotStats()
		if err := s.signal([]string{sig}); err != nil {
			return err
		}
	}
	p := s.proxy
	s.proxy, s.last = nil, p
	code, err := p.await(exitTimeout)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d\n%s", code, p.lastWords())
	}
	return err
}

var errNotStarted = errors.New("the proxy is not running")

func (s *session) said(neg bool, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: proxy said REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	if err != nil {
		return err
	}
	p := s.proxy
	if p == nil {
		p = s.last
	}
	if p == nil {
		return errNotStarted
	}
	found := func() bool { return re.MatchString(oneBlank(s.hide(p.stderr.String()))) }
	if neg {
		if found() {
			return errors.New("it has said so")
		}
		return nil
	}
	return poll(stepTimeout, func() error {
		if !found() {
			return fmt.Errorf("it has not said so:\n%s", p.lastWords())
		}
		return nil
	})
}

// files compares the number of open descriptors, where the system tells it.
func (s *session) files(test []string) error {
	if s.proxy == nil {
		return errNotStarted
	}
	dir := fmt.Sprintf("/proc/%d/fd", s.proxy.cmd.Process.Pid)
	return poll(stepTimeout, func() error {
		open, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return compare(strconv.Itoa(len(open)), test)
	})
}

// final is an error that no further try can mend.
type final struct{ error }

// poll tries until f succeeds; its last error is the result.
func poll(limit time.Duration, f func() error) error {
	deadline := time.Now().Add(limit)
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := f()
		var last final
		if err == nil || errors.As(err, &last) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(wait)
	}
}
