package builtin

import (
	"bytes"
	"flag"
	"os"
	"slices"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ginnel/ginnel/extension"
)

var update = flag.Bool("update", false, "write docs/support.md anew")

const document = "../docs/support.md"

// The document says what the code does.
func TestSupportDocument(t *testing.T) {
	var want bytes.Buffer
	if err := WriteSupport(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(document, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the code does; go test ./builtin -update", document)
	}
}

// A table names fields that there are, each once, and a message has one table.
func TestSupportTables(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range Support() {
		if seen[title(f)] {
			t.Errorf("%s has two tables", title(f))
		}
		seen[title(f)] = true
		fields := f.Message.ProtoReflect().Descriptor().Fields()
		var listed []string
		listed = append(listed, f.Obeyed...)
		for n, why := range f.Ignored {
			if why == "" {
				t.Errorf("%s.%s is ignored for no reason", name(f), n)
			}
			listed = append(listed, n)
		}
		for n := range f.Defaults {
			listed = append(listed, n)
		}
		slices.Sort(listed)
		for i, n := range listed {
			if i > 0 && listed[i-1] == n {
				t.Errorf("%s.%s is listed twice", name(f), n)
			}
			if fields.ByName(protoreflect.Name(n)) == nil {
				t.Errorf("%s has no field %s", name(f), n)
			}
		}
	}
}

// What can be configured is in a table.
func TestSupportCoversExtensions(t *testing.T) {
	tables := make(map[string]bool)
	for _, f := range Support() {
		tables[string(name(f))] = true
	}
	r := Registry()
	for _, kind := range []string{
		extension.NetworkFilter.Name(), extension.TerminalFilter.Name(), extension.ListenerFilter.Name(),
		extension.AccessLog.Name(), extension.UpstreamSocket.Name(), extension.AccessLogFilter.Name(),
		extension.HTTPFilter.Name(), extension.HTTPTerminal.Name(), extension.HTTPRouteFilter.Name(),
	} {
		for _, msg := range r.Types(kind) {
			if !tables[msg] {
				t.Errorf("%s (%s) has no table", msg, kind)
			}
		}
	}
}
