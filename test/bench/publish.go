package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// publish prints the summary and writes the files that the options ask for.
func publish(o *options, r *report) error {
	if t := r.targetTable(); len(t.rows) > 0 {
		fmt.Fprintln(o.out, t.text())
	}
	fmt.Fprint(o.out, r.conditions())
	var errs []error
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", " ")
		errs = append(errs, err, os.WriteFile(o.json, append(text, '\n'), 0o644))
	}
	if o.svg != "" {
		errs = append(errs, os.WriteFile(o.svg, r.svg(), 0o644))
	}
	if o.doc != "" {
		errs = append(errs, insert(o.doc, r.document(o)))
	}
	return errors.Join(errs...)
}

// conditions says what was measured on what, and how much the figures are worth.
func (r *report) conditions() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. %s.\n", r.Date, r.Machine)
	var versions []string
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		versions = append(versions, name+" "+r.Versions[name])
	}
	fmt.Fprintf(&b, "%s.\n", strings.Join(versions, ", "))
	fmt.Fprintf(&b, "%d rounds of %.2g s.\n", r.Rounds, r.Window)
	others := r.others("")
	fmt.Fprintf(&b, "CPU time taken by others meanwhile: median %.1f %%, worst %.1f %%.\n", 100*others.median, 100*others.max)
	if t := r.ticks(); t.n > 0 {
		fmt.Fprintf(&b, "CPU time by ticks over CPU time by clock: median %.3f (%.3f to %.3f).\n", t.median, t.min, t.max)
	}
	return b.String()
}

// document is the part of docs/performance.md that a run renews.
func (r *report) document(o *options) string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(r.conditions(), "\n", "\n\n"))
	if o.svg != "" {
		if name, err := filepath.Rel(filepath.Dir(o.doc), o.svg); err == nil {
			fmt.Fprintf(&b, "![CPU time, latency and memory of each proxy](%s)\n\n", filepath.ToSlash(name))
		}
	}
	b.WriteString(r.targetTable().markdown())
	for _, s := range chosen(o) {
		b.WriteString("\n" + r.table(&s).markdown())
	}
	return b.String()
}

const (
	beginMark = "<!-- bench:begin: written by make bench -->\n"
	endMark   = "<!-- bench:end -->\n"
)

// insert puts text between the marks of a file.
func insert(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(old, []byte(beginMark))
	_, after, ok2 := bytes.Cut(rest, []byte(endMark))
	if !ok || !ok2 {
		return fmt.Errorf("%s: no lines %q and %q", file, strings.TrimSpace(beginMark), strings.TrimSpace(endMark))
	}
	return os.WriteFile(file, slices.Concat(before, []byte(beginMark+"\n"+text+"\n"+endMark), after), 0o644)
}
