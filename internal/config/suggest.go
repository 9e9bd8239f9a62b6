package config

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ginnel/ginnel/internal/suggest"
)

// gone tells what became of fields that old configurations still have, by
// message and field, or by field alone.
var gone = map[string]string{
	"envoy.config.cluster.v3.Cluster.hosts":            "removed from the API; use load_assignment",
	"envoy.config.cluster.v3.Cluster.tls_context":      "removed from the API; use transport_socket",
	"envoy.config.cluster.v3.Cluster.lb_type":          "never part of the API; use lb_policy",
	"envoy.config.listener.v3.FilterChain.tls_context": "removed from the API; use transport_socket",
	"envoy.config.bootstrap.v3.Bootstrap.runtime":      "removed from the API; use layered_runtime",
	"config": "removed from the API; use typed_config with an \"@type\"",
	"<<":     "YAML merge keys are not expanded, neither by Envoy",
	"@type":  "only a google.protobuf.Any, such as typed_config, has an \"@type\"",
}

// unknownField reports a member that its message has no field for.
func (d *decoder) unknownField(p pair, m protoreflect.Message, at *place) {
	md, name := m.Descriptor(), p.key.value
	names := fieldNames(md)
	i := Issue{Severity: d.unknown, Message: fmt.Sprintf("unknown field %s in %s", quote(name), md.FullName())}
	if i.Suggestion = suggest.Nearest(snakeCase(name), names); i.Suggestion != "" {
		d.meant(p, i.Suggestion, m, at)
	} else if len(names) == 0 {
		i.Expected = "no fields"
	} else {
		i.Expected = oneOf(names)
	}
	if hint := d.hint(md, name); hint != "" {
		i.Message, i.Expected = i.Message+": "+hint, ""
	}
	d.fault(p.key, at, i)
}

// meant marks the field that was probably meant as not readable, so that its
// absence is not reported as well.
func (d *decoder) meant(p pair, name string, m protoreflect.Message, at *place) {
	s := step{kind: byField, name: name}
	if fd := m.Descriptor().Fields().ByName(protoreflect.Name(name)); fd != nil && !m.Has(fd) && at.get(s) == nil {
		at.child(s, d.pos(p.key)).failed = true
	}
}

func fieldNames(md protoreflect.MessageDescriptor) []string {
	names := make([]string, 0, md.Fields().Len())
	for i := range md.Fields().Len() {
		if name := string(md.Fields().Get(i).Name()); !strings.HasPrefix(name, "hidden_envoy_deprecated") {
			names = append(names, name)
		}
	}
	return names
}

// hint explains an unknown field that is known elsewhere.
func (d *decoder) hint(md protoreflect.MessageDescriptor, name string) string {
	if why, ok := gone[string(md.FullName())+"."+name]; ok {
		return why
	}
	if why, ok := gone[name]; ok && (name != "config" || md.Fields().ByName("typed_config") != nil) {
		return why
	}
	for i := len(d.enclosing) - 2; i >= 0; i-- {
		if fieldByName(d.enclosing[i], name) != nil {
			return fmt.Sprintf("it is a field of the %s around it; is it indented too far?", d.enclosing[i].Name())
		}
	}
	for i := range md.Fields().Len() {
		inner := md.Fields().Get(i)
		if inner.Message() != nil && !inner.IsMap() && fieldByName(inner.Message(), name) != nil {
			return fmt.Sprintf("it is a field of %s, which is one here", inner.Name())
		}
	}
	return ""
}
