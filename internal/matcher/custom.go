package matcher

import (
	"github.com/cespare/xxhash/v2"
	corev3 "github.com/cncf/xds/go/xds/core/v3"
	hashingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/consistent_hashing/v3"
	ipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/ip/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/metadata/v3"
	fractionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/runtime_fraction/v3"
	"github.com/gaissmai/bart"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// custom compiles the custom_match of a predicate.
func (c *compiler[D, A]) custom(s *extension.Scope, m *corev3.TypedExtensionConfig) func(Value, D) bool {
	if msg, s, ok := unpack(s, m); ok {
		switch m := msg.(type) {
		case *ipv3.Ip:
			return inRanges[D](s, m)
		case *hashingv3.ConsistentHashing:
			return hashed[D](s, m)
		case *fractionv3.RuntimeFraction:
			return c.fraction(s, m)
		case *metadatav3.Metadata:
			return metadata[D](s, m)
		}
		notImplemented(s, msg, "a matcher of an input", fullNames(&ipv3.Ip{}, &hashingv3.ConsistentHashing{},
			&fractionv3.RuntimeFraction{}, &metadatav3.Metadata{})...)
	}
	return func(Value, D) bool { return false }
}

func fullNames(list ...proto.Message) (names []string) {
	for _, m := range list {
		names = append(names, string(m.ProtoReflect().Descriptor().FullName()))
	}
	return names
}

func inRanges[D any](s *extension.Scope, m *ipv3.Ip) func(Value, D) bool {
	ipFields.Check(s, m)
	if len(m.GetCidrRanges()) == 0 {
		s.Field("cidr_ranges").Errorf("at least one is required")
	}
	if m.GetStatPrefix() == "" {
		s.Field("stat_prefix").Errorf("is required")
	}
	var in bart.Lite
	for _, p := range httpmatch.Prefixes(s.Field("cidr_ranges"), m.GetCidrRanges()) {
		in.Insert(p)
	}
	return func(v Value, _ D) bool {
		ip, ok := v.ip()
		return ok && in.Contains(ip)
	}
}

// hashed lets the share of texts pass whose hash is at or over a threshold.
func hashed[D any](s *extension.Scope, m *hashingv3.ConsistentHashing) func(Value, D) bool {
	hashingFields.Check(s, m)
	threshold, modulo := m.GetThreshold(), m.GetModulo()
	switch {
	case modulo == 0:
		s.Field("modulo").Errorf("must be greater than 0")
		modulo = 1
	case threshold > modulo:
		s.Field("threshold").Errorf("threshold cannot be greater than modulo: %d > %d", threshold, modulo)
	}
	return func(v Value, _ D) bool {
		h, ok := hash(v, m.GetSeed())
		return ok && h%uint64(modulo) >= uint64(threshold)
	}
}

// hash returns the xxHash64 of a text.
func hash(v Value, seed uint64) (uint64, bool) {
	if v.kind == byMeta {
		return 0, false
	}
	var d xxhash.Digest
	d.ResetWithSeed(seed)
	if v.kind == byText {
		_, _ = d.WriteString(v.text)
	} else {
		var buf [textBytes]byte
		_, _ = d.Write(v.append(buf[:0]))
	}
	return d.Sum64(), true
}

func (c *compiler[D, A]) fraction(s *extension.Scope, m *fractionv3.RuntimeFraction) func(Value, D) bool {
	fractionFields.Check(s, m)
	if m.GetRuntimeFraction() == nil {
		s.Field("runtime_fraction").Errorf("is required")
	}
	share := httpmatch.CompileFraction(m.GetRuntimeFraction())
	return func(v Value, d D) bool {
		var r filter.Runtime
		if c.Runtime != nil {
			r = c.Runtime(d)
		}
		h, ok := hash(v, m.GetSeed())
		return ok && share.Hit(h, r)
	}
}

func metadata[D any](s *extension.Scope, m *metadatav3.Metadata) func(Value, D) bool {
	metadataFields.Check(s, m)
	fits, invert := httpmatch.Value(s.Field("value"), m.GetValue()), m.GetInvert()
	return func(v Value, _ D) bool { return v.kind == byMeta && fits(v.meta) != invert }
}
