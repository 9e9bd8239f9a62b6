package listener

import (
	"io"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/drain"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/match"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/plan"
)

// A version is what a change in place replaces: the listener filters, the chains, and
// how a chain is chosen. It does not change; a connection that is being set up keeps to
// the one that it began with where the two could disagree.
type version struct {
	listener *Listener
	plan     *plan.Listener
	env      *filter.Env // of the listener filters: its statistics end with the version
	filters  []filter.ListenerFilter
	matcher  *match.Chains     // nil: the plan's Matcher decides
	named    map[string]*chain // for that; else nil
	chains   []*chain          // in the order of the plan
	others   *chain            // default chain; nil: none
	peeks    bool              // a listener filter looks at the first bytes
	passive  bool              // no filter of any chain needs the bytes
}

// A chain is a filter chain ready to serve. It may outlive versions.
type chain struct {
	listener  *Listener
	plan      *plan.Chain
	env       *filter.Env        // its statistics end with the chain
	handler   filter.ConnHandler // nil: no filters, connections are closed
	transport filter.Transport   // nil: the bytes stay as they are
	passive   bool               // no filter needs the bytes
	wants     *subscriptions     // what its filters asked for by name; nil: nothing can be asked for
	drain     drain.Drain        // begins when no version has the chain any more

	// Guarded by listener.mu.
	open    int    // connections
	closing string // why they are ended, and none enters any more; "": they are not
}

// version builds a version of the listener. Chains that old has with the same hash go
// on in it; old may be nil. On an error nothing is left of it.
func (l *Listener) version(p *plan.Listener, old *version) (*version, error) {
	v := &version{listener: l, plan: p, env: l.scoped(), passive: true}
	if err := v.build(old); err != nil {
		v.discard(old)
		return nil, err
	}
	return v, nil
}

// scoped returns the listener's environment with scopes of its own.
func (l *Listener) scoped() *filter.Env {
	e := *l.env
	e.Stats = l.env.Stats.Scope("")
	if l.env.ListenerStats != nil {
		e.ListenerStats = l.env.ListenerStats.Scope("")
	}
	return &e
}

func release(e *filter.Env) {
	e.Stats.Close()
	if e.ListenerStats != nil {
		e.ListenerStats.Close()
	}
}

// release gives back what the chain holds.
func (c *chain) release() {
	if t, ok := c.transport.(io.Closer); ok {
		t.Close()
	}
	c.wants.close()
	release(c.env)
}

func (v *version) build(old *version) error {
	for _, f := range v.plan.Filters {
		lf, err := f.NewListenerFilter(v.env)
		if err != nil {
			return err
		}
		v.peeks = v.peeks || f.Peeks()
		v.filters = append(v.filters, lf)
	}
	has := make(map[uint64]*chain)
	if old != nil {
		for _, c := range old.all() {
			has[c.plan.Hash] = c
		}
	}
	for _, p := range v.plan.Chains {
		c, err := v.chain(p, has)
		if err != nil {
			return err
		}
		v.chains = append(v.chains, c)
	}
	v.index()
	if v.plan.Default == nil {
		return nil
	}
	var err error
	v.others, err = v.chain(v.plan.Default, has)
	return err
}

// index builds what chains are found by.
func (v *version) index() {
	if v.plan.Matcher != nil {
		v.named = make(map[string]*chain, len(v.chains))
		for _, c := range v.chains {
			v.named[c.plan.Info.Name] = c
		}
		return
	}
	matches := make([]plan.ChainMatch, len(v.chains))
	for i, p := range v.plan.Chains {
		matches[i] = p.Match
	}
	v.matcher = match.New(matches)
}

// all returns the chains, the default one among them.
func (v *version) all() []*chain {
	if v.others == nil {
		return v.chains
	}
	return append(v.chains[:len(v.chains):len(v.chains)], v.others)
}

// without returns the chains of v that other does not have.
func (v *version) without(other *version) []*chain {
	if v == nil {
		return nil
	}
	kept := make(map[*chain]bool)
	if other != nil {
		for _, c := range other.all() {
			kept[c] = true
		}
	}
	var out []*chain
	for _, c := range v.all() {
		if !kept[c] {
			kept[c] = true // one may stand in two places
			out = append(out, c)
		}
	}
	return out
}

// discard forgets a version that was not put in place of old.
func (v *version) discard(old *version) {
	for _, c := range v.without(old) {
		c.release()
	}
	release(v.env)
}

// chain returns the chain of a plan: the one that there is of its hash, or a new one.
func (v *version) chain(p *plan.Chain, has map[uint64]*chain) (*chain, error) {
	c := has[p.Hash]
	if c == nil {
		c = &chain{listener: v.listener, plan: p, env: v.listener.scoped(), passive: true}
		if err := c.build(); err != nil {
			c.release()
			return nil, err
		}
	}
	v.passive = v.passive && c.passive
	return c, nil
}

// build assembles the handler of a filter chain, from its end to its beginning.
func (c *chain) build() error {
	p := c.plan
	if p.Terminal == nil {
		return nil
	}
	if p.Transport != nil {
		var err error
		if c.transport, err = p.Transport.NewTransport(c.env); err != nil {
			return err
		}
		c.passive = false
	}
	if from := c.env.Resources; from != nil {
		c.wants = &subscriptions{from: from}
		c.env.Resources = c.wants
	}
	t, err := p.Terminal.NewTerminal(c.env)
	if err != nil {
		return err
	}
	c.mustBePassive(t)
	c.handler = t
	for i := len(p.Filters) - 1; i >= 0; i-- {
		n, err := p.Filters[i].NewNetwork(c.env)
		if err != nil {
			return err
		}
		c.mustBePassive(n)
		c.handler = n.WrapConn(c.handler)
	}
	return nil
}

func (c *chain) mustBePassive(x any) {
	p, ok := x.(filter.Passive)
	c.passive = c.passive && ok && p.Passive()
}

// choose returns the chain that matches a connection; nil: none does.
func (v *version) choose(i *filter.Info) *chain {
	if v.plan.Matcher != nil {
		if name, ok := v.plan.Matcher(i, v.env.Runtime); ok {
			return v.named[name] // nil: a name that no chain has is not for the default chain either (Envoy)
		}
		return v.others
	}
	if n := v.matcher.Find(input(i)); n >= 0 {
		return v.chains[n]
	}
	return v.others
}

// Internal returns what dials within the process lead to. A change in place makes
// another one, which takes the place of this.
func (l *Listener) Internal() inproc.Listener { return l.now.Load() }

// TakesOver implements inproc.Listener.
func (v *version) TakesOver() bool { return v.passive && !v.peeks }

// BufferBytes implements inproc.Listener.
func (v *version) BufferBytes() int { return v.plan.Info.BufferBytes }

// ServeInternal implements inproc.Listener.
func (v *version) ServeInternal(d *inproc.Dial) error {
	l := v.listener
	c := l.fromDial(d)
	l.enter(c) // from now on it is waited for
	if heir, _ := l.late(); heir != nil {
		l.leave(c)
		return inproc.ErrMoved
	}
	return l.serve(c, v)
}

// setUp serves an accepted connection until it is connected, in the goroutine of the
// loop that accepted it if nothing of that waits for bytes. A refusal is nobody's to
// hear.
func (c *conn) setUp(t *netconn.Turn) {
	l := c.chain.listener
	v := l.now.Load()
	if t == nil || !v.TakesOver() {
		go func() { _ = l.serve(c, v) }()
		return
	}
	c.turn = t
	_ = l.serve(c, v)
	c.turn = nil // whoever accepts c too late shall not end a turn of another one
}
