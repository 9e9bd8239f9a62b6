// Package load takes a configuration all the way from bytes to a plan and reports
// everything that is wrong with it in one list, each fault at its place.
package load

import (
	"errors"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/compile"
	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Source says where a configuration comes from. One of its parts is needed.
type Source struct {
	Path               string                 // a file
	Data               []byte                 // unless nil, used in place of the file's contents
	Override           string                 // YAML merged over it (--config-yaml)
	Message            *bootstrapv3.Bootstrap // instead of both: already decoded
	AllowUnknownFields bool
	// Edit changes the decoded message before it is compiled (flags over file). nil:
	// nothing.
	Edit func(*bootstrapv3.Bootstrap)
}

// A Result is what came of it.
type Result struct {
	Bootstrap *bootstrapv3.Bootstrap
	Plan      *plan.Server
	Issues    config.Issues // faults and warnings, in order of their places
}

// Load reads and compiles a configuration. The error is only for what cannot be read
// at all; faults are in the Result.
func Load(src Source, reg *extension.Registry) (*Result, error) {
	doc, issues, err := read(src)
	if err != nil {
		return nil, err
	}
	b := doc.Message.(*bootstrapv3.Bootstrap)
	if src.Edit != nil {
		src.Edit(b)
	}
	said := faulty(issues)
	server, report := compile.Bootstrap(b, reg, config.Unpack, compile.Options{})
	for _, i := range report.Issues {
		if !doc.Broken(i.Path) && !said[i.Path] {
			issues = append(issues, positioned(doc, i))
		}
	}
	return &Result{b, server, issues.Sort()}, nil
}

func read(src Source) (*config.Document, config.Issues, error) {
	if src.Message != nil {
		faults, warnings := config.Check(src.Message)
		return &config.Document{Message: proto.Clone(src.Message)}, append(faults, warnings...), nil
	}
	doc, err := config.Load(config.Input{Path: src.Path, Data: src.Data, Override: src.Override, AllowUnknownFields: src.AllowUnknownFields})
	var faults config.Issues
	if err != nil && !errors.As(err, &faults) {
		return nil, nil, err
	}
	if doc == nil {
		return nil, nil, err
	}
	return doc, append(faults, doc.Warnings...), nil
}

// faulty returns the paths at which reading found a fault: what compiling finds there
// says the same again.
func faulty(issues config.Issues) map[string]bool {
	at := make(map[string]bool)
	for _, i := range issues {
		if i.Severity == config.Error && i.Path != "" {
			at[i.Path] = true
		}
	}
	return at
}

func positioned(doc *config.Document, i extension.Issue) config.Issue {
	pos, _ := doc.Pos(i.Path)
	return config.Issue{Pos: pos, Path: i.Path, Severity: config.Severity(i.Severity), Message: i.Message, Suggestion: i.Suggestion}
}

// Err returns the faults as an error, nil if there are none. With strict, what a real
// Envoy would refuse is a fault too.
func (r *Result) Err(strict bool) error {
	var faults config.Issues
	for _, i := range r.Issues {
		if i.Severity == config.Error || strict && i.Severity == config.Strict {
			i.Severity = config.Error
			faults = append(faults, i)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return faults
}

// Warnings returns what is not a fault.
func (r *Result) Warnings(strict bool) config.Issues {
	var out config.Issues
	for _, i := range r.Issues {
		if i.Severity == config.Warning || !strict && i.Severity == config.Strict {
			out = append(out, i)
		}
	}
	return out
}
