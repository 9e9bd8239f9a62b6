// Package eventlog writes events, such as what became of a health check, as lines of JSON in
// the form that Envoy gives them.
package eventlog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ginnel/ginnel/filter"
)

// A Log is where events go. Those of nil go nowhere.
type Log struct{ files []filter.LogFile }

// Open returns a log of the files at some paths, each of which gets every event; nil: there
// are none. A path that is there twice gets each event twice (Envoy).
func Open(in filter.LogFiles, paths []string) (*Log, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	if in == nil {
		return nil, fmt.Errorf("unable to open file '%s': there are no log files", paths[0])
	}
	l := &Log{}
	for _, path := range paths {
		f, err := in.Open(path)
		if err != nil {
			return nil, err
		}
		l.files = append(l.files, f)
	}
	return l, nil
}

// Write writes an event. It waits for no disk.
func (l *Log) Write(event proto.Message) {
	if l == nil {
		return
	}
	p := line(event)
	for _, f := range l.files {
		f.Write(p) //nolint:errcheck // a dropped line is counted by the file
	}
}

// line is a message with all its fields, in the order of their numbers (protojson has them as
// they stand in the file, and white space at random); nil: it is no JSON, for a text in it is
// not UTF-8.
func line(m proto.Message) []byte {
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil
	}
	var values map[protoreflect.Name]json.RawMessage
	if json.Unmarshal(raw, &values) != nil {
		return nil
	}
	var out bytes.Buffer
	sep := byte('{')
	for _, f := range byNumber(m) {
		v, ok := values[f.Name()]
		if !ok {
			continue
		}
		fmt.Fprintf(&out, "%c%q:", sep, f.Name())
		json.Compact(&out, v) //nolint:errcheck // it was unmarshalled
		sep = ','
	}
	out.WriteString("}\n")
	return out.Bytes()
}

func byNumber(m proto.Message) []protoreflect.FieldDescriptor {
	fields := m.ProtoReflect().Descriptor().Fields()
	out := make([]protoreflect.FieldDescriptor, fields.Len())
	for i := range out {
		out[i] = fields.Get(i)
	}
	slices.SortFunc(out, func(a, b protoreflect.FieldDescriptor) int { return cmp.Compare(a.Number(), b.Number()) })
	return out
}

// At is a time as events have it, in whole milliseconds.
func At(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t.Truncate(time.Millisecond)) }
