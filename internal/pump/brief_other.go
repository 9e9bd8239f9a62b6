//go:build !linux

package pump

import "golang.org/x/sys/unix"

func readSocket(fd uintptr, p []byte) (int, error)  { return unix.Read(int(fd), p) }
func writeSocket(fd uintptr, p []byte) (int, error) { return unix.Write(int(fd), p) }
