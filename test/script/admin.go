package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var adminClient = &http.Client{Timeout: stepTimeout, Transport: &http.Transport{DisableKeepAlives: true}}

// ask sends one request to the admin address.
func (s *session) ask(method, path string) (status int, body string, err error) {
	req, err := http.NewRequest(method, s.adminBase+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := adminClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func (s *session) cmdAdmin(ts *testscript.TestScript, neg bool, args []string) error {
	want, private := 200, false
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch {
		case args[0] == "-private":
			private = true
		case args[0] == "-status" && len(args) > 1:
			n, err := strconv.Atoi(args[1])
			if err != nil {
				return err
			}
			want, args = n, args[1:]
		default:
			return fmt.Errorf("unknown flag %s", args[0])
		}
		args = args[1:]
	}
	if neg || len(args) != 2 {
		return errors.New("usage: admin [-status N] [-private] METHOD PATH")
	}
	status, body, err := s.ask(args[0], args[1])
	if err != nil {
		return err
	}
	body = s.hide(body)
	fmt.Fprint(ts.Stdout(), body)
	if !private {
		s.answer("admin "+strings.Join(args, " "), fmt.Sprintf("%d\n%s", status, sameJSON(body)))
	}
	if status != want {
		return fmt.Errorf("status %d", status)
	}
	return nil
}

// sameJSON writes JSON in one way only, whatever blanks and order a proxy
// prefers; other text it leaves alone.
func sameJSON(text string) string {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return text
	}
	return string(b)
}

// stat returns the value of one counter or gauge; ok is false where the proxy has none such.
func (s *session) stat(name string) (value string, ok bool, err error) {
	all, err := s.stats("?filter=" + url.QueryEscape("^"+regexp.QuoteMeta(name)+"$"))
	v, ok := all[name]
	return v, ok, err
}

// stats asks for /stats and reads its text form.
func (s *session) stats(query string) (map[string]string, error) {
	status, body, err := s.ask("GET", "/stats"+query)
	if err == nil && status != 200 {
		err = fmt.Errorf("/stats%s: status %d", query, status)
	}
	if err != nil {
		return nil, err
	}
	all := make(map[string]string)
	for line := range strings.Lines(body) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			all[name] = value
		}
	}
	return all, nil
}

func (s *session) cmdStat(_ *testscript.TestScript, neg bool, args []string) error {
	if neg || len(args) < 2 {
		return errors.New("usage: stat NAME ==|>=|<= VALUE, or stat NAME absent")
	}
	if s.proxy == nil {
		return errNotStarted
	}
	name := args[0]
	return poll(stepTimeout, func() error {
		got, ok, err := s.stat(name)
		if err != nil {
			return err
		}
		if args[1] == "absent" {
			if ok {
				return fmt.Errorf("%s: %s", name, got)
			}
			return nil
		}
		if !ok {
			return fmt.Errorf("no stat %s", name)
		}
		return compare(got, args[1:])
	})
}

func compare(got string, test []string) error {
	if len(test) != 2 {
		return errors.New("usage: stat NAME ==|>=|<= VALUE")
	}
	g, err := strconv.ParseInt(got, 10, 64)
	if text, e := strconv.Unquote(got); e == nil && test[0] == "==" {
		if text != test[1] {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	}
	if err != nil {
		return err
	}
	w, err := strconv.ParseInt(test[1], 10, 64)
	if err != nil {
		return final{err}
	}
	if holds, ok := map[string]bool{"==": g == w, ">=": g >= w, "<=": g <= w}[test[0]]; !ok {
		return final{fmt.Errorf("cannot compare by %s", test[0])}
	} else if !holds {
		return fmt.Errorf("it is %d", g)
	}
	return nil
}

var openGauge = regexp.MustCompile(`(_cx_active|_rq_active|flush_active|_rq_pending_active)$`)

func (s *session) idle() error {
	if s.proxy == nil {
		return errNotStarted
	}
	for _, t := range s.https {
		t.CloseIdleConnections()
	}
	return poll(stepTimeout, func() error {
		all, err := s.stats("")
		if err != nil {
			return err
		}
		for name, value := range all {
			if s.keptByPool(name, all) {
				continue
			}
			if openGauge.MatchString(name) && value != "0" && !strings.HasPrefix(name, "http.admin.") && !strings.HasPrefix(name, "listener.admin.") {
				return fmt.Errorf("%s: %s", name, value)
			}
		}
		return nil
	})
}

// keptByPool reports whether an open connection is one that an HTTP pool keeps for later.
func (s *session) keptByPool(name string, all map[string]string) bool {
	cluster, ok := strings.CutSuffix(name, ".upstream_cx_active")
	return ok && strings.HasPrefix(name, "cluster.") &&
		(used(all[cluster+".upstream_cx_http1_total"]) || used(all[cluster+".upstream_cx_http2_total"]))
}

func used(value string) bool { return value != "" && value != "0" }

func (s *session) logFile(name string) string { return filepath.Join(s.work, name+".log") }

// logLines reads the whole lines of an access log.
func (s *session) logLines(name string) []string {
	text, err := os.ReadFile(s.logFile(name))
	if err != nil {
		return nil // not opened yet
	}
	var lines []string
	for line := range strings.Lines(s.hide(string(text))) {
		if l, whole := strings.CutSuffix(line, "\n"); whole {
			lines = append(lines, l)
		}
	}
	return lines
}

func (s *session) cmdLog(_ *testscript.TestScript, neg bool, args []string) error {
	count, private, sorted, question := -1, false, false, "log "+strings.Join(args, " ")
	for ; len(args) > 1 && (args[0] == "-private" || args[0] == "-sorted"); args = args[1:] {
		private, sorted = private || args[0] == "-private", sorted || args[0] == "-sorted"
	}
	if len(args) > 2 && args[0] == "-count" {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		count, args = n, args[2:]
	}
	if len(args) != 2 {
		return errors.New("usage: log [-private] [-sorted] [-count N] NAME REGEXP")
	}
	re, err := regexp.Compile(args[1])
	if err != nil {
		return err
	}
	if neg {
		count = 0
	}
	found, err := s.logMatches(args[0], re, count)
	if sorted {
		slices.Sort(found)
	}
	if err == nil && !neg && !private {
		s.answer(question, strings.Join(found, "\n"))
	}
	return err
}

// flushed is two of the intervals at which proxies write their logs.
const flushed = 120 * time.Millisecond

// logMatches waits until count lines match (any number but 0 where count is negative).
func (s *session) logMatches(name string, re *regexp.Regexp, count int) (found []string, err error) {
	look := func() error {
		found = nil
		lines := s.logLines(name)
		for _, l := range lines {
			if re.MatchString(l) {
				found = append(found, l)
			}
		}
		switch {
		case count >= 0 && len(found) > count:
			return final{fmt.Errorf("%d lines match:\n%s", len(found), strings.Join(lines, "\n"))}
		case len(found) < max(count, 0) || count < 0 && len(found) == 0:
			return fmt.Errorf("%d lines match:\n%s", len(found), strings.Join(lines, "\n"))
		}
		return nil
	}
	if err := poll(stepTimeout, look); err != nil || count < 0 {
		return found, err
	}
	time.Sleep(flushed) // no sign tells that there is not one line more
	return found, look()
}
