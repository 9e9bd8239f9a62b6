package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whatever the bytes are, Load returns a message or issues that point into them,
// and the same ones each time.
func FuzzLoad(f *testing.F) {
	names := []string{"f.yaml", "f.json", "f.pb", "f.pb_text", "f.conf", "f.textproto"}
	for _, pattern := range []string{"testdata/broken/*", "testdata/origin/*"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			for i, name := range names {
				if filepath.Ext(name) == filepath.Ext(file) {
					f.Add(uint8(i), data, "")
				}
			}
		}
	}
	f.Add(uint8(0), []byte("node: {id: a}"), "node: {id: b, metadata: {a: [1]}}")
	f.Add(uint8(2), []byte("\x0a\x03\x0a\x01a"), "static_resources: {clusters: [{name: a}]}")
	f.Fuzz(func(t *testing.T, kind uint8, data []byte, override string) {
		in := Input{Path: names[int(kind)%len(names)], Data: data, Override: override}
		if text, again := loadForFuzz(t, in), loadForFuzz(t, in); text != again {
			t.Errorf("not the same twice:\n%s\n--\n%s", text, again)
		}
	})
}

func loadForFuzz(t *testing.T, in Input) string {
	doc, err := Load(in)
	if doc == nil {
		t.Fatalf("no document: %v", err)
	}
	var faults Issues
	if err != nil && !errors.As(err, &faults) {
		t.Fatalf("not issues: %v", err)
	}
	for _, i := range slices.Concat(faults, doc.Warnings) {
		lines := lineCount(string(in.Data))
		if i.File == OverrideFile {
			lines = lineCount(in.Override)
		}
		if i.Message == "" || i.Line < 0 || i.Line > lines || i.Line > 0 && i.Column < 1 {
			t.Errorf("malformed issue %#v in %d lines", i, lines)
		}
	}
	return fmt.Sprint(err, doc.Warnings)
}

// lineCount counts all that YAML takes for the end of a line.
func lineCount(s string) int {
	n := 1
	for _, lineEnd := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
		n += strings.Count(s, lineEnd)
	}
	return n
}
