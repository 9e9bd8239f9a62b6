package app

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/internal/plan"
)

// runtime gives the values of runtime keys: the last layer that has a key wins.
type runtime struct {
	values atomic.Pointer[map[string]*structpb.Value] // of all layers together

	mu     sync.Mutex
	layers []plan.RuntimeLayer // replaced, never changed
}

func newRuntime(layers []plan.RuntimeLayer) *runtime {
	r := &runtime{layers: layers}
	r.merge()
	return r
}

// merge makes the values anew from the layers.
func (r *runtime) merge() {
	all := make(map[string]*structpb.Value)
	for _, l := range r.layers {
		maps.Copy(all, l.Values)
	}
	r.values.Store(&all)
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
			layer[k] = parseValue(v)
		}
	}
	layers[at].Values = layer
	r.layers = layers
	r.merge()
	return nil
}

// parseValue reads a value as the admin API gives it: a number or boolean where it
// is one, else a string.
func parseValue(s string) *structpb.Value {
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return structpb.NewNumberValue(n)
	}
	if b, err := strconv.ParseBool(s); err == nil && (s == "true" || s == "false") {
		return structpb.NewBoolValue(b)
	}
	return structpb.NewStringValue(s)
}

// Uint implements filter.Runtime.
func (r *runtime) Uint(key string, def uint64) uint64 {
	v, ok := (*r.values.Load())[key].GetKind().(*structpb.Value_NumberValue)
	if !ok || v.NumberValue < 0 {
		return def
	}
	return uint64(v.NumberValue)
}

// Enabled implements filter.Runtime.
func (r *runtime) Enabled(key string, perMillion uint32) bool {
	if key != "" {
		perMillion = uint32(min(r.Uint(key, uint64(perMillion)), 1_000_000))
	}
	return rand.Uint32N(1_000_000) < perMillion
}
