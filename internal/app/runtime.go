package app

import (
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/internal/plan"
)

// runtime gives the values of runtime keys: the last layer that has a key wins.
type runtime struct {
	numbers atomic.Pointer[map[string]uint64] // of all layers together
	doubles atomic.Pointer[map[string]float64]
	flags   atomic.Pointer[map[string]bool]

	mu     sync.Mutex
	layers []plan.RuntimeLayer // replaced, never changed
}

func newRuntime(layers []plan.RuntimeLayer) *runtime {
	r := &runtime{layers: layers}
	r.merge()
	return r
}

// merge makes the numbers and flags anew from the layers.
func (r *runtime) merge() {
	all, flags, doubles := make(map[string]uint64), make(map[string]bool), make(map[string]float64)
	for _, l := range r.layers {
		for key, v := range l.Values {
			delete(all, key) // even by what is no number
			delete(flags, key)
			delete(doubles, key)
			if n, ok := number(v); ok {
				all[key] = n
			}
			if f, ok := double(v); ok {
				doubles[key] = f
			}
			if b, ok := flag(v); ok {
				flags[key] = b
			}
		}
	}
	r.numbers.Store(&all)
	r.flags.Store(&flags)
	r.doubles.Store(&doubles)
}

// flag reads a value as Envoy does: booleans, their names, and integers.
func flag(v *structpb.Value) (b, ok bool) {
	switch k := v.GetKind().(type) {
	case *structpb.Value_BoolValue:
		return k.BoolValue, true
	case *structpb.Value_StringValue:
		switch strings.ToLower(k.StringValue) {
		case "true":
			return true, true
		case "false":
			return false, true
		}
	}
	n, ok := number(v)
	return n != 0, ok
}

// Flag implements filter.FeatureFlags.
func (r *runtime) Flag(key string, def bool) bool {
	if b, ok := (*r.flags.Load())[key]; ok {
		return b
	}
	return def
}

func (r *runtime) all() []plan.RuntimeLayer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.layers
}

var errNoAdminLayer = errors.New("no admin layer specified")

// modify sets keys of the admin layer; "" takes a key out of it.
func (r *runtime) modify(values map[string]string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := slices.IndexFunc(r.layers, func(l plan.RuntimeLayer) bool { return l.Admin })
	if at < 0 {
		return errNoAdminLayer
	}
	layers := slices.Clone(r.layers)
	layer := maps.Clone(layers[at].Values)
	if layer == nil {
		layer = make(map[string]*structpb.Value)
	}
	for k, v := range values {
		if v == "" {
			delete(layer, k)
		} else {
			layer[k] = structpb.NewStringValue(v) // shown as it was given
		}
	}
	layers[at].Values = layer
	r.layers = layers
	r.merge()
	return nil
}

// Uint implements filter.Runtime.
func (r *runtime) Uint(key string, def uint64) uint64 {
	if n, ok := (*r.numbers.Load())[key]; ok {
		return n
	}
	return def
}

// Double implements filter.Doubles.
func (r *runtime) Double(key string, def float64) float64 {
	if f, ok := (*r.doubles.Load())[key]; ok {
		return f
	}
	return def
}

// double reads numbers and what reads like one.
func double(v *structpb.Value) (float64, bool) {
	f := v.GetNumberValue()
	if s, ok := v.GetKind().(*structpb.Value_StringValue); ok {
		f = parseNumber(s.StringValue)
	} else if _, ok := v.GetKind().(*structpb.Value_NumberValue); !ok {
		return 0, false
	}
	return f, !math.IsNaN(f)
}

// number reads a value as Envoy does: without the fraction. What is negative, or beyond 64
// bits, is no number.
func number(v *structpb.Value) (uint64, bool) {
	f, ok := double(v)
	if !ok {
		return 0, false
	}
	switch {
	case !(f >= 0 && f <= 1<<64): // NaN neither
		return 0, false
	case f == 1<<64: // the float64 next to the largest
		return math.MaxUint64, true
	}
	return uint64(f), true
}

// parseNumber reads a number, hexadecimal ones too (Envoy); NaN: it is none.
func parseNumber(s string) float64 {
	s = strings.TrimSpace(s)
	if strings.ContainsAny(s, "xX") && !strings.ContainsAny(s, "pP") {
		s += "p0" // Go wants an exponent
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.Contains(s, "_") {
		return math.NaN()
	}
	return f
}

// Enabled implements filter.Runtime.
func (r *runtime) Enabled(key string, perMillion uint32) bool {
	if key != "" {
		perMillion = uint32(min(r.Uint(key, uint64(perMillion)), 1_000_000))
	}
	return rand.Uint32N(1_000_000) < perMillion
}
