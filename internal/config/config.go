// Package config turns the bytes of a configuration into a protobuf message and
// remembers where in the file each part of it stood.
//
// It reads YAML, JSON, binary and text protobuf as Envoy 1.40 does, resolves the
// types inside google.protobuf.Any, checks the constraints that the API
// declares, and reports everything that is wrong in one run. What a
// configuration means is not its concern: package compile reports that, with
// positions it asks a Document for.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/proto"

	_ "github.com/ginnel/ginnel/internal/config/protos" // every type an Any may name
)

// Limits that keep a hostile configuration from costing more than an error.
const (
	// MaxBytes is the size of the largest file that Load reads.
	MaxBytes = 64 << 20

	maxDepth   = 128       // levels of nesting; Envoy stops at 100
	maxAliased = 1_000_000 // values that YAML aliases may add to those written
	maxIssues  = 500       // reported of one configuration
)

// OverrideFile is the file name in positions inside Input.Override.
const OverrideFile = "--config-yaml"

// An Input says what to load. At least one of Path, Data and Override is needed.
type Input struct {
	// Path is the file to read; its extension decides the format. In any case,
	// .yaml and .yml are YAML, .json is JSON, .pb is binary protobuf, and
	// .pb_text, .textproto and .pbtxt are text protobuf. Another extension is
	// JSON, as for Envoy, or YAML where it is not JSON.
	Path string
	// Data, unless nil, is used in place of the contents of Path, which may then be any
	// name: without an extension it is YAML or JSON.
	Data []byte
	// Override is YAML that is merged over the file as protobuf merges: set
	// fields replace, messages merge, lists append. Envoy's --config-yaml.
	Override string
	// Target is the message to fill; what it held is lost. nil: a new
	// envoy.config.bootstrap.v3.Bootstrap.
	Target proto.Message
	// AllowUnknownFields turns unknown fields and enum values into warnings.
	// Envoy's --allow-unknown-static-fields.
	AllowUnknownFields bool
}

// ErrNoInput says that an Input names neither a file nor text.
var ErrNoInput = errors.New("neither a configuration file nor configuration text is given")

// Load reads, decodes, merges and validates a configuration.
//
// Faults of the configuration are returned as Issues: all of them, in order of
// position. The Document is then not nil and holds what could be read, so that
// the caller can look for faults of meaning too and report everything at once;
// Document.Broken tells which of those would only repeat what Load said. Any
// other error, such as a file that cannot be read, comes with a nil Document.
func Load(in Input) (*Document, error) {
	l := loader{report: &report{}, target: in.Target, unknown: Error}
	if l.target == nil {
		l.target = &bootstrapv3.Bootstrap{}
	}
	if in.AllowUnknownFields {
		l.unknown = Warning
	}
	proto.Reset(l.target)
	if err := l.sources(in); err != nil {
		return nil, err
	}
	check(l.target.ProtoReflect(), l.root, l.report, l.unknown)
	faults, warnings := l.report.issues()
	doc := &Document{Message: l.target, Warnings: warnings, root: l.root}
	if len(faults) > 0 {
		return doc, faults
	}
	return doc, nil
}

// A loader is one run of Load.
type loader struct {
	report  *report
	target  proto.Message
	root    *place
	unknown Severity
}

// sources reads the file and the override into the target.
func (l *loader) sources(in Input) error {
	if in.Path == "" && in.Data == nil && in.Override == "" {
		return ErrNoInput
	}
	if in.Path != "" || in.Data != nil {
		data, err := in.read()
		if err != nil {
			return err
		}
		f := formatOf(in.Path)
		if in.Data != nil && filepath.Ext(in.Path) == "" { // no file: its name tells nothing
			f = formatYAML
		}
		l.root = l.decode(in.Path, f, data, l.target)
	}
	switch {
	case in.Override == "":
	case len(in.Override) > MaxBytes:
		return fmt.Errorf("read configuration: %s: larger than %d bytes", OverrideFile, MaxBytes)
	case l.root == nil:
		l.root = l.decode(OverrideFile, formatYAML, []byte(in.Override), l.target)
	default:
		l.override([]byte(in.Override))
	}
	return nil
}

func (in *Input) read() ([]byte, error) {
	data := in.Data
	if data == nil {
		info, err := os.Stat(in.Path)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		if info.Size() > MaxBytes {
			return nil, fmt.Errorf("read configuration: %s: larger than %d bytes", in.Path, MaxBytes)
		}
		if data, err = os.ReadFile(in.Path); err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("read configuration: %s: larger than %d bytes", in.Path, MaxBytes)
	}
	return data, nil
}

// A Document is a loaded configuration.
type Document struct {
	// Message is Input.Target, filled.
	Message proto.Message
	// Warnings are what was accepted and should be looked at: duplicate keys, forms
	// that Envoy refuses (severity Strict), and the like.
	Warnings Issues

	root *place
}

// Pos returns where the value at a field path stands, or the nearest value
// around it that has a position. A path names fields as the API does, list items
// by index and map entries by quoted key, and goes through Anys as if they were
// the message they hold:
//
//	static_resources.clusters[0].metadata.filter_metadata["envoy.lb"]
//
// A collection stands where its key does, a scalar where its text does. ok is
// false when nothing is known, as for protobuf files.
func (d *Document) Pos(path string) (pos Pos, ok bool) {
	p, _ := d.root.find(path)
	pos = p.nearest()
	return pos, pos.Line > 0
}

// Broken reports whether Load reported the value at path, or one around it, as
// not readable, so that what holds it lacks it.
func (d *Document) Broken(path string) bool {
	p, _ := d.root.find(path)
	for ; p != nil; p = p.parent {
		if p.failed {
			return true
		}
	}
	return false
}

// FromTypedStruct reports whether the Any at path was written as a
// udpa.type.v1.TypedStruct or xds.type.v3.TypedStruct. In the Document it holds
// the message that the TypedStruct named.
func (d *Document) FromTypedStruct(path string) bool {
	p, exact := d.root.find(path)
	return exact && p != nil && p.typedStruct
}
