package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/load"
	"github.com/ginnel/ginnel/internal/plan"
)

// settle applies resources of a kind, without those for which that fails; what there was
// of their names is kept. An error is that of the whole: also what is in effect fails where
// a file that it names is no longer good, and must not go for that.
func (c *Config) settle(ctx context.Context, k Kind, next []*entry) (good []*entry, bad []plan.Rejected, err error) {
	for {
		p, faults, err := c.compile(c.bootstrap, k, next)
		if err != nil {
			return nil, nil, err
		}
		if len(faults) == 0 && c.apply != nil {
			err := c.apply(ctx, p)
			if err == nil {
				return next, bad, nil
			}
			if faults = faultOf(err, k, next); faults == nil {
				return next, bad, err
			}
		}
		if len(faults) == 0 {
			return next, bad, nil
		}
		var rest []*entry
		for _, r := range next {
			why, wrong := faults[r]
			if !wrong {
				rest = append(rest, r)
				continue
			}
			bad = append(bad, rejected(r, why))
			switch old := c.keep(k, r.name, nil); {
			case len(old) == 0:
			case old[0] == r:
				return nil, nil, fmt.Errorf("%s %q, which is in effect: %s", k, r.name, why)
			default:
				rest = append(rest, old[0])
			}
		}
		next = rest
	}
}

// faultOf returns whose fault it is that a configuration cannot be applied; nil: of none of
// these.
func faultOf(err error, k Kind, of []*entry) map[*entry]string {
	var (
		name, text string
		l          ListenerError
		c          ClusterError
	)
	switch {
	case k == Listeners && errors.As(err, &l):
		name, text = l.Listener(), l.Error()
	case k == Clusters && errors.As(err, &c):
		name, text = c.Cluster(), c.Error()
	}
	for _, r := range of {
		if r.name == name {
			return map[*entry]string{r: strings.TrimPrefix(text, fmt.Sprintf("%s %q: ", k, name))}
		}
	}
	return nil
}

// compile makes a plan of the bootstrap, resources of a kind, and the others that are in
// effect. faults are those of resources of the kind; an error is another one's.
func (c *Config) compile(b *bootstrapv3.Bootstrap, k Kind, next []*entry) (*plan.Server, map[*entry]string, error) {
	all := [kinds][]*entry{c.kinds[Clusters].good, c.kinds[Listeners].good}
	all[k] = next
	merged := proto.CloneOf(b)
	if merged.StaticResources == nil {
		merged.StaticResources = &bootstrapv3.Bootstrap_StaticResources{}
	}
	static := merged.StaticResources
	first := [kinds]int{len(static.Clusters), len(static.Listeners)}
	for _, r := range all[Clusters] {
		static.Clusters = append(static.Clusters, r.message.(*clusterv3.Cluster))
	}
	for _, r := range all[Listeners] {
		static.Listeners = append(static.Listeners, r.message.(*listenerv3.Listener))
	}
	result, err := load.Load(load.Source{Message: merged}, c.registry)
	if err != nil {
		return nil, nil, err
	}
	faults, err := c.blame(result, k, next, first[k])
	if err != nil || len(faults) > 0 {
		return nil, faults, err
	}
	p := result.Plan
	p.Bootstrap = b
	for i, r := range all[Clusters] {
		x := p.Clusters[first[Clusters]+i]
		x.Dynamic, x.Version = true, r.version
	}
	for i, r := range all[Listeners] {
		x := p.Listeners[first[Listeners]+i]
		x.Dynamic, x.Version = true, r.version
	}
	p.FromClusterSource = plan.Delivered{Version: c.kinds[Clusters].version, Rejected: c.kinds[Clusters].rejected}
	p.FromListenerSource = plan.Delivered{Version: c.kinds[Listeners].version, Rejected: c.kinds[Listeners].rejected}
	return p, nil, nil
}

// blame finds the resources whose faults those of a configuration are.
func (c *Config) blame(result *load.Result, k Kind, next []*entry, first int) (map[*entry]string, error) {
	faults := make(map[*entry]string)
	var others config.Issues
	for _, i := range result.Issues {
		if i.Severity != config.Error {
			continue
		}
		var at int
		rest, ok := strings.CutPrefix(i.Path, fmt.Sprintf("static_resources.%ss[", k))
		digits, path, closed := strings.Cut(rest, "]")
		if _, err := fmt.Sscanf(digits, "%d", &at); !ok || !closed || err != nil || at < first || at-first >= len(next) {
			others = append(others, i)
			continue
		}
		i.Path = strings.TrimPrefix(path, ".")
		if r := next[at-first]; faults[r] == "" {
			faults[r] = i.String()
		}
	}
	if len(others) > 0 {
		return nil, others
	}
	return faults, nil
}
