// Package testcompile compiles configurations of extensions for their tests.
package testcompile

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/extension"
)

// JSON compiles the JSON of a message by an extension that register knows. The paths of
// what is reported begin with x.
func JSON[F any](t testing.TB, register func(*extension.Registry), k extension.Kind[F], m proto.Message, text string) (F, []extension.Issue) {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	packed, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	registry, report := &extension.Registry{}, &extension.Report{}
	register(registry)
	resolve := func(a *anypb.Any) (proto.Message, error) { return a.UnmarshalNew() }
	f, _ := extension.Compile(extension.NewScope(report, registry, resolve).At("x"), k, packed)
	return f, report.Issues
}
