package config

import (
	"fmt"
	"slices"
	"strings"
)

// A Pos is a place in a file. Line and Column count from 1, Column in characters;
// Line 0: not known.
type Pos struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String returns "file:line:column" with what is known of it.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.File == "":
		return fmt.Sprintf("%d:%d", p.Line, p.Column)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Severity grades an Issue.
type Severity uint8

// The severities. Strict marks what ginnel accepts and a real Envoy refuses: a
// warning, unless validating strictly.
const (
	Error Severity = iota
	Strict
	Warning
)

// String returns "error", "strict" or "warning".
func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Strict:
		return "strict"
	default:
		return "warning"
	}
}

// MarshalText makes a Severity its name in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// An Issue is one thing that is wrong with a configuration. It marshals to JSON.
type Issue struct {
	Pos
	Path       string   `json:"path,omitempty"` // field path; "": the whole file
	Severity   Severity `json:"severity"`
	Message    string   `json:"message"`
	Expected   string   `json:"expected,omitempty"`   // what would be right; "": nothing to say
	Suggestion string   `json:"suggestion,omitempty"` // what was probably meant; "": no idea
}

// String returns the issue on one line:
//
//	file:line:col: path: what; expected ...; did you mean "..."?
func (i Issue) String() string {
	prefixes := []string{i.Pos.String(), "", i.Path}
	if i.Severity != Error {
		prefixes[1] = "warning"
	}
	var b strings.Builder
	for _, prefix := range prefixes {
		if prefix != "" {
			b.WriteString(prefix)
			b.WriteString(": ")
		}
	}
	b.WriteString(i.Message)
	if i.Expected != "" {
		b.WriteString("; expected ")
		b.WriteString(i.Expected)
	}
	if i.Suggestion != "" {
		b.WriteString("; did you mean ")
		b.WriteString(quoteOnce(i.Suggestion))
		b.WriteByte('?')
	}
	return b.String()
}

// Issues are the faults of a configuration; as an error, one line for each.
type Issues []Issue

// Error returns one line for each issue.
func (is Issues) Error() string {
	lines := make([]string, len(is))
	for i, issue := range is {
		lines[i] = issue.String()
	}
	return strings.Join(lines, "\n")
}

// Sort orders issues by file, position and path, and drops repetitions, as an
// alias makes them. Issues without a position come last.
func (is Issues) Sort() Issues {
	slices.SortStableFunc(is, compareIssues)
	return slices.CompactFunc(is, func(a, b Issue) bool { return a == b })
}

func compareIssues(a, b Issue) int {
	known := func(i Issue) int {
		if i.Line == 0 {
			return 1
		}
		return 0
	}
	if c := known(a) - known(b); c != 0 {
		return c
	}
	// The override is read after the file.
	if over := a.File == OverrideFile; over != (b.File == OverrideFile) {
		if over {
			return 1
		}
		return -1
	}
	if c := strings.Compare(a.File, b.File); c != 0 {
		return c
	}
	if c := a.Line - b.Line; c != 0 {
		return c
	}
	if c := a.Column - b.Column; c != 0 {
		return c
	}
	if c := strings.Compare(a.Path, b.Path); c != 0 {
		return c
	}
	return strings.Compare(a.Message, b.Message)
}

// A report gathers issues while a configuration is read. Paths are rendered at
// the end, for a merge moves list items of the override.
type report struct{ findings []finding }

type finding struct {
	Issue
	at   *place // nil: the whole file
	rest string // path below at
}

// full says that reading further is of no use to anyone.
func (r *report) full() bool { return len(r.findings) >= maxIssues }

func (r *report) add(f finding) {
	if !r.full() {
		r.findings = append(r.findings, f)
	}
}

// issues returns what was found, ordered, errors apart from warnings.
func (r *report) issues() (faults, warnings Issues) {
	for _, f := range r.findings {
		f.Path = joinPath(f.at.path(), f.rest)
		if f.Severity == Error {
			faults = append(faults, f.Issue)
		} else {
			warnings = append(warnings, f.Issue)
		}
	}
	faults, warnings = faults.Sort(), warnings.Sort()
	if r.full() {
		faults = append(faults, Issue{Message: fmt.Sprintf("more than %d issues: the rest is not shown", maxIssues)})
	}
	return faults, warnings
}

// quoteOnce quotes s unless it is written with quotes itself.
func quoteOnce(s string) string {
	if strings.HasPrefix(s, `"`) {
		return s
	}
	return `"` + s + `"`
}
