//go:build !linux

package script

func mayBeTransparent() bool { return false }
