package upstream

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// endpoints are the hosts of a cluster that a source delivers (EDS). What was delivered
// stays while nothing else is.
type endpoints struct {
	cluster *Cluster
	plan    *plan.EDS
	tasks   sync.WaitGroup
	begun   sync.Once

	subscription filter.Subscription // nil before begin, or if nobody delivers

	stale, ages, unchanged filter.Counter

	mu    sync.Mutex
	last  *plan.Assignment // that is in effect; nil: none
	timer *time.Timer      // nil: the hosts do not age
}

func newEndpoints(c *Cluster, p *plan.EDS) *endpoints {
	s := c.stats.scope
	s.Counter("update_rejected")
	s.Counter("init_fetch_timeout")
	e := &endpoints{
		cluster: c, plan: p, stale: s.Counter("assignment_stale"), ages: s.Counter("assignment_timeout_received"),
		unchanged: s.Counter("update_no_rebuild"),
	}
	return e
}

// begin asks for the hosts; further calls do nothing.
func (e *endpoints) begin() {
	e.begun.Do(func() {
		c := e.cluster
		from := c.set.opts.Resources
		if from == nil || c.over.Err() != nil {
			c.beginChecks()
			return
		}
		e.subscription = from.Subscribe(&filter.ResourceRequest{
			Kind: filter.EndpointResource, Name: e.plan.Service, Source: e.plan.Source.ResourceSource, Owner: c.plan.Name,
			StatPrefix: "cluster." + c.plan.StatName + ".", Timeout: e.plan.Source.FetchTimeout,
			Decode:  func(m proto.Message) (any, error) { return decoded(e.plan.Compile(m)) },
			Deliver: func(v any) { e.deliver(v.(*plan.Assignment)) },
		})
		if e.ready() {
			c.beginChecks()
			return
		}
		warms := c.stats.scope.Gauge("warming_state")
		warms.Add(1)
		e.tasks.Go(func() {
			defer warms.Add(-1)
			select {
			case <-e.subscription.Ready():
				c.beginChecks()
			case <-c.over.Done():
			}
		})
	})
}

func decoded(a plan.Assignment, err error) (any, error) { return &a, err }

// deliver makes an assignment the hosts of the cluster.
func (e *endpoints) deliver(a *plan.Assignment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a == e.last { // the same once more
		e.unchanged.Add(1)
	} else {
		e.cluster.Update(*a)
	}
	e.last = a
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	if a.StaleAfter <= 0 {
		return
	}
	e.ages.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(a.StaleAfter, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.timer == timer { // else others were delivered meanwhile, or the cluster ended
			e.expire()
		}
	})
	e.timer = timer
}

// expire takes the hosts away that nobody has confirmed in time. e.mu is held.
func (e *endpoints) expire() {
	e.timer, e.last = nil, nil
	e.stale.Add(1)
	e.cluster.Update(plan.Assignment{OverprovisionFactor: e.cluster.plan.Assignment.OverprovisionFactor})
}

// ready reports whether the first answer is not to be waited for any more.
func (e *endpoints) ready() bool { return e.subscription == nil || isClosed(e.subscription.Ready()) }

func (e *endpoints) close() {
	if e.subscription != nil {
		e.subscription.Close()
	}
	e.tasks.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
}
