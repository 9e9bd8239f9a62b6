package netconn

import (
	"errors"
	"strings"
	"syscall"
)

// Text returns what strerror prints for the system error inside of err, as Envoy
// prints it ("Connection refused"), or else err's own text.
func Text(err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	s := errno.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}
