package listener

import (
	"context"

	"github.com/ginnel/ginnel/filter"
)

// subscriptions are what the filters of a chain have asked for by name. They implement
// filter.Resources for it.
type subscriptions struct {
	from     filter.Resources
	requests []*filter.ResourceRequest
	all      []filter.Subscription // by request
}

// Subscribe implements filter.Resources.
func (s *subscriptions) Subscribe(r *filter.ResourceRequest) filter.Subscription {
	x := s.from.Subscribe(r)
	s.requests, s.all = append(s.requests, r), append(s.all, x)
	return x
}

func (s *subscriptions) close() {
	if s == nil {
		return
	}
	for _, x := range s.all {
		x.Close()
	}
}

// Warming is what a listener, or a change of one, waits for before it may serve.
type Warming struct{ parts []*subscriptions }

func warming(chains []*chain) (w Warming) {
	for _, c := range chains {
		if c.wants != nil {
			w.parts = append(w.parts, c.wants)
		}
	}
	return w
}

// Warming returns what l waits for.
func (l *Listener) Warming() Warming { return warming(l.now.Load().all()) }

// Warming returns what the change waits for.
func (c *Change) Warming() Warming { return warming(c.next.without(c.old)) }

// Unready returns what has not come yet, and is still waited for.
func (w Warming) Unready() (out []*filter.ResourceRequest) {
	for _, p := range w.parts {
		for i, x := range p.all {
			select {
			case <-x.Ready():
			default:
				out = append(out, p.requests[i])
			}
		}
	}
	return out
}

// Wait returns when nothing is waited for any more, or ctx has ended.
func (w Warming) Wait(ctx context.Context) error {
	for _, p := range w.parts {
		for _, x := range p.all {
			select {
			case <-x.Ready():
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}
