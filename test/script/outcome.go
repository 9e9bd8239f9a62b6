package script

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// An Outcome is what a script found out about its subject, without what differs
// from run to run.
type Outcome struct {
	// Answers to the script's questions, in order.
	Answers []Answer
	// Crashed is the proxy's own report of a panic or a data race, empty without one.
	Crashed string

	subject  string
	stats    map[string]string // at the end of every proxy, by name; the later wins
	logs     []string          // the lines of all access logs, each after its file's name; sorted
	excepted []exception
}

// An Answer is what one command of the script, asked of a subject, was told.
type Answer struct {
	Command string
	Text    string
	// AnyOrder: the lines are those of an access log of requests. Who has an answer may ask
	// for the next thing before the line of the first is written.
	AnyOrder bool
}

type exception struct {
	what string // "stat" or "log"
	re   *regexp.Regexp
}

func (s *session) answer(command, text string) {
	s.outcome.Answers = append(s.outcome.Answers, Answer{
		Command: s.hide(command), Text: strings.TrimRight(text, "\n"),
		AnyOrder: s.requests && strings.HasPrefix(command, "log "),
	})
}

var (
	otherPort  = regexp.MustCompile(`\b(127\.0\.0\.\d+|\[::1\]):[0-9]{5}\b`)
	timestamp  = regexp.MustCompile(`\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d[0-9.]*Z?`)
	aDuration  = regexp.MustCompile(`\b(ms|id)=[0-9]+\b`)
	certHash   = regexp.MustCompile(`\bHash=[0-9a-f]{64}\b`)
	manyBlanks = regexp.MustCompile(`[ \t]{2,}`)
)

// hide replaces what differs from run to run: ports, folders, times, and the
// numbers a log format writes as ms=N or id=N.
func (s *session) hide(text string) string {
	text = strings.ReplaceAll(text, s.work, "$WORK")
	text = s.ports.hide(text)
	text = otherPort.ReplaceAllString(text, "$1:PORT")
	text = timestamp.ReplaceAllString(text, "TIME")
	text = certHash.ReplaceAllString(text, "Hash=HASH")
	return aDuration.ReplaceAllString(text, "$1=N")
}

// oneBlank undoes the random blanks that Envoy puts into texts about protobufs.
func oneBlank(text string) string { return manyBlanks.ReplaceAllString(text, " ") }

// unsteady are the stats that time, memory or the asking itself decide; whether an
// end leaves bytes to flush is a matter of time too.
var unsteady = regexp.MustCompile(`(_ms|_buffered|_reading_total|_flush_total|_flush_active|_bytes|memory_.*|uptime|wakeups.*|miss|mega_miss|hard_flush|flushed_by_timer|write_.*|reopen_failed|update_time|expiration_unix_time_seconds|key_rotation_failed)$` +
	`|^(server|http\.admin|listener\.admin|runtime|dns|filesystem|access_log_file|main_thread|workers|inproc|thread_local_.*|overload)\.|\.worker_\d+\.|connections_accepted_per_socket_event`)

// leaving is how long the connections that are open at the end of a script have for
// ending before they count as open.
const leaving = 300 * time.Millisecond

// snapshotStats keeps the stats of the running proxy as soon as two looks in a row
// agree and no connection is open any more, or those that are seem to stay.
func (s *session) snapshotStats() {
	var before map[string]string
	begun := time.Now()
	poll(2*time.Second, func() error {
		now, err := s.stats("?usedonly")
		if err != nil {
			return final{err}
		}
		maps.DeleteFunc(now, func(name, value string) bool {
			return unsteady.MatchString(name) || strings.Contains(value, "P0(")
		})
		steady := before != nil && maps.Equal(before, now) && (!anyOpen(now) || time.Since(begun) > leaving)
		before = now
		if !steady {
			return fmt.Errorf("still moving")
		}
		return nil
	})
	if s.outcome.stats == nil {
		s.outcome.stats = make(map[string]string)
	}
	for name, value := range before {
		s.outcome.stats[s.hide(name)] = value
	}
}

func anyOpen(stats map[string]string) bool {
	for name, value := range stats {
		if value != "0" && strings.HasSuffix(name, "_cx_active") {
			return true
		}
	}
	return false
}

func (s *session) snapshotLogs() {
	for _, name := range s.logNames() {
		for _, line := range s.logLines(name) {
			s.outcome.logs = append(s.outcome.logs, name+": "+line)
		}
	}
	slices.Sort(s.outcome.logs)
}

// ModeDifferences compares the outcomes of two modes of ginnel: their stats and
// access logs must be equal but for what the script excepts.
func ModeDifferences(a, b Outcome) []string {
	excepted := slices.Concat(a.excepted, b.excepted)
	skip := func(what, text string) bool {
		return slices.ContainsFunc(excepted, func(e exception) bool { return e.what == what && e.re.MatchString(text) })
	}
	var out []string
	names := maps.Clone(a.stats)
	maps.Copy(names, b.stats)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if x, y := a.stats[name], b.stats[name]; x != y && !skip("stat", name) {
			out = append(out, fmt.Sprintf("stat %s: %q with %s, %q with %s", name, x, a.subject, y, b.subject))
		}
	}
	for _, l := range surplus(a.logs, b.logs) {
		if !skip("log", l) {
			out = append(out, "only with "+a.subject+": "+l)
		}
	}
	for _, l := range surplus(b.logs, a.logs) {
		if !skip("log", l) {
			out = append(out, "only with "+b.subject+": "+l)
		}
	}
	return out
}

// surplus returns the lines of a that b has not, counting repeats.
func surplus(a, b []string) []string {
	left := make(map[string]int)
	for _, l := range b {
		left[l]++
	}
	var out []string
	for _, l := range a {
		if left[l]--; left[l] < 0 {
			out = append(out, l)
		}
	}
	return out
}

// AnswerDifferences compares what two subjects answered to the commands both
// were asked; those under a condition were asked of one only.
func AnswerDifferences(envoy, ginnel []Answer) []string {
	told := make(map[string][]string)
	for _, a := range envoy {
		told[a.Command] = append(told[a.Command], a.Text)
	}
	var out []string
	for _, g := range ginnel {
		want := told[g.Command]
		if len(want) == 0 {
			continue
		}
		told[g.Command] = want[1:]
		if want[0] != g.Text && !(g.AnyOrder && sameLines(want[0], g.Text)) {
			out = append(out, fmt.Sprintf("> %s\n%s", g.Command, lineDifferences(want[0], g.Text)))
		}
	}
	return out
}

func sameLines(a, b string) bool {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	return len(surplus(x, y))+len(surplus(y, x)) == 0
}

// lineDifferences names each line that only one of two texts has, or both texts
// where only the order differs.
func lineDifferences(envoy, ginnel string) string {
	e, g := strings.Split(envoy, "\n"), strings.Split(ginnel, "\n")
	var out []string
	for _, l := range surplus(e, g) {
		out = append(out, "Envoy:  "+l)
	}
	for _, l := range surplus(g, e) {
		out = append(out, "ginnel: "+l)
	}
	if len(out) == 0 {
		return "the same lines in another order\nEnvoy:\n" + envoy + "\nginnel:\n" + ginnel
	}
	return strings.Join(slices.Compact(out), "\n")
}

// FormatAnswers writes answers as text that a reader of a diff can follow; ParseAnswers reads it.
func FormatAnswers(answers []Answer) []byte {
	var b strings.Builder
	for _, a := range answers {
		fmt.Fprintf(&b, "> %s\n", a.Command)
		for line := range strings.Lines(a.Text) {
			fmt.Fprintf(&b, "  %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	return []byte(b.String())
}

// ParseAnswers reads what FormatAnswers wrote.
func ParseAnswers(data []byte) []Answer {
	var out []Answer
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if command, ok := strings.CutPrefix(line, "> "); ok {
			out = append(out, Answer{Command: command})
			continue
		}
		if len(out) == 0 {
			continue
		}
		last := &out[len(out)-1]
		if last.Text != "" {
			last.Text += "\n"
		}
		last.Text += strings.TrimPrefix(line, "  ")
	}
	return out
}
