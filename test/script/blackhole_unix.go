//go:build unix

package script

import (
	"errors"
	"syscall"
	"time"
)

// listenShort listens on a loopback port with the shortest queue there is. What has
// just let go of the port may still hold it for a moment.
func listenShort(port int) (int, error) {
	for deadline := time.Now().Add(stepTimeout); ; time.Sleep(20 * time.Millisecond) {
		fd, err := tryListenShort(port)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return fd, err
		}
	}
}

func tryListenShort(port int) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	syscall.CloseOnExec(fd)
	at := &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err == nil {
		err = syscall.Bind(fd, at)
	}
	if err == nil {
		err = syscall.Listen(fd, 0)
	}
	if err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

func closeSocket(fd int) { syscall.Close(fd) }
