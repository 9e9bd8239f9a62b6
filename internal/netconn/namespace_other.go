//go:build !linux

package netconn

import "errors"

func inNamespace(path string, _ func() (int, error)) (int, error) {
	return -1, &namespaceError{"enter", path, errors.ErrUnsupported}
}
