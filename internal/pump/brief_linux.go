package pump

import "golang.org/x/sys/unix"

// briefBytes bounds system calls that go past the Go scheduler (see recv): for a small
// message its book-keeping is a good part of them, while of many bytes it has to know,
// so that others get the processor meanwhile.
const briefBytes = 16 << 10

func readSocket(fd uintptr, p []byte) (int, error) {
	if len(p) > briefBytes {
		return unix.Read(int(fd), p)
	}
	n, errno := recv(int32(fd), p)
	if errno != 0 {
		return -1, errno
	}
	return n, nil
}

func writeSocket(fd uintptr, p []byte) (int, error) {
	if len(p) > briefBytes {
		return unix.Write(int(fd), p)
	}
	n, errno := send(int32(fd), p)
	if errno != 0 {
		return -1, errno
	}
	return n, nil
}
