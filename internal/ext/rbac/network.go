package rbac

import (
	"errors"
	"time"

	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

// network is the compiled network filter; with counters it is the running one.
type network struct {
	prefix, shadowPrefix string
	enforced, shadow     *engine // nil: none
	delay                time.Duration

	counters
}

// counters are the statistics of a filter, or of what a route says in its place.
type counters struct{ allowed, denied, shadowAllowed, shadowDenied filter.Counter }

func newCounters(s filter.Scope, prefix, shadowPrefix string) counters {
	own, shadow := s.Scope(dotted(prefix)), s.Scope(dotted(shadowPrefix))
	return counters{
		own.Counter("allowed"), own.Counter("denied"),
		shadow.Counter("shadow_allowed"), shadow.Counter("shadow_denied"),
	}
}

func compileNetwork(s *extension.Scope, m *networkv3.RBAC) filter.NetworkFactory {
	networkFields.Check(s, m)
	if m.GetStatPrefix() == "" {
		s.Field("stat_prefix").Errorf("is required")
	}
	if _, ok := networkv3.RBAC_EnforcementType_name[int32(m.GetEnforcementType())]; !ok {
		s.Field("enforcement_type").Errorf("value must be one of the defined enum values")
	}
	var c compiler
	return &network{
		prefix:       dotted(m.GetStatPrefix()) + "rbac.",
		shadowPrefix: m.GetShadowRulesStatPrefix(),
		enforced:     c.engine(s, "", m.GetRules(), m.GetMatcher()),
		shadow:       c.engine(s, "shadow_", m.GetShadowRules(), m.GetShadowMatcher()),
		delay:        m.GetDelayDeny().AsDuration(),
	}
}

// NewNetwork implements filter.NetworkFactory.
func (n *network) NewNetwork(env *filter.Env) (filter.Network, error) {
	running := *n
	running.counters = newCounters(env.Stats.Scope(n.prefix), "", n.shadowPrefix)
	return &running, nil
}

// Passive implements filter.Passive: the first bytes are awaited, not touched, but for
// those of who is let wait.
func (n *network) Passive() bool { return n.delay == 0 || n.enforced == nil }

// WrapConn implements filter.Network.
func (n *network) WrapConn(next filter.ConnHandler) filter.ConnHandler { return &handler{n, next} }

type handler struct {
	filter *network
	next   filter.ConnHandler
}

// ServeConn implements filter.ConnHandler. Judgement comes with the first bytes, or their
// end: by then the filters before this one have said what they know.
func (h *handler) ServeConn(c *filter.Conn) error {
	f := h.filter
	switch {
	case f.enforced == nil && f.shadow == nil:
	case f.Passive():
		c.OnData(f.judge)
	default:
		c.HoldData(f.judgeSlowly)
	}
	return h.next.ServeConn(c)
}

// errDenied is the reason of a close, in Envoy's words.
var errDenied = errors.New("rbac_deny_close")

const networkNamespace = "envoy.filters.network.rbac"

func (n *network) judge(c *filter.Conn) error {
	s := subject{info: &c.Info, conn: &c.Info}
	if n.shadow != nil {
		v := n.shadow.judge(s, true)
		n.count(v, true)
		v.tell(&c.Info, networkNamespace, n.shadowPrefix, "shadow")
	}
	if n.enforced == nil {
		return nil
	}
	v := n.enforced.judge(s, false)
	n.count(v, false)
	if v.allowed {
		return nil
	}
	c.Info.More().Termination = v.details()
	return errDenied
}

// judgeSlowly closes a connection only after a while, in which nothing of it is read.
func (n *network) judgeSlowly(h *filter.Held) error {
	err := h.Do(n.judge)
	if err != nil {
		wait := time.NewTimer(n.delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-h.Context().Done():
		}
	}
	return err
}

func (c *counters) count(v verdict, shadow bool) {
	switch {
	case shadow && v.allowed:
		c.shadowAllowed.Add(1)
	case shadow:
		c.shadowDenied.Add(1)
	case v.allowed:
		c.allowed.Add(1)
	default:
		c.denied.Add(1)
	}
}
