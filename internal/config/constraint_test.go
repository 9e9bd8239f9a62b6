package config

import (
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Violations name fields as Go does: for every field there is, that name leads
// back to it.
func TestGoNames(t *testing.T) {
	fields := 0
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		if mt.Descriptor().IsMapEntry() {
			return true
		}
		typ := reflect.TypeOf(mt.Zero().Interface()).Elem()
		for i := range typ.NumField() {
			f := typ.Field(i)
			_, rest, ok := strings.Cut(f.Tag.Get("protobuf"), "name=")
			name, _, _ := strings.Cut(rest, ",")
			if !ok {
				continue
			}
			fields++
			fd := fieldByGoName(mt.Descriptor(), f.Name)
			if fd == nil || string(fd.Name()) != name {
				t.Errorf("%s.%s is not found as %s", mt.Descriptor().FullName(), name, f.Name)
			}
		}
		return true
	})
	if fields < 1000 {
		t.Errorf("only %d fields looked at", fields)
	}
}

func TestPlainWords(t *testing.T) {
	for _, c := range []struct{ reason, message, expected string }{
		{"value is required", "required, but not set", ""},
		{"value must be inside range [1, 8192]", "out of range", "1 to 8192"},
		{"value must be inside range (0s, 1m0s]", "out of range", "more than 0s and at most 1m0s"},
		{"value must be inside range [0, 100)", "out of range", "at least 0 and less than 100"},
		{"value must contain at least 1 item(s)", "must not be empty", "at least one item"},
		{"value must contain no more than 16 item(s)", "too many", "at most 16 items"},
		{"value must be in list [http https]", "not allowed", "one of http, https"},
		{"value length must be between 1 and 255 bytes, inclusive", "wrong length", "1 to 255 bytes"},
		{`value does not match regex pattern "^[^\x00]*$"`, "wrong form", `text that matches ^[^\x00]*$`},
		{"something new", "something new", ""},
	} {
		if got := plainWords(c.reason, nil); got.Message != c.message || got.Expected != c.expected {
			t.Errorf("%s: got %q, %q", c.reason, got.Message, got.Expected)
		}
	}
}
