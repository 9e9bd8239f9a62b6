//go:build race

package pump

const raceEnabled = true
