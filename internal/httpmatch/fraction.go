package httpmatch

import (
	"math"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/ginnel/ginnel/filter"
)

// A Fraction lets a share of requests pass; the runtime may set another share. The zero
// value lets none.
type Fraction struct {
	key            string // "": the runtime has no say
	numerator, one uint64
}

// All is the fraction that lets everything pass.
var All = Fraction{numerator: 1, one: 1}

// CompileFraction compiles a fraction; nil lets everything pass.
func CompileFraction(m *corev3.RuntimeFractionalPercent) Fraction {
	if m == nil {
		return All
	}
	f := Percent(m.DefaultValue)
	f.key = m.RuntimeKey
	return f
}

// Percent compiles a fraction without a runtime key; nil is none.
func Percent(m *typev3.FractionalPercent) Fraction {
	return Fraction{numerator: uint64(m.GetNumerator()), one: Denominator(m)}
}

// Denominator is how many parts of a fraction are the whole.
func Denominator(m *typev3.FractionalPercent) uint64 {
	switch m.GetDenominator() {
	case typev3.FractionalPercent_TEN_THOUSAND:
		return 10_000
	case typev3.FractionalPercent_MILLION:
		return 1_000_000
	}
	return 100
}

// Hit decides by a random number. The runtime may be nil; a number in it is a
// percentage.
func (f *Fraction) Hit(random uint64, r filter.Runtime) bool {
	if f.key != "" && r != nil {
		if v := r.Uint(f.key, math.MaxUint64); v != math.MaxUint64 {
			return random%100 < v
		}
	}
	return f.one > 0 && random%f.one < f.numerator
}
