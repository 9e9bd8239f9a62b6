package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// publish prints the summary and writes the files that the options ask for.
func publish(o *options, r *report) error {
	fmt.Fprint(o.out, r.conditions())
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// conditions says how much the figures are worth.
func (r *report) conditions() string {
	text := fmt.Sprintf("%s; %s\n", r.Machine, r.Date)
	others := r.others()
	text += fmt.Sprintf("CPU taken by others: median %.1f %%, worst %.1f %%\n", 100*others.median, 100*others.max)
	if t := r.ticks(); t.n > 0 {
		text += fmt.Sprintf("CPU time by ticks over CPU time by clock: median %.3f (%.3f to %.3f)\n", t.median, t.min, t.max)
	}
	return text
}
