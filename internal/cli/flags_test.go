package cli

import (
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	f, err := Parse(strings.Fields("-c a.yaml --concurrency=3 -l debug --drain-time-s 7 --stats-tag a:b --stats-tag=c:d --component-log-level upstream:trace,config:off --base-id 3"))
	if err != nil {
		t.Fatal(err)
	}
	if f.ConfigPath != "a.yaml" || f.Concurrency != 3 || f.LogLevel != "debug" || f.DrainTime != 7*time.Second ||
		len(f.StatsTags) != 2 || len(f.Unused) != 1 || f.FileFlushInterval != 10*time.Second {
		t.Fatalf("parsed %+v", f)
	}
}

// The texts are those of Envoy 1.40.0.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--nope", "PARSE ERROR: Argument: --nope\n             Couldn't find match for argument"},
		{"stray", "PARSE ERROR: Argument: stray\n             Couldn't find match for argument"},
		{"--concurrency x", "PARSE ERROR: Argument: (--concurrency)\n             Couldn't read argument value from string 'x'"},
		{"--concurrency -1", "Couldn't read argument value from string '-1'"},
		{"--max-internal-hops 65536", "PARSE ERROR: Argument: (--max-internal-hops)\n             Couldn't read argument value from string '65536'"},
		{"-l", "PARSE ERROR: Argument: -l (--log-level)\n             Missing a value for this argument!"},
		{"-l loud", "error: invalid log level specified 'loud'"},
		{"--mode x", "error: unknown mode 'x'"},
		{"--local-address-ip-version v5", "error: unknown IP address version 'v5'"},
		{"--component-log-level nope:info", "error: invalid component specified 'nope'"},
		{"--drain-strategy slow", "error: unknown drain-strategy 'slow'"},
		{"--disable-hot-restart=1", "Couldn't find match for argument"},
		{"--stats-tag x", "error: misformatted stats-tag 'x'"},
	} {
		if _, err := Parse(strings.Fields(c.args)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.args, err, c.want)
		}
	}
}

func TestLogLevels(t *testing.T) {
	var out strings.Builder
	f, _ := Parse(strings.Fields("-l warning --component-log-level upstream:debug"))
	l, err := OpenLog(f)
	if err != nil {
		t.Fatal(err)
	}
	l.w = &out
	log := l.Logger()
	log.Info("hidden")
	log.With("logger", "upstream").Debug("shown", "host", "a")
	log.Warn("also shown", "logger", "config")
	if err := l.SetLevel("", "off"); err != nil {
		t.Fatal(err)
	}
	log.Error("silent")
	got := out.String()
	if strings.Contains(got, "hidden") || strings.Contains(got, "silent") ||
		!strings.Contains(got, "[debug][upstream] shown host=a\n") || !strings.Contains(got, "[warning][config] also shown\n") {
		t.Errorf("log:\n%s", got)
	}
	if err := l.SetLevel("nope", "info"); err == nil || err.Error() != "unknown logger name" {
		t.Errorf("unknown logger: %v", err)
	}
}
