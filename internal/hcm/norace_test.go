//go:build !race

package hcm

const raceDetector = false
