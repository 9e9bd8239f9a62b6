package accesslog

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

var (
	headerFilterFields   = extension.Fields{Message: &accesslogv3.HeaderFilter{}, Obeyed: []string{"header"}}
	metadataFilterFields = extension.Fields{
		Message: &accesslogv3.MetadataFilter{},
		Obeyed:  []string{"matcher", "match_if_key_not_found"},
	}
)

func matcherSupport() []*extension.Fields {
	return []*extension.Fields{&headerFilterFields, &metadataFilterFields}
}

// header judges by a header of the request. TCP connections have none: it is missing.
func header(s *extension.Scope, m *accesslogv3.HeaderFilter) predicate {
	headerFilterFields.Check(s, m)
	h := httpmatch.CompileHeader(s.Field("header"), m.GetHeader())
	return func(e event) bool {
		if http := e.info.HTTP(); http != nil && http.Request != nil {
			return h.Request(http.Request)
		}
		return h.Lines(nil)
	}
}

// metadata judges by a value of the dynamic metadata.
func metadata(s *extension.Scope, m *accesslogv3.MetadataFilter) predicate {
	metadataFilterFields.Check(s, m)
	missing := true
	if b := m.GetMatchIfKeyNotFound(); b != nil {
		missing = b.GetValue()
	}
	x := m.GetMatcher()
	if x == nil {
		return constant(missing)
	}
	match := httpmatch.CompileMetadata(s.Field("matcher"), x)
	return func(e event) bool {
		v := match.Value(e.info.Metadata)
		if v.GetKind() == nil {
			return missing
		}
		return match.Fits(v) // Envoy 1.40 ignores invert here
	}
}
