package app

import (
	"math"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/internal/plan"
)

func layered(static *structpb.Value) *runtime {
	return newRuntime([]plan.RuntimeLayer{
		{Name: "static", Values: map[string]*structpb.Value{"k": static}},
		{Name: "admin", Admin: true},
	})
}

// What the real Envoy makes of values for circuit_breakers.c.default.max_connections,
// whose default here is 1024. (It has 2^63 for 2^64, which is not in range.)
func TestRuntimeNumbers(t *testing.T) {
	const none = 1024
	for text, want := range map[string]uint64{
		"7": 7, "+9": 9, " 9": 9, "007": 7, "1e3": 1000, "5.5": 5, "5.": 5, ".5": 0, "0.9": 0,
		"0x10": 16, "0x1p4": 16, "4294967296": 1 << 32, "1e19": 1e19,
		"NaN": none, "inf": none, "-inf": none, "infinity": none, "1e300": none, "1e400": none,
		"-5": none, "1_000": none, "0x1_0": none, "true": none, "": none, "0x": none,
		"18446744073709551615": math.MaxUint64,
	} {
		r := layered(structpb.NewStringValue(text))
		if got := r.Uint("k", none); got != want {
			t.Errorf("%q in a static layer is %d, want %d", text, got, want)
		}
		if text == "" { // takes the key out
			continue
		}
		r = layered(structpb.NewNumberValue(3))
		if err := r.modify(map[string]string{"k": text}); err != nil {
			t.Fatal(err)
		}
		if got := r.Uint("k", none); got != want {
			t.Errorf("%q in the admin layer is %d, want %d", text, got, want)
		}
		if got := r.all()[1].Values["k"].GetStringValue(); got != text {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
	for number, want := range map[float64]uint64{5.5: 5, -3: none, 0.4: 0, 1e300: none, 1 << 32: 1 << 32, 1e19: 1e19, 1 << 64: math.MaxUint64} {
		if got := layered(structpb.NewNumberValue(number)).Uint("k", none); got != want {
			t.Errorf("%v is %d, want %d", number, got, want)
		}
	}
	if got := layered(structpb.NewBoolValue(true)).Uint("k", none); got != none {
		t.Errorf("true is %d", got)
	}
}
