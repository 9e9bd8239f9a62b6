package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// A format is how bytes become a message.
type format uint8

const (
	formatYAML  format = iota
	formatJSON         // of a file named so
	formatOther        // JSON for Envoy, whose place YAML may take
	formatBinary
	formatText
)

// formatOf tells the format by the extension of the file's name, in any case.
func formatOf(path string) format {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".yaml", ".yml":
		return formatYAML
	case ".json":
		return formatJSON
	case ".pb":
		return formatBinary
	case ".pb_text", ".textproto", ".pbtxt":
		return formatText
	}
	if path == "" {
		return formatYAML
	}
	return formatOther
}

// decode fills m from data and returns the places of what it holds; for binary
// protobuf only the root is known. What is wrong goes to the report.
func (l *loader) decode(file string, f format, data []byte, m proto.Message) *place {
	root := &place{pos: Pos{File: file}}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	looksJSON := bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{"))
	switch {
	case f == formatBinary:
		l.binary(file, data, m)
	case f == formatText && !looksJSON: // Envoy reads .textproto as JSON
		l.text(file, data, m, root)
	default:
		l.tree(file, f, looksJSON, data, m, root)
	}
	return root
}

func (l *loader) binary(file string, data []byte, m proto.Message) {
	if err := proto.Unmarshal(data, m); err != nil {
		proto.Reset(m)
		l.report.add(finding{Issue: Issue{
			Pos:      Pos{File: file},
			Message:  "not a binary protobuf message: " + protobufReason(err),
			Expected: "a " + string(m.ProtoReflect().Descriptor().FullName()),
		}})
	}
}

func (l *loader) text(file string, data []byte, m proto.Message, root *place) {
	if err := prototext.Unmarshal(data, m); err != nil {
		pos, message := textPos(file, protobufReason(err))
		l.report.add(finding{Issue: Issue{Pos: pos, Message: message}})
		return
	}
	textPlaces(file, data, m.ProtoReflect().Descriptor(), root)
}

// protobufReason strips the prefix of protobuf's errors, whose blank is random.
func protobufReason(err error) string {
	reason := strings.TrimPrefix(err.Error(), "proto:")
	return strings.TrimLeft(strings.ReplaceAll(reason, "\u00a0", " "), " ")
}

var textPosition = regexp.MustCompile(`\(line (\d+):(\d+)\): ?`)

// textPos takes the position out of an error of prototext.
func textPos(file, reason string) (Pos, string) {
	at := textPosition.FindStringSubmatchIndex(reason)
	if at == nil {
		return Pos{File: file}, reason
	}
	line, _ := strconv.Atoi(reason[at[2]:at[3]])
	column, _ := strconv.Atoi(reason[at[4]:at[5]])
	return Pos{file, line, column}, reason[:at[0]] + reason[at[1]:]
}

// tree reads YAML or JSON into m by way of nodes.
func (l *loader) tree(file string, f format, looksJSON bool, data []byte, m proto.Message, root *place) {
	n, err := parseTree(f, looksJSON, data, func(line, column int, s Severity, message string) {
		l.report.add(finding{Issue: Issue{Pos: Pos{file, line, column}, Severity: s, Message: message}})
	})
	switch {
	case err != nil:
		l.report.add(finding{Issue: Issue{Pos: Pos{file, err.line, err.column}, Message: err.what}})
		return
	case n == nil || n.kind == nullKind:
		l.report.add(finding{Issue: Issue{
			Pos: Pos{File: file, Line: 1, Column: 1}, Message: "empty configuration",
			Expected: fmt.Sprintf("the fields of %s", m.ProtoReflect().Descriptor().FullName()),
		}})
		return
	}
	if f == formatOther && !looksJSON {
		l.report.add(finding{Issue: Issue{
			Pos: Pos{File: file, Line: n.line, Column: n.column}, Severity: Strict,
			Message: "YAML in a file not named .yaml or .yml: Envoy reads such a file as JSON",
		}})
	}
	root.pos = Pos{file, n.line, n.column}
	d := decoder{file: file, report: l.report, unknown: l.unknown, budget: maxAliased + len(data)}
	d.message(n, m.ProtoReflect(), root)
}

// A syntaxError is why text is neither YAML nor JSON.
type syntaxError struct {
	line, column int
	what         string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%d:%d: %s", e.line, e.column, e.what) }

// A noteFunc hears of forms that are accepted though they should not be used.
type noteFunc func(line, column int, s Severity, message string)

// parseTree reads data as nodes. JSON that stands where YAML may is read by the
// JSON reader if it can be: it is faster and knows escapes that YAML lacks.
func parseTree(f format, looksJSON bool, data []byte, note noteFunc) (*node, *syntaxError) {
	switch {
	case f == formatYAML && looksJSON:
		if n, err := parseJSON(data, true, nil); err == nil {
			return n, nil
		}
		return parseYAML(data, note)
	case f == formatYAML, f == formatOther && !looksJSON:
		return parseYAML(data, note)
	default:
		return parseJSON(data, false, note)
	}
}
