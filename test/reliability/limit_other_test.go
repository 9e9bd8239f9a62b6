//go:build !unix

package reliability

func descriptors() int { return 1000 }
