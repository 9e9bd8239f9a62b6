// Package expect holds a configuration's issues against comments in its text
// that say what is expected.
//
// A line of a file on which something is wrong ends in
//
//	# ERROR "regexp"
//	# ERROR:7 "regexp" "another"
//	# WARNING "regexp"
//
// The number is the column. The expression is matched against the issue without
// its position: path, message, what is expected and suggested. Files of formats
// without comments may hold them all the same, for they are cut off before the
// text is read; line numbers stay what they are.
package expect

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/internal/config"
)

// Run loads every file that matches a pattern of package filepath, each in a
// subtest, and fails for an issue that is not expected and for one expected that
// is not reported.
func Run(t *testing.T, pattern string, load func(path string, data []byte) []config.Issue) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file matches %s (%v)", pattern, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, wants := Parse(t, string(data))
			Compare(t, wants, load(file, []byte(text)))
		})
	}
}

// A Want is an issue that is expected.
type Want struct {
	Line, Column int // Column 0: any
	Warning      bool
	Pattern      *regexp.Regexp
}

var (
	comment = regexp.MustCompile(`[ \t]*# (ERROR|WARNING)(?::(\d+))?((?: "(?:[^"\\]|\\.)*")+)$`)
	quoted  = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
)

// Parse cuts the comments off a text and returns what they expect.
func Parse(t testing.TB, text string) (string, []Want) {
	t.Helper()
	var wants []Want
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		m := comment.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		lines[i] = line[:len(line)-len(m[0])]
		column, _ := strconv.Atoi(m[2])
		for _, q := range quoted.FindAllString(m[3], -1) {
			expr, err := strconv.Unquote(q)
			if err != nil {
				expr = q[1 : len(q)-1] // an expression with escapes of its own
			}
			wants = append(wants, Want{i + 1, column, m[1] == "WARNING", regexp.MustCompile(expr)})
		}
	}
	return strings.Join(lines, "\n"), wants
}

// Compare matches issues with what is expected, one to one.
func Compare(t testing.TB, wants []Want, issues []config.Issue) {
	t.Helper()
	met := make([]bool, len(wants))
	for _, issue := range issues {
		if i := match(wants, met, issue); i >= 0 {
			met[i] = true
		} else {
			t.Errorf("not expected: %s", issue)
		}
	}
	for i, w := range wants {
		if !met[i] {
			t.Errorf("not reported: line %d: %s", w.Line, w.Pattern)
		}
	}
}

func match(wants []Want, met []bool, issue config.Issue) int {
	text := issue
	text.Pos = config.Pos{}
	for i, w := range wants {
		if !met[i] && w.Line == issue.Line && (w.Column == 0 || w.Column == issue.Column) &&
			w.Warning == (issue.Severity != config.Error) && w.Pattern.MatchString(text.String()) {
			return i
		}
	}
	return -1
}
