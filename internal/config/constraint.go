package config

import (
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// What protoc-gen-validate generates for each message.
type (
	validator interface{ ValidateAll() error }
	multi     interface{ AllErrors() []error }
	violation interface {
		Field() string
		Reason() string
		Cause() error
		Key() bool
	}
)

// constraints reports every violation of the constraints that the API declares
// on m and on the messages in it, Anys apart.
func (c *checker) constraints(m protoreflect.Message, at spot) {
	if v, ok := m.Interface().(validator); ok && !unchecked[m.Descriptor().FullName()] {
		c.violations(v.ValidateAll(), m, at)
	}
}

// unchecked are messages whose constraints Envoy does not look at, and who reads them does:
// without trust_domains this one has trust_bundles.
var unchecked = map[protoreflect.FullName]bool{
	"envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig": true,
}

func (c *checker) violations(err error, m protoreflect.Message, at spot) {
	if all, ok := err.(multi); ok {
		for _, err := range all.AllErrors() {
			c.violations(err, m, at)
		}
		return
	}
	v, ok := err.(violation)
	if !ok {
		if err != nil {
			c.add(at, Issue{Message: err.Error()})
		}
		return
	}
	target := locate(m, v.Field(), at)
	if v.Cause() != nil && target.message != nil {
		c.violations(v.Cause(), target.message, target.at)
		return
	}
	if !target.unread() {
		c.add(target.at, target.issue(v))
	}
}

// unread reports whether the value, or a member of the oneof, stands in the file
// and could not be read, which is reported already.
func (t target) unread() bool {
	if t.oneof != nil && t.at.rest == "" {
		for _, name := range oneofNames(t.oneof) {
			if p := t.at.at.get(step{kind: byField, name: name}); p != nil && p.failed {
				return true
			}
		}
	}
	return t.at.at != nil && t.at.at.failed
}

// A target is what a violation is about.
type target struct {
	at      spot
	fd      protoreflect.FieldDescriptor
	oneof   protoreflect.OneofDescriptor
	message protoreflect.Message // the value, if it is one
	value   protoreflect.Value   // the value, if it is a scalar that is set
}

// locate finds the field that a violation names as Go does: "Clusters[0]".
func locate(m protoreflect.Message, goField string, at spot) target {
	name, index, indexed := strings.Cut(goField, "[")
	index = strings.TrimSuffix(index, "]")
	md := m.Descriptor()
	fd := fieldByGoName(md, name)
	if fd == nil {
		return target{at: at, oneof: oneofByGoName(md, name)}
	}
	t := target{at: at.field(fd), fd: fd}
	v := m.Get(fd)
	switch {
	case fd.IsMap() && indexed:
		t.at, t.fd = t.at.to(step{kind: byKey, name: index}), fd.MapValue()
		v = mapValue(v.Map(), index)
	case fd.IsList() && indexed:
		i, _ := strconv.Atoi(index)
		t.at = t.at.to(step{kind: byIndex, index: i})
		v = protoreflect.Value{}
		if l := m.Get(fd).List(); i < l.Len() {
			v = l.Get(i)
		}
	case fd.IsMap(), fd.IsList():
		return t
	}
	if fd = t.fd; fd.Message() == nil {
		t.value = v
	} else if v.IsValid() {
		t.message = v.Message()
	}
	return t
}

// mapValue finds an entry by its printed key.
func mapValue(m protoreflect.Map, key string) (found protoreflect.Value) {
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		if k.String() == key {
			found = v
			return false
		}
		return true
	})
	return found
}

func fieldByGoName(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	for i := range md.Fields().Len() {
		if fd := md.Fields().Get(i); goName(string(fd.Name())) == name {
			return fd
		}
	}
	return nil
}

func oneofByGoName(md protoreflect.MessageDescriptor, name string) protoreflect.OneofDescriptor {
	for i := range md.Oneofs().Len() {
		if od := md.Oneofs().Get(i); goName(string(od.Name())) == name {
			return od
		}
	}
	return nil
}

// goName is the name that protoc-gen-go gives a field: my_field_2 is MyField_2.
func goName(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '_' && i == 0:
			b.WriteByte('X')
		case c == '_' && i+1 < len(name) && isLower(name[i+1]): // the letter is raised below
		case isLower(c) && (i == 0 || !isAlnum(name[i-1])):
			b.WriteByte(c - 'a' + 'A')
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }

func isAlnum(c byte) bool { return isLower(c) || c >= 'A' && c <= 'Z' }

// issue says in plain words what a violation demands.
func (t target) issue(v violation) Issue {
	if t.fd == nil && t.oneof == nil {
		return Issue{Message: v.Field() + ": " + v.Reason()}
	}
	if t.oneof != nil {
		return Issue{Message: "nothing is set", Expected: oneOf(oneofNames(t.oneof))}
	}
	reason := v.Reason()
	if v.Cause() != nil {
		reason = v.Cause().Error()
	}
	i := plainWords(reason, t.fd)
	if v.Key() {
		i.Message = "key: " + i.Message
	}
	if got := t.got(); got != "" && i.Expected != "" {
		i.Message = got
	}
	return i
}

// got describes the offending value, if it is short enough to help.
func (t target) got() string {
	switch v := t.value.Interface().(type) {
	case string:
		if v != "" {
			return "got " + quote(v)
		}
	case int32, int64, uint32, uint64, float32, float64, bool:
		return "got " + t.value.String()
	case protoreflect.EnumNumber:
		if ev := t.fd.Enum().Values().ByNumber(v); ev != nil {
			return "got " + string(ev.Name())
		}
		return "got " + strconv.Itoa(int(v))
	}
	if t.message != nil && isWrapper(t.message.Descriptor().FullName()) {
		return "got " + t.message.Get(t.message.Descriptor().Fields().ByName("value")).String()
	}
	return durationGot(t.message)
}

func durationGot(m protoreflect.Message) string {
	if m == nil || !m.IsValid() || m.Descriptor().FullName() != durationName {
		return ""
	}
	fields := m.Descriptor().Fields()
	return "got " + durationString(m.Get(fields.ByName("seconds")).Int(), m.Get(fields.ByName("nanos")).Int())
}

// constraintWords turns what protoc-gen-validate says into what is expected.
var constraintWords = []struct {
	pattern  *regexp.Regexp
	message  string
	expected string
}{
	{regexp.MustCompile(`^value is required`), "required, but not set", ""},
	{regexp.MustCompile(`^value length must be at least 1 (?:runes|bytes|characters)$`), "must not be empty", ""},
	{regexp.MustCompile(`^value must contain at least 1 (item|pair)\(s\)$`), "must not be empty", "at least one $1"},
	{regexp.MustCompile(`^value length must be at least (\d+) (?:runes|characters)$`), "too short", "at least $1 characters"},
	{regexp.MustCompile(`^value length must be at most (\d+) (?:runes|characters)$`), "too long", "at most $1 characters"},
	{regexp.MustCompile(`^value length must be at least (\d+) bytes$`), "too short", "at least $1 bytes"},
	{regexp.MustCompile(`^value length must be at most (\d+) bytes$`), "too long", "at most $1 bytes"},
	{regexp.MustCompile(`^value length must be between (\d+) and (\d+) (\w+), inclusive$`), "wrong length", "$1 to $2 $3"},
	{regexp.MustCompile(`^value must contain at least (\d+) (item|pair)\(s\)$`), "too few", "at least $1 ${2}s"},
	{regexp.MustCompile(`^value must contain no more than (\d+) (item|pair)\(s\)$`), "too many", "at most $1 ${2}s"},
	{regexp.MustCompile(`^value must contain between (\d+) and (\d+) (item|pair)s, inclusive$`), "wrong number", "$1 to $2 ${3}s"},
	{regexp.MustCompile(`^value must be inside range \[(\S+), (\S+)\]$`), "out of range", "$1 to $2"},
	{regexp.MustCompile(`^value must be inside range \[(\S+), (\S+)\)$`), "out of range", "at least $1 and less than $2"},
	{regexp.MustCompile(`^value must be inside range \((\S+), (\S+)\]$`), "out of range", "more than $1 and at most $2"},
	{regexp.MustCompile(`^value must be inside range \((\S+), (\S+)\)$`), "out of range", "more than $1 and less than $2"},
	{regexp.MustCompile(`^value must be less than or equal to (.+)$`), "too large", "at most $1"},
	{regexp.MustCompile(`^value must be greater than or equal to (.+)$`), "too small", "at least $1"},
	{regexp.MustCompile(`^value must be less than (.+)$`), "too large", "less than $1"},
	{regexp.MustCompile(`^value must be greater than (.+)$`), "too small", "more than $1"},
	{regexp.MustCompile(`^value must equal (.+)$`), "wrong value", "$1"},
	{regexp.MustCompile(`^value must be in list \[(.*?) ?\]$`), "not allowed", "one of $1"},
	{regexp.MustCompile(`^value must not be in list \[(.*?) ?\]$`), "not allowed", "not $1"},
	{regexp.MustCompile(`^value does not match regex pattern "(.*)"$`), "wrong form", "text that matches $1"},
	{regexp.MustCompile(`^value does not have prefix "(.*)"$`), "wrong form", "text that begins with $1"},
	{regexp.MustCompile(`^value does not have suffix "(.*)"$`), "wrong form", "text that ends with $1"},
	{regexp.MustCompile(`^repeated value must contain unique items$`), "the same value comes earlier in the list", ""},
}

// plainWords translates the reason of a violation.
func plainWords(reason string, fd protoreflect.FieldDescriptor) Issue {
	if reason == "value must be one of the defined enum values" && fd.Enum() != nil {
		return Issue{Message: "no such value", Expected: oneOf(enumNames(fd.Enum()))}
	}
	for _, w := range constraintWords {
		if at := w.pattern.FindStringSubmatchIndex(reason); at != nil {
			expected := w.pattern.ExpandString(nil, w.expected, reason, at)
			if strings.HasPrefix(w.expected, "one of") {
				expected = []byte("one of " + strings.Join(strings.Fields(reason[at[2]:at[3]]), ", "))
			}
			return Issue{Message: w.message, Expected: string(expected)}
		}
	}
	return Issue{Message: reason}
}

// durationString renders a Duration as JSON does.
func durationString(seconds, nanos int64) string {
	sign := ""
	if seconds < 0 || nanos < 0 {
		sign, seconds, nanos = "-", -seconds, -nanos
	}
	fraction := strings.TrimRight(strconv.FormatInt(1_000_000_000+nanos, 10)[1:], "0")
	if fraction != "" {
		fraction = "." + fraction
	}
	return sign + strconv.FormatInt(seconds, 10) + fraction + "s"
}
