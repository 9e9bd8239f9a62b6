package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// header makes an operator that reads a header, which TCP has none of. Its arguments
// are checked all the same.
func header(a args) (operator, error) {
	names := strings.Split(a.text, "?")
	if len(names) > 2 {
		return operator{}, fmt.Errorf("More than 1 alternative header specified in token: %s", a.text) //nolint:staticcheck // Envoy's text
	}
	for _, n := range names {
		if !headerName(n) {
			return operator{}, errors.New("Invalid header configuration. Format string contains invalid characters.") //nolint:staticcheck // Envoy's text
		}
	}
	return nothing(a)
}

// headerName reports whether s is empty or a header name; a leading colon marks a
// pseudo header.
func headerName(s string) bool {
	s = strings.TrimPrefix(s, ":")
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') &&
			!strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// choice makes an operator that HTTP alone has, with one of the arguments, or none.
func choice(of ...string) builder {
	return func(a args) (operator, error) {
		if err := oneOf(a, a.text, of...); err != nil {
			return operator{}, err
		}
		return nothing(a)
	}
}

func oneOf(a args, got string, of ...string) error {
	if got == "" || slices.Contains(of, got) {
		return nil
	}
	return fmt.Errorf("Invalid %s option: '%s', only '%s' are allowed", a.name, got, strings.Join(of, "'/'")) //nolint:staticcheck // Envoy's text
}

func path(a args) (operator, error) {
	p := append(strings.Split(a.text, ":"), "")
	if err := errors.Join(oneOf(a, p[0], "WQ", "NQ"), oneOf(a, p[1], "ORIG", "PATH", "ORIG_OR_PATH")); err != nil {
		return operator{}, err
	}
	return nothing(a)
}

func grpcStatus(a args) (operator, error) {
	if oneOf(a, a.text, "CAMEL_STRING", "SNAKE_STRING", "NUMBER") != nil {
		return operator{}, fmt.Errorf("GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER. Got: %s", a.text)
	}
	return nothing(a)
}

// serverName makes REQUESTED_SERVER_NAME; the forms differ where there is a Host
// header only.
func serverName(a args) (operator, error) {
	p := append(strings.Split(a.text, ":"), "")
	err := errors.Join(oneOf(a, p[0], "SNI_ONLY", "SNI_FIRST", "HOST_FIRST"), oneOf(a, p[1], "ORIG_OR_HOST", "HOST", "ORIG"))
	if err != nil {
		return operator{}, err
	}
	return textOf(func(m moment) string { return sanitized(m.Rest().Inspected.ServerName) })(a)
}

// sanitized replaces what no host name has, for the name came from a client.
func sanitized(s string) string {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
	}
	if !strings.ContainsFunc(s, bad) {
		return s
	}
	out := []byte(s)
	for i, c := range out {
		if bad(rune(c)) {
			out[i] = '_'
		}
	}
	return string(out)
}

// coalesce makes COALESCE({"operators": [...]}): the first operator that has a
// value that is not empty.
func coalesce(a args, o Options) (operator, error) {
	if err := (argsRequired | lengthAllowed).check(a); err != nil {
		return operator{}, err
	}
	entries, err := coalesceEntries(a.text)
	if err != nil {
		return operator{}, fmt.Errorf("COALESCE: %w", err)
	}
	var ops []operator
	for i, e := range entries {
		op, err := coalesceOperator(e, o)
		if err != nil {
			return operator{}, fmt.Errorf("COALESCE: failed to parse operator at index %d: %w", i, err)
		}
		full := op.text
		op.text = func(dst []byte, m moment) ([]byte, bool) {
			out, ok := full(dst, m)
			return a.cut(out, len(dst)), ok
		}
		ops = append(ops, op)
	}
	return operator{text: firstText(ops), json: firstJSON(ops)}, nil
}

func coalesceEntries(text string) ([]json.RawMessage, error) {
	var top map[string]json.RawMessage
	if !json.Valid([]byte(text)) {
		return nil, errors.New("failed to parse JSON configuration: JSON supplied is not valid")
	}
	if json.Unmarshal([]byte(text), &top) != nil || top["operators"] == nil {
		return nil, errors.New("JSON configuration must contain 'operators' array")
	}
	var entries []json.RawMessage
	if json.Unmarshal(top["operators"], &entries) != nil {
		return nil, errors.New("'operators' must be an array")
	}
	if len(entries) == 0 {
		return nil, errors.New("'operators' array must not be empty")
	}
	return entries, nil
}

func coalesceOperator(entry json.RawMessage, o Options) (operator, error) {
	a := args{max: -1}
	var fields map[string]json.RawMessage
	switch {
	case json.Unmarshal(entry, &a.name) == nil:
	case json.Unmarshal(entry, &fields) != nil:
		return operator{}, errors.New("operator entry must be either a string (command name) or an object with 'command' field")
	case json.Unmarshal(fields["command"], &a.name) != nil:
		return operator{}, errors.New("operator object must have 'command' field")
	case fields["param"] != nil && json.Unmarshal(fields["param"], &a.text) != nil:
		return operator{}, errors.New("'param' field must be a string")
	case fields["max_length"] != nil && json.Unmarshal(fields["max_length"], &a.max) != nil:
		return operator{}, errors.New("'max_length' field must be an integer")
	case fields["max_length"] != nil && a.max <= 0:
		return operator{}, errors.New("'max_length' must be a positive integer")
	}
	op, err := build(a, o)
	if unknown := (*UnknownOperator)(nil); errors.As(err, &unknown) {
		return op, fmt.Errorf("unknown command: '%s'", a.name)
	}
	return op, err
}

func firstText(ops []operator) printer {
	return func(dst []byte, m moment) ([]byte, bool) {
		for i := range ops {
			if out, ok := ops[i].text(dst, m); ok && len(out) > len(dst) {
				return out, true
			}
		}
		return dst, false
	}
}

func firstJSON(ops []operator) printer {
	return func(dst []byte, m moment) ([]byte, bool) {
		for i := range ops {
			if out, ok := ops[i].appendJSON(dst, m); ok && string(out[len(dst):]) != `""` {
				return out, true
			}
		}
		return dst, false
	}
}
