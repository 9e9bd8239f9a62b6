// Package discovery keeps a configuration together whose parts come from several places:
// the bootstrap, and sources that deliver listeners and clusters while the proxy runs.
//
// Each resource that is delivered stands for itself: one that is wrong, or cannot be
// applied, is rejected, what there was of its name stays, and all others take effect
// (Envoy). A source is whatever calls Deliver: a file here, a stream from a control plane
// as well.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/filewatch"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/resource"
	"github.com/ginnel/ginnel/internal/stats"
)

// A Kind is what a source delivers.
type Kind uint8

// The kinds, in the order in which they are asked at the start: a listener is of use only
// when its clusters are there.
const (
	Clusters Kind = iota
	Listeners
	kinds
)

func (k Kind) String() string { return [...]string{"cluster", "listener"}[k] }

// A Config is the configuration of one proxy. Its methods may be called at any time from
// any goroutine.
type Config struct {
	registry *extension.Registry
	log      *slog.Logger

	mu        sync.Mutex // held while a change is applied
	bootstrap *bootstrapv3.Bootstrap
	apply     func(context.Context, *plan.Server) error // nil: the proxy is not there yet
	kinds     [kinds]set
	untold    bool // the plan in effect does not tell of all that was rejected
}

// A set is what has been delivered of one kind.
type set struct {
	source   *plan.ConfigSource // nil: there is none
	seen     *filewatch.State   // of its file when it was read first
	version  string
	good     []*entry
	rejected []plan.Rejected
	counts   resource.Counts
}

// An entry is a resource that is, or is to be, in effect.
type entry struct {
	name    string
	version string
	any     *anypb.Any
	message proto.Message
}

// A ListenerError is the error of an apply function that is the fault of one listener, a
// ClusterError that of one cluster. Their texts begin with what the part is and its name in
// quotes.
type (
	ListenerError interface {
		error
		Listener() string
	}
	ClusterError interface {
		error
		Cluster() string
	}
)

// New returns the configuration of a bootstrap, with what its sources have. The error
// names the faults of the bootstrap alone; log takes the rest of them.
func New(b *bootstrapv3.Bootstrap, first *plan.Server, reg *extension.Registry, log *slog.Logger) *Config {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Config{registry: reg, log: log, bootstrap: b}
	c.kinds[Clusters].source, c.kinds[Listeners].source = first.ClusterSource, first.ListenerSource
	return c
}

// Build reads the sources and has a proxy made of the configuration by build, which is
// called again without a delivered listener that cannot be applied. From then on changes
// go to the function that build returns.
func (c *Config) Build(build func(*plan.Server) (apply func(context.Context, *plan.Server) error, store *stats.Store, err error)) error {
	for k := range kinds {
		if s := &c.kinds[k]; s.source != nil {
			o := options(s.source)
			s.seen = o.Look()
		}
		c.read(context.Background(), k)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var apply func(context.Context, *plan.Server) error
	var store *stats.Store
	c.apply = func(_ context.Context, p *plan.Server) (err error) {
		apply, store, err = build(p)
		return err
	}
	s := &c.kinds[Listeners]
	first := s.good
	s.good = nil // none is in effect
	good, bad, err := c.settle(context.Background(), Listeners, first)
	c.apply = apply
	if err != nil {
		return err
	}
	s.good = good
	if c.reject(Listeners, bad); len(bad) > 0 {
		s.counts.Successes--
		s.counts.Rejections++
		c.untold = true
	}
	for k := range c.kinds {
		if c.kinds[k].source != nil {
			scope := store.Scope([...]string{"cluster_manager.cds.", "listener_manager.lds."}[k])
			c.kinds[k].counts.Show(scope)
			if Kind(k) == Clusters {
				c.kinds[k].counts.ShowReloads(scope)
			}
		}
	}
	return nil
}

// SetBootstrap applies another bootstrap, with what the sources have delivered.
func (c *Config) SetBootstrap(ctx context.Context, b *bootstrapv3.Bootstrap) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, faults, err := c.compile(b, Listeners, c.kinds[Listeners].good)
	if err != nil {
		return err
	}
	for r, text := range faults {
		return fmt.Errorf("%s %q, which was delivered, does not go with it: %s", Listeners, r.name, text)
	}
	if err := c.apply(ctx, p); err != nil {
		return err
	}
	c.bootstrap = b
	return nil
}

// Deliver applies all that a source has: what it no longer has is removed. The error says what was rejected of it; nil: nothing.
func (c *Config) Deliver(ctx context.Context, k Kind, d resource.Delivery) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.kinds[k]
	s.counts.Attempt()
	next, bad := c.unpack(k, d)
	version, before := s.version, s.rejected
	if len(bad) < len(d.Resources) || len(d.Resources) == 0 {
		s.version = d.Version
	}
	s.rejected = bad
	good, more, err := c.settle(ctx, k, next)
	if err != nil {
		s.version, s.rejected = version, before
		s.counts.Rejected()
		c.log.Warn(fmt.Sprintf("a delivery of %ss is rejected as a whole: %v", k, err), "logger", "config")
		return err
	}
	reloads := differ(s.good, good)
	s.good, s.rejected = good, nil
	if bad = append(bad, more...); len(bad) == 0 {
		if reloads {
			s.counts.Reloaded()
		}
		s.counts.Success(d.Version)
		return nil
	}
	s.counts.Rejected()
	c.reject(k, bad)
	if len(bad) == len(d.Resources) {
		s.version = version
	}
	if len(more) > 0 && c.apply != nil { // the plan that is in effect does not tell of them
		if err := c.again(ctx); err != nil {
			return err
		}
	}
	return rejection(k, bad)
}

// differ reports whether there is anything in next that is new or another one: what is gone
// does not count as a reload (seen on Envoy 1.40).
func differ(was, next []*entry) bool {
	before := make(map[string]*entry, len(was))
	for _, r := range was {
		before[r.name] = r
	}
	return slices.ContainsFunc(next, func(r *entry) bool {
		old := before[r.name]
		return old == nil || old != r && !proto.Equal(old.message, r.message)
	})
}

// again applies what is in effect already, for what is told with it. Where a file that it
// names is no longer good, it stays as it is.
func (c *Config) again(ctx context.Context) error {
	p, faults, err := c.compile(c.bootstrap, Listeners, c.kinds[Listeners].good)
	if err != nil || len(faults) > 0 {
		return err
	}
	return c.apply(ctx, p)
}

func rejection(k Kind, bad []plan.Rejected) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Error adding/updating %s(s) ", k)
	for i, r := range bad {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s: %s", r.Name, r.Details)
	}
	return errors.New(b.String())
}

// reject keeps and logs what was wrong.
func (c *Config) reject(k Kind, bad []plan.Rejected) {
	c.kinds[k].rejected = append(c.kinds[k].rejected, bad...)
	for _, r := range bad {
		c.log.Warn(fmt.Sprintf("%s: %s '%s' config rejected: %s", [...]string{"cds", "lds"}[k], k, r.Name, r.Details), "logger", "upstream")
	}
}

// unpack returns the resources of a delivery, and those that are none.
func (c *Config) unpack(k Kind, d resource.Delivery) (out []*entry, bad []plan.Rejected) {
	names := c.static(k)
	for i, a := range d.Resources {
		r, err := unpack(k, a)
		switch {
		case err != nil:
		case d.Faults[i] != "":
			err = errors.New(d.Faults[i])
		case names[r.name] == static:
			c.log.Info(fmt.Sprintf("%s '%s' is that of the bootstrap: the one that was delivered is left", k, r.name), "logger", "config")
			continue
		case names[r.name] == delivered:
			err = fmt.Errorf("duplicate %s %s found", k, r.name)
		}
		if err != nil {
			bad = append(bad, rejected(&entry{name: r.name, any: a}, err.Error()))
			if names[r.name] == nowhere {
				out = c.keep(k, r.name, out)
				names[r.name] = delivered
			}
			continue
		}
		names[r.name] = delivered
		r.version = d.Version
		out = append(out, r)
	}
	return c.knownFirst(k, out), bad
}

// knownFirst puts names that are in effect before new ones: of two listeners on one
// address it is the new one that is wrong (Envoy).
func (c *Config) knownFirst(k Kind, all []*entry) []*entry {
	known := make(map[string]bool)
	for _, r := range c.kinds[k].good {
		known[r.name] = true
	}
	slices.SortStableFunc(all, func(a, b *entry) int {
		switch {
		case known[a.name] == known[b.name]:
			return 0
		case known[a.name]:
			return -1
		}
		return 1
	})
	return all
}

// keep adds what there is of a name.
func (c *Config) keep(k Kind, name string, to []*entry) []*entry {
	for _, r := range c.kinds[k].good {
		if r.name == name {
			return append(to, r)
		}
	}
	return to
}

// Where a name is.
const (
	nowhere = iota
	static
	delivered
)

func (c *Config) static(k Kind) map[string]int {
	names := make(map[string]int)
	if k == Clusters {
		for _, x := range c.bootstrap.GetStaticResources().GetClusters() {
			names[x.GetName()] = static
		}
		return names
	}
	for _, x := range c.bootstrap.GetStaticResources().GetListeners() {
		names[x.GetName()] = static
	}
	return names
}

func unpack(k Kind, a *anypb.Any) (*entry, error) {
	m, err := config.Unpack(a)
	if err != nil {
		return &entry{any: a}, err
	}
	r := &entry{any: a, message: m}
	switch m := m.(type) {
	case *listenerv3.Listener:
		r.name = m.GetName()
		if k == Listeners {
			return r, nil
		}
	case *clusterv3.Cluster:
		r.name = m.GetName()
		if k == Clusters {
			return r, nil
		}
	}
	return r, fmt.Errorf("unexpected resource type %s", m.ProtoReflect().Descriptor().FullName())
}

func rejected(r *entry, why string) plan.Rejected {
	return plan.Rejected{Name: r.name, Resource: r.any, At: time.Now(), Details: why}
}
