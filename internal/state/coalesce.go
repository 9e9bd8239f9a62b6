package state

import (
	"encoding/json"
	"errors"
	"fmt"
)

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
