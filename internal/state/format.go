package state

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// DefaultFormat is the line that access logs print without a format.
const DefaultFormat = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" ` +
	`%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ` +
	`%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" ` +
	`"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"` + "\n"

// A Formatter prints a compiled format. It is safe for concurrent use.
type Formatter interface {
	// Append adds the text to dst. It neither keeps nor changes info.
	Append(dst []byte, info *filter.Info, t filter.AccessLogType) []byte
}

// Options are how a format is compiled.
type Options struct {
	// OmitEmpty prints nothing instead of "-" for a missing value, and leaves out
	// JSON fields without one.
	OmitEmpty bool
	// WithoutQuery admits REQ_WITHOUT_QUERY, which is a formatter extension.
	WithoutQuery bool

	own func(name string) // told of OwnOperators that a format uses; nil: nobody
}

// UnknownOperator is the error for a name that is no operator.
type UnknownOperator struct{ Name string }

// Error is Envoy's text.
func (e *UnknownOperator) Error() string { return "Not supported field in StreamInfo: " + e.Name }

// A moment is a connection at the moment of printing.
type moment struct {
	*filter.Info
	t filter.AccessLogType
}

// ended reports whether the connection is over.
func (m moment) ended() bool { return m.t == filter.TCPConnectionEnd || m.Duration > 0 }

func (m moment) elapsed() time.Duration { return Elapsed(m.Info) }

// Elapsed returns the duration of a connection, so far if it goes on.
func Elapsed(info *filter.Info) time.Duration {
	if info.Duration > 0 {
		return info.Duration
	}
	return time.Since(info.Start)
}

// A printer adds a value to dst; false, with dst as it was, when there is none.
type printer func(dst []byte, m moment) ([]byte, bool)

// An operator is a compiled command, or literal text.
type operator struct {
	text printer
	json printer // nil: the text as a JSON string
}

// appendJSON adds the operator's typed value.
func (o *operator) appendJSON(dst []byte, m moment) ([]byte, bool) {
	if o.json != nil {
		return o.json(dst, m)
	}
	start := len(dst)
	out, ok := o.text(append(dst, '"'), m)
	if !ok {
		return dst, false
	}
	return append(escapeTail(out, start+1), '"'), true
}

// Compile compiles a text format. Its errors have Envoy's texts.
func Compile(format string, o Options) (Formatter, error) {
	ops, err := parse(format, o)
	if err != nil {
		return nil, err
	}
	missing := "-"
	if o.OmitEmpty {
		missing = ""
	}
	return &textFormat{ops: ops, missing: missing}, nil
}

type textFormat struct {
	ops     []operator
	missing string
}

// Append implements Formatter.
func (f *textFormat) Append(dst []byte, info *filter.Info, t filter.AccessLogType) []byte {
	return f.append(dst, moment{info, t})
}

func (f *textFormat) append(dst []byte, m moment) []byte {
	for i := range f.ops {
		out, ok := f.ops[i].text(dst, m)
		if !ok {
			out = append(dst, f.missing...)
		}
		dst = out
	}
	return dst
}

// command is Envoy's expression for %NAME(args):length%.
var command = regexp.MustCompile(`^%((?:[A-Z]|[0-9]|_)+)(?:\((.*?)\))?(?::([0-9]+))?%`)

// parse splits a format into operators. An empty format is one empty literal.
func parse(format string, o Options) ([]operator, error) {
	var ops []operator
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			ops = append(ops, literally(literal.String()))
			literal.Reset()
		}
	}
	for pos := 0; pos < len(format); {
		rest := format[pos:]
		if rest[0] != '%' {
			n := strings.IndexByte(rest, '%')
			if n < 0 {
				n = len(rest)
			}
			literal.WriteString(rest[:n])
			pos += n
			continue
		}
		if strings.HasPrefix(rest, "%%") {
			literal.WriteByte('%')
			pos += 2
			continue
		}
		flush()
		op, n, err := parseCommand(rest, o)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, fmt.Errorf("Incorrect configuration: %s. Couldn't find valid command at position %d", format, pos) //nolint:staticcheck // Envoy's text
		}
		ops = append(ops, op)
		pos += n
	}
	flush()
	if len(ops) == 0 {
		ops = []operator{literally("")}
	}
	return ops, nil
}

// parseCommand compiles the command at the start of s and returns its length, 0 when
// there is none.
func parseCommand(s string, o Options) (operator, int, error) {
	m := command.FindStringSubmatch(s)
	if m == nil {
		return operator{}, 0, nil
	}
	a := args{name: m[1], text: m[2], max: -1}
	if m[3] != "" {
		n, err := strconv.Atoi(m[3])
		if err != nil {
			return operator{}, 0, nil // Envoy: no valid command
		}
		a.max = n
	}
	op, err := build(a, o)
	return op, len(m[0]), err
}

// build compiles one command.
func build(a args, o Options) (operator, error) {
	if a.name == "COALESCE" {
		return coalesce(a, o)
	}
	c, ok := commands[a.name]
	if !ok || a.name == "REQ_WITHOUT_QUERY" && !o.WithoutQuery {
		return operator{}, &UnknownOperator{a.name}
	}
	if err := c.check(a); err != nil {
		return operator{}, err
	}
	if o.own != nil && slices.ContainsFunc(OwnOperators(), func(x OwnOperator) bool { return x.Name == a.name }) {
		o.own(a.name)
	}
	return c.build(a)
}

func literally(s string) operator {
	return operator{text: func(dst []byte, _ moment) ([]byte, bool) { return append(dst, s...), true }}
}

// args are what is written with an operator: %NAME(text):max%.
type args struct {
	name string
	text string
	max  int // bytes; -1: no limit
}

// cut shortens what dst got since start.
func (a args) cut(dst []byte, start int) []byte {
	if a.max >= 0 && len(dst)-start > a.max {
		return dst[:start+a.max]
	}
	return dst
}

// cutText shortens a string.
func (a args) cutText(s string) string {
	if a.max >= 0 && len(s) > a.max {
		return s[:a.max]
	}
	return s
}

// A syntax says what may be written with an operator.
type syntax uint8

const (
	bare         syntax = 0 // neither arguments nor length
	argsRequired syntax = 1 << iota
	argsOptional
	lengthAllowed
	unchecked // the operator checks itself
)

// check has the order and the texts of Envoy's CommandSyntaxChecker.
func (x syntax) check(a args) error {
	switch {
	case x == bare && (a.text != "" || a.max >= 0):
		return fmt.Errorf("%s does not take any parameters or length", a.name)
	case x&argsRequired != 0 && a.text == "":
		return fmt.Errorf("%s requires parameters", a.name)
	case x&(lengthAllowed|unchecked) == 0 && a.max >= 0:
		return fmt.Errorf("%s does not allow length to be specified.", a.name) //nolint:staticcheck // Envoy's text
	}
	return nil
}

// A builder compiles an operator with its arguments.
type builder func(args) (operator, error)

type commandSpec struct {
	syntax
	build builder
}
