//go:build race

package hcm

// raceDetector drops pooled objects at random.
const raceDetector = true
