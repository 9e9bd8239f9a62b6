package extension

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Severity grades what compiling reports.
type Severity uint8

// The severities. A Strict issue is what a real Envoy 1.40 would refuse and ginnel
// accepts: a warning, unless validating strictly.
const (
	Error Severity = iota
	Strict
	Warning
)

// An Issue is one thing that is wrong with a configuration.
type Issue struct {
	Path       string // field path, as in static_resources.listeners[0].name
	Severity   Severity
	Message    string
	Suggestion string // a near miss; "": none
}

// A Reference is the use of a named resource.
type Reference struct {
	Path, Kind, Name string
	Required         bool // a resource that is not there is an error, not a warning
}

// A Report gathers what compiling finds.
type Report struct {
	Issues     []Issue
	References []Reference
}

// Err returns the errors as one, each with its path; nil: there are none.
func (r *Report) Err() error {
	var all []string
	for _, i := range r.Issues {
		if i.Severity == Error {
			all = append(all, strings.TrimPrefix(i.Path+": "+i.Message, ": "))
		}
	}
	if all == nil {
		return nil
	}
	return errors.New(strings.Join(all, "; "))
}

// A Scope is a place in a configuration while it is compiled: errors reported to it
// carry its field path.
type Scope struct {
	path     string
	report   *Report
	registry *Registry
	resolve  Resolver
	secrets  *secrets
}

// secrets are the static ones, and which of them were asked for.
type secrets struct {
	byName map[string]proto.Message
	asked  []string
}

// A Resolver unpacks an Any, and with it the TypedStructs.
type Resolver func(*anypb.Any) (proto.Message, error)

// NewScope returns the scope of a whole configuration.
func NewScope(report *Report, registry *Registry, resolve Resolver) *Scope {
	return &Scope{report: report, registry: registry, resolve: resolve}
}

// At returns a scope at another path of the same configuration.
func (s *Scope) At(path string) *Scope {
	c := *s
	c.path = path
	return &c
}

// Later returns what makes scopes for messages of this configuration that are compiled
// while the proxy runs: their paths begin anew, and each reports to where it is told. It is
// safe for concurrent use.
func (s *Scope) Later() func(*Report) *Scope {
	like := *s
	like.path = ""
	return func(r *Report) *Scope {
		c := like
		c.report = r
		if c.secrets != nil {
			c.secrets = &secrets{byName: c.secrets.byName}
		}
		return &c
	}
}

// SetSecrets gives the static secrets by name, for all scopes made from s.
func (s *Scope) SetSecrets(byName map[string]proto.Message) { s.secrets = &secrets{byName: byName} }

// Secret returns a static secret; nil: there is none of this name.
func (s *Scope) Secret(name string) proto.Message {
	if s.secrets == nil {
		return nil
	}
	s.secrets.asked = append(s.secrets.asked, name)
	return s.secrets.byName[name]
}

// SecretsAsked returns the names that Secret was asked for so far, by whatever is
// compiled: what depends on one is another thing when the secret is.
func (s *Scope) SecretsAsked() []string {
	if s.secrets == nil {
		return nil
	}
	return s.secrets.asked
}

// Path returns the field path of s.
func (s *Scope) Path() string { return s.path }

// Field returns the scope of a field; dots descend ("config.name").
func (s *Scope) Field(name string) *Scope {
	if s.path != "" {
		name = s.path + "." + name
	}
	return s.At(name)
}

// Index returns the scope of an element of a list.
func (s *Scope) Index(i int) *Scope { return s.At(s.path + "[" + strconv.Itoa(i) + "]") }

// Key returns the scope of an entry of a map.
func (s *Scope) Key(k string) *Scope { return s.At(s.path + "[" + strconv.Quote(k) + "]") }

// Errorf reports an error here.
func (s *Scope) Errorf(format string, a ...any) { s.add(Error, "", format, a...) }

// Strictf reports what a real Envoy would refuse.
func (s *Scope) Strictf(format string, a ...any) { s.add(Strict, "", format, a...) }

// Warnf reports a warning.
func (s *Scope) Warnf(format string, a ...any) { s.add(Warning, "", format, a...) }

// Suggestf reports an error with a near miss.
func (s *Scope) Suggestf(suggestion, format string, a ...any) { s.add(Error, suggestion, format, a...) }

func (s *Scope) add(sev Severity, suggestion, format string, a ...any) {
	s.report.Issues = append(s.report.Issues, Issue{s.path, sev, fmt.Sprintf(format, a...), suggestion})
}

// Cluster records that the configuration here uses a cluster.
func (s *Scope) Cluster(name string) { s.Refer("cluster", name) }

// Refer records the use of a named resource of a kind.
func (s *Scope) Refer(kind, name string) {
	s.report.References = append(s.report.References, Reference{Path: s.path, Kind: kind, Name: name})
}

// RequireCluster records that the configuration here is wrong without a cluster.
func (s *Scope) RequireCluster(name string) {
	s.report.References = append(s.report.References, Reference{s.path, "cluster", name, true})
}

// Failed reports whether an error was reported so far, anywhere.
func (s *Scope) Failed() bool {
	for i := range s.report.Issues {
		if s.report.Issues[i].Severity == Error {
			return true
		}
	}
	return false
}

// Unpack returns the message inside an Any; on failure it reports an error.
func (s *Scope) Unpack(a *anypb.Any) (proto.Message, bool) {
	m, err := s.resolve(a)
	if err != nil {
		s.Errorf("%v", err)
		return nil, false
	}
	return m, true
}

// Compile compiles the extension configured by a, found by its message type. A type
// that is not registered in the category is reported.
func Compile[F any](s *Scope, k Kind[F], a *anypb.Any) (F, bool) {
	var none F
	m, ok := s.Unpack(a)
	if !ok {
		return none, false
	}
	name := m.ProtoReflect().Descriptor().FullName()
	f, ok := Lookup(s.registry, k, name)
	if !ok {
		s.Errorf("%s is a known type, but ginnel does not implement it as %s (implemented: %s)",
			name, category(k.name), strings.Join(s.registry.like(k.name), ", "))
		return none, false
	}
	return f(s, m), true
}

// Has reports whether the message type of a is registered in a category.
func Has[F any](s *Scope, k Kind[F], a *anypb.Any) bool {
	m, err := s.resolve(a)
	if err != nil {
		return false
	}
	_, ok := Lookup(s.registry, k, m.ProtoReflect().Descriptor().FullName())
	return ok
}
