package main

import (
	"math"
	"slices"
)

// A report is everything that a run has found out.
type report struct {
	Date     string            `json:"date"`
	Machine  string            `json:"machine"`
	Versions map[string]string `json:"versions"`
	Rounds   int               `json:"rounds"`
	Window   float64           `json:"window_seconds"`
	Samples  []sample          `json:"samples"`
}

// A sample is one measurement of one proxy.
type sample struct {
	Scenario string `json:"scenario"`
	Subject  string `json:"subject"`
	Round    int    `json:"round"`
	Values   values `json:"values,omitempty"`
	// Others is the part of the machine's CPU time, 0 to 1, that went to neither the
	// proxy nor the benchmark meanwhile.
	Others float64 `json:"others"`
	// Ticks is the proxy's CPU time by the kernel's tick accounting over the same by
	// its clock; 0 where there was too little of it to tell.
	Ticks float64 `json:"ticks,omitempty"`
	// Still is the number of busy connections that stood still all the time: starved,
	// or forgotten.
	Still int    `json:"still,omitempty"`
	Error string `json:"error,omitempty"`
}

// A spread is what several rounds agree on.
type spread struct {
	median, min, max float64
	n                int
}

func spreadOf(all []float64) spread {
	if len(all) == 0 {
		return spread{}
	}
	all = slices.Sorted(slices.Values(all))
	return spread{median: median(all), min: all[0], max: all[len(all)-1], n: len(all)}
}

// median wants its values sorted, and at least one.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// rounds are the values of one metric by round.
func (r *report) rounds(scenario, subject, key string) map[int]float64 {
	all := map[int]float64{}
	for _, s := range r.Samples {
		if s.Scenario != scenario || s.Subject != subject {
			continue
		}
		if x, ok := s.Values[key]; ok {
			all[s.Round] = x
		}
	}
	return all
}

// spread sums up one metric; ok is whether it was measured at all.
func (r *report) spread(scenario, subject, key string) (s spread, ok bool) {
	var all []float64
	for _, x := range r.rounds(scenario, subject, key) {
		all = append(all, x)
	}
	s = spreadOf(all)
	return s, s.n > 0
}

// between combines the values that two subjects had in the same round: only those
// were taken under the same conditions.
func (r *report) between(scenario, key, a, b string, combine func(a, b float64) float64) (s spread, ok bool) {
	var all []float64
	bs := r.rounds(scenario, b, key)
	for round, x := range r.rounds(scenario, a, key) {
		if y, both := bs[round]; both {
			if z := combine(x, y); !math.IsInf(z, 0) && !math.IsNaN(z) {
				all = append(all, z)
			}
		}
	}
	s = spreadOf(all)
	return s, s.n > 0
}

// ratio is a to b, round by round.
func (r *report) ratio(scenario, key, a, b string) (s spread, ok bool) {
	return r.between(scenario, key, a, b, func(a, b float64) float64 { return a / b })
}

// perHop is what each of n hops adds, a with them and b without.
func (r *report) perHop(scenario, key, a, b string, n int) (s spread, ok bool) {
	return r.between(scenario, key, a, b, func(a, b float64) float64 { return (a - b) / float64(n) })
}

// subjects are those of a scenario in the order of their first sample of the first round.
func (r *report) subjects(scenario string) []string {
	var names []string
	for _, s := range r.Samples {
		if s.Scenario == scenario && !slices.Contains(names, s.Subject) {
			names = append(names, s.Subject)
		}
	}
	return names
}

// others is how much a scenario's samples were disturbed; "": all samples.
func (r *report) others(scenario string) spread {
	var all []float64
	for _, s := range r.Samples {
		if scenario == "" || s.Scenario == scenario {
			all = append(all, s.Others)
		}
	}
	return spreadOf(all)
}

// disturbed is the part of the machine's CPU time in others' hands that makes another
// try worth while, and a warning.
const disturbed = 0.15

// ticks compares the two ways of taking CPU time over all samples.
func (r *report) ticks() spread {
	var all []float64
	for _, s := range r.Samples {
		if s.Ticks > 0 {
			all = append(all, s.Ticks)
		}
	}
	return spreadOf(all)
}
