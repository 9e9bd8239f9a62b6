package rbac

import (
	"maps"
	"slices"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/matcher"
)

// An engine judges by policies or by a tree. It is immutable.
type engine struct {
	tree     *matcher.Tree[subject, action] // nil: by policies
	action   rbacv3.RBAC_Action
	policies []policy // in the order of their names
	logs     bool     // some action is LOG: whether it was taken is told to access logs
}

// A policy is for those subjects that both rules are for.
type policy struct {
	name                 string
	permitted, principal rule
}

// An action is what a tree leads to.
type action struct {
	name string
	what rbacv3.RBAC_Action
}

// judge judges a subject. Unless that is only tried out, access logs are told what they
// wait for.
func (e *engine) judge(s subject, shadow bool) verdict {
	if e.tree != nil {
		return e.byTree(s, shadow)
	}
	name, matched := e.match(s)
	switch e.action {
	case rbacv3.RBAC_ALLOW:
		return verdict{matched, name}
	case rbacv3.RBAC_DENY:
		return verdict{!matched, name}
	}
	if !shadow {
		hint(s.info, matched)
	}
	return verdict{true, name}
}

func (e *engine) match(s subject) (name string, ok bool) {
	for i := range e.policies {
		if p := &e.policies[i]; p.permitted(s) && p.principal(s) {
			return p.name, true
		}
	}
	return "", false
}

func (e *engine) byTree(s subject, shadow bool) verdict {
	a, out := e.tree.Match(s, nil)
	if out != matcher.Matched {
		return verdict{}
	}
	if e.logs && !shadow {
		hint(s.info, a.what == rbacv3.RBAC_LOG)
	}
	return verdict{a.what != rbacv3.RBAC_DENY, a.name}
}

// hint tells access logs whether to write (Envoy's shared key).
func hint(info *filter.Info, log bool) {
	addMetadata(info, "envoy.common", map[string]*structpb.Value{"access_log_hint": structpb.NewBoolValue(log)})
}

// A compiler compiles for connections or for requests.
type compiler struct{ http bool }

// engine compiles rules, or the matcher that stands over them; nil: neither is there.
func (c compiler) engine(s *extension.Scope, prefix string, rules *rbacv3.RBAC, m *xdsmatcherv3.Matcher) *engine {
	var e *engine
	if rules != nil {
		e = c.policies(s.Field(prefix+"rules"), rules)
	}
	if m != nil {
		if rules != nil {
			s.Field(prefix+"rules").Warnf("%smatcher stands over them: they do nothing", prefix)
		}
		e = &engine{}
		c.tree(s.Field(prefix+"matcher"), m, e)
	}
	return e
}

func (c compiler) policies(s *extension.Scope, m *rbacv3.RBAC) *engine {
	rulesFields.Check(s, m)
	e := &engine{action: m.GetAction()}
	if _, ok := rbacv3.RBAC_Action_name[int32(m.GetAction())]; !ok {
		s.Field("action").Errorf("value must be one of the defined enum values")
	}
	for _, name := range slices.Sorted(maps.Keys(m.GetPolicies())) {
		s, p := s.Field("policies").Key(name), m.Policies[name]
		policyFields.Check(s, p)
		e.policies = append(e.policies, policy{
			name:      name,
			permitted: anyOf(c.permissions(s.Field("permissions"), p.GetPermissions())),
			principal: anyOf(c.principals(s.Field("principals"), p.GetPrincipals())),
		})
	}
	return e
}

func (c compiler) tree(s *extension.Scope, m *xdsmatcherv3.Matcher, e *engine) {
	e.tree = matcher.Compile(s, m, matcher.Context[subject, action]{
		Inputs: c.inputs(),
		Action: func(s *extension.Scope, m proto.Message) action {
			a, ok := m.(*rbacv3.Action)
			if !ok {
				s.Errorf("%s is no action of RBAC (implemented: envoy.config.rbac.v3.Action)", m.ProtoReflect().Descriptor().FullName())
				return action{}
			}
			actionFields.Check(s, a)
			if a.GetName() == "" {
				s.Field("name").Errorf("is required")
			}
			e.logs = e.logs || a.GetAction() == rbacv3.RBAC_LOG
			return action{a.GetName(), a.GetAction()}
		},
	})
}
