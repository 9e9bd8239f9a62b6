package state

import (
	"errors"
	"maps"
	"os"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	metadataformatterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/metadata/v3"
	withoutqueryv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/req_without_query/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/suggest"
)

var formatFields = extension.Fields{
	Message: &corev3.SubstitutionFormatString{},
	Obeyed:  []string{"text_format", "json_format", "text_format_source", "omit_empty_values", "formatters"},
	Ignored: map[string]string{
		"content_type":        "it is the Content-Type of local replies, which a log line or a filter-state value does not have",
		"json_format_options": "fields are always sorted, as Envoy 1.40 does whatever this says",
	},
}

var sourceFields = extension.Fields{
	Message: &corev3.DataSource{},
	Obeyed:  []string{"filename", "inline_bytes", "inline_string", "environment_variable"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&formatFields, &sourceFields} }

// CompileFormat compiles a format string message; s is the place of m. It reports
// what is wrong and then returns false.
func CompileFormat(s *extension.Scope, m *corev3.SubstitutionFormatString) (Formatter, bool) {
	formatFields.Check(s, m)
	o := CompileFormatters(s.Field("formatters"), m.GetFormatters())
	o.OmitEmpty = m.GetOmitEmptyValues()
	switch f := m.GetFormat().(type) {
	case *corev3.SubstitutionFormatString_TextFormat:
		return CompileText(s.Field("text_format"), f.TextFormat, o)
	case *corev3.SubstitutionFormatString_JsonFormat:
		return CompileStruct(s.Field("json_format"), f.JsonFormat, o)
	case *corev3.SubstitutionFormatString_TextFormatSource:
		s := s.Field("text_format_source")
		text, ok := ReadSource(s, f.TextFormatSource)
		if !ok {
			return nil, false
		}
		return CompileText(s, text, o)
	}
	s.Errorf("one of text_format_source, json_format and text_format is required")
	return nil, false
}

// CompileFormatters returns options that admit the operators of extensions; s is the place of
// the list.
func CompileFormatters(s *extension.Scope, list []*corev3.TypedExtensionConfig) (o Options) {
	for i, f := range list {
		s := s.Index(i).Field("typed_config")
		if f.GetTypedConfig() == nil {
			s.Errorf("is required")
			continue
		}
		m, ok := s.Unpack(f.TypedConfig)
		if !ok {
			continue
		}
		switch m.(type) {
		case *withoutqueryv3.ReqWithoutQuery:
			o.WithoutQuery = true
		case *metadataformatterv3.Metadata: // METADATA is built in
		default:
			s.Errorf("formatter %s (%q) is not supported yet", m.ProtoReflect().Descriptor().FullName(), f.Name)
		}
	}
	return o
}

// CompileText compiles a text format at its place.
func CompileText(s *extension.Scope, format string, o Options) (Formatter, bool) {
	o.own = beyondEnvoy(s)
	f, err := Compile(format, o)
	if err != nil {
		Report(s, err)
	}
	return f, err == nil
}

// CompileStruct compiles a JSON format at its place.
func CompileStruct(s *extension.Scope, format *structpb.Struct, o Options) (Formatter, bool) {
	o.own = beyondEnvoy(s)
	f, err := CompileJSON(format, o)
	if err != nil {
		if at := (*FieldError)(nil); errors.As(err, &at) {
			s, err = s.Field(at.Path), at.Err
		}
		Report(s, err)
	}
	return f, err == nil
}

func beyondEnvoy(s *extension.Scope) func(string) {
	return func(name string) { s.Strictf("%s is ginnel's own operator, Envoy has none of this name", name) }
}

// Report reports an error of Compile, with the operator that may have been meant.
func Report(s *extension.Scope, err error) {
	if u := (*UnknownOperator)(nil); errors.As(err, &u) {
		known := slices.Sorted(maps.Keys(commands))
		s.Suggestf(suggest.Nearest(u.Name, known), "%v", err)
		return
	}
	s.Errorf("%v", err)
}

// ReadSource returns the text that a data source holds now; false, with the reason
// reported, where it cannot be had.
func ReadSource(s *extension.Scope, d *corev3.DataSource) (string, bool) {
	sourceFields.Check(s, d)
	switch d := d.GetSpecifier().(type) {
	case *corev3.DataSource_InlineString:
		return d.InlineString, true
	case *corev3.DataSource_InlineBytes:
		return string(d.InlineBytes), true
	case *corev3.DataSource_EnvironmentVariable:
		v, ok := os.LookupEnv(d.EnvironmentVariable)
		if !ok {
			s.Field("environment_variable").Errorf("environment variable doesn't exist: %s", d.EnvironmentVariable)
		}
		return v, ok
	case *corev3.DataSource_Filename:
		b, err := os.ReadFile(d.Filename)
		if err != nil {
			s.Field("filename").Errorf("%v", err)
		}
		return string(b), err == nil
	}
	s.Errorf("one of inline_string, inline_bytes, filename and environment_variable is required")
	return "", false
}
