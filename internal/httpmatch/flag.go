package httpmatch

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

// A Flag is on or off; the runtime may have it otherwise.
type Flag struct {
	key string // "": the runtime has no say
	on  bool
}

// CompileFlag compiles a flag; nil is on.
func CompileFlag(s *extension.Scope, m *corev3.RuntimeFeatureFlag) Flag {
	if m == nil {
		return Flag{on: true}
	}
	if m.GetDefaultValue() == nil {
		s.Field("default_value").Errorf("is required")
	}
	return Flag{m.GetRuntimeKey(), m.GetDefaultValue().GetValue()}
}

// On reports what is the case now. The runtime may be nil.
func (f Flag) On(r filter.Runtime) bool {
	if flags, ok := r.(filter.FeatureFlags); ok && f.key != "" {
		return flags.Flag(f.key, f.on)
	}
	return f.on
}
