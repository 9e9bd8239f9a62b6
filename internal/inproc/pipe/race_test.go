//go:build race

package pipe_test

const raceEnabled = true // sync.Pool drops things at random then
