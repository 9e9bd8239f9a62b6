//go:build race

package script

// raceFlags build ginnel with the race detector when the test has it: a race then
// is an exit code that is not 0.
var raceFlags = []string{"-race"}
