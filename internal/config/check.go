package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const maxAnys = 32 // Anys inside Anys

// Check validates a message that did not come from a file, such as an xDS
// resource: the constraints the API declares, and what every Any in it holds.
// Nothing is changed; Unpack gives the contents of an Any. Issues have no
// positions; unknown fields, which a newer control plane may send, are warnings.
func Check(m proto.Message) (faults, warnings Issues) {
	r := &report{}
	check(m.ProtoReflect(), nil, r, Warning)
	return r.issues()
}

// check looks through a whole message and replaces each TypedStruct that is left
// in it (protobuf files hold them as they are) if places are kept for it.
func check(m protoreflect.Message, root *place, r *report, unknown Severity) {
	c := checker{report: r, unknown: unknown, replace: root != nil}
	at := spot{at: root}
	c.constraints(m, at)
	c.walk(m, at)
}

// A spot is a value of a message: the nearest place that is known, and the path
// from there.
type spot struct {
	at   *place
	rest string
}

func (s spot) to(next step) spot {
	if s.rest == "" {
		if p := s.at.get(next); p != nil {
			return spot{at: p}
		}
	}
	return spot{s.at, joinPath(s.rest, next.String())}
}

func (s spot) field(fd protoreflect.FieldDescriptor) spot {
	return s.to(step{kind: byField, name: string(fd.Name())})
}

type checker struct {
	report  *report
	unknown Severity
	replace bool
	anys    int // entered
	urls    urlHints
}

func (c *checker) add(at spot, i Issue) {
	i.Pos = at.at.nearest()
	c.report.add(finding{i, at.at, at.rest})
}

// walk looks for unknown fields, durations that mean nothing, and Anys.
func (c *checker) walk(m protoreflect.Message, at spot) {
	if c.report.full() {
		return
	}
	if raw := m.GetUnknown(); len(raw) > 0 {
		c.add(at, Issue{Severity: c.unknown, Message: fmt.Sprintf("unknown field numbers in %s: %s",
			m.Descriptor().FullName(), fieldNumbers(raw))})
	}
	switch m.Descriptor().FullName() {
	case durationName:
		c.duration(m, at)
		return
	case anyName:
		c.any(m, at)
		return
	case structName, valueName, listValueName:
		return
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		c.walkField(fd, v, at.field(fd))
		return true
	})
}

func (c *checker) walkField(fd protoreflect.FieldDescriptor, v protoreflect.Value, at spot) {
	switch {
	case fd.IsMap():
		if fd.MapValue().Message() == nil {
			return
		}
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			c.walk(v.Message(), at.to(step{kind: byKey, name: k.String()}))
			return true
		})
	case fd.Message() == nil:
	case fd.IsList():
		for i := range v.List().Len() {
			c.walk(v.List().Get(i).Message(), at.to(step{kind: byIndex, index: i}))
		}
	default:
		c.walk(v.Message(), at)
	}
}

func fieldNumbers(raw protoreflect.RawFields) string {
	numbers := map[protoreflect.FieldNumber]bool{}
	var list []string
	for len(raw) > 0 && len(list) < 8 {
		number, _, n := protowire.ConsumeField(raw)
		if n < 0 {
			break
		}
		if !numbers[number] {
			numbers[number] = true
			list = append(list, strconv.Itoa(int(number)))
		}
		raw = raw[n:]
	}
	return strings.Join(list, ", ")
}

// duration refuses what Envoy refuses wherever it uses a duration.
func (c *checker) duration(m protoreflect.Message, at spot) {
	fields := m.Descriptor().Fields()
	seconds := m.Get(fields.ByName("seconds")).Int()
	nanos := m.Get(fields.ByName("nanos")).Int()
	const longest = math.MaxInt64 / 1_000_000_000
	switch {
	case seconds < 0 || nanos < 0:
		c.add(at, Issue{Message: "negative duration", Expected: "0s or more"})
	case seconds > longest || nanos > 999_999_999:
		c.add(at, Issue{Message: "duration out of range", Expected: fmt.Sprintf("at most %ds", int64(longest))})
	}
}

// any looks into an Any.
func (c *checker) any(m protoreflect.Message, at spot) {
	fields := m.Descriptor().Fields()
	url := m.Get(fields.ByName("type_url")).String()
	value := m.Get(fields.ByName("value")).Bytes()
	if url == "" {
		if len(value) > 0 {
			c.add(at, Issue{Message: "an Any with a value and no type URL"})
		}
		return
	}
	if c.anys >= maxAnys {
		c.add(at, Issue{Message: fmt.Sprintf("more than %d Anys inside each other", maxAnys)})
		return
	}
	c.anys++
	defer func() { c.anys-- }()
	body, ok := c.body(url, value, at)
	if !ok {
		return
	}
	if c.replace && isTypedStructURL(url) && !isTypedStruct(body.Descriptor().FullName()) {
		pack(m, hostPrefix+string(body.Descriptor().FullName()), body)
		if at.rest == "" && at.at != nil {
			at.at.typedStruct = true
		}
	}
	if body.Descriptor().FullName() == anyName {
		at = at.to(step{kind: byField, name: "value"})
	}
	c.constraints(body, at)
	c.walk(body, at)
}

func isTypedStructURL(url string) bool {
	_, name := splitURL(url)
	return isTypedStruct(protoreflect.FullName(name))
}

// body returns the message in an Any, or reports why there is none.
func (c *checker) body(url string, value []byte, at spot) (protoreflect.Message, bool) {
	_, name := splitURL(url)
	mt := findType(name)
	if mt == nil {
		c.add(at, c.urls.unknown(url))
		return nil, false
	}
	m := mt.New()
	if err := proto.Unmarshal(value, m.Interface()); err != nil {
		c.add(at, Issue{Message: fmt.Sprintf("not a %s: %s", name, protobufReason(err))})
		return nil, false
	}
	if !isTypedStruct(mt.Descriptor().FullName()) {
		return m, true
	}
	real, err := unpackStruct(m.Interface())
	if err == nil {
		return real.ProtoReflect(), true
	}
	for _, i := range asIssues(err) {
		rest := i.Path
		i.Path = ""
		i.Pos = at.at.nearest()
		c.report.add(finding{i, at.at, joinPath(at.rest, rest)})
	}
	return nil, false
}

func asIssues(err error) Issues {
	if is, ok := err.(Issues); ok {
		return is
	}
	return Issues{{Message: err.Error()}}
}
