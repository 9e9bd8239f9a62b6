// Package rbac lets connections and requests pass by who they are from and what they
// want: a network filter (envoy.extensions.filters.network.rbac.v3.RBAC) and an HTTP
// filter (envoy.extensions.filters.http.rbac.v3.RBAC) on one engine, of policies or of a
// unified matcher.
package rbac

import (
	"strings"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	mtlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/rbac/principals/mtls_authenticated/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

var (
	networkFields = extension.Fields{
		Message: &networkv3.RBAC{},
		Obeyed: []string{"rules", "matcher", "shadow_rules", "shadow_matcher", "shadow_rules_stat_prefix",
			"stat_prefix", "delay_deny"},
		Ignored: map[string]string{"enforcement_type": "nothing that policies see changes after the first bytes"},
	}
	httpFields = extension.Fields{
		Message: &httpv3.RBAC{},
		Obeyed: []string{"rules", "rules_stat_prefix", "matcher", "shadow_rules", "shadow_matcher",
			"shadow_rules_stat_prefix", "track_per_rule_stats"},
	}
	routeFields  = extension.Fields{Message: &httpv3.RBACPerRoute{}, Obeyed: []string{"rbac"}}
	rulesFields  = extension.Fields{Message: &rbacv3.RBAC{}, Obeyed: []string{"action", "policies"}}
	policyFields = extension.Fields{Message: &rbacv3.Policy{}, Obeyed: []string{"permissions", "principals"}}
	permitFields = extension.Fields{
		Message: &rbacv3.Permission{},
		Obeyed: []string{"and_rules", "or_rules", "any", "header", "url_path", "destination_ip", "destination_port",
			"destination_port_range", "metadata", "not_rule", "requested_server_name", "sourced_metadata", "matcher"},
	}
	principalFields = extension.Fields{
		Message: &rbacv3.Principal{},
		Obeyed: []string{"and_ids", "or_ids", "any", "authenticated", "source_ip", "direct_remote_ip", "remote_ip",
			"header", "url_path", "metadata", "filter_state", "not_id", "sourced_metadata", "custom"},
	}
	authenticatedFields = extension.Fields{
		Message: &rbacv3.Principal_Authenticated{}, Obeyed: []string{"principal_name"},
	}
	sourcedFields = extension.Fields{
		Message: &rbacv3.SourcedMetadata{}, Obeyed: []string{"metadata_matcher", "metadata_source"},
	}
	pathFields   = extension.Fields{Message: &matcherv3.PathMatcher{}, Obeyed: []string{"path"}}
	actionFields = extension.Fields{Message: &rbacv3.Action{}, Obeyed: []string{"name", "action"}}
	mtlsFields   = extension.Fields{
		Message: &mtlsv3.Config{}, Obeyed: []string{"san_matcher", "any_validated_client_certificate"},
	}
)

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return []*extension.Fields{
		&networkFields, &httpFields, &routeFields, &rulesFields, &policyFields, &permitFields, &principalFields,
		&authenticatedFields, &sourcedFields, &pathFields, &actionFields, &mtlsFields, &upstreamFields,
	}
}

// Register adds the filters, and what routes say of the HTTP filter, to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.NetworkFilter, compileNetwork)
	extension.Register(r, extension.HTTPFilter, compileHTTP)
	extension.Register(r, extension.HTTPRouteFilter, compileRoute)
}

// A subject is what is judged: a connection, or a request.
type subject struct {
	info    *filter.Info     // of the request, if there is one
	conn    *filter.Info     // of the connection
	request *httpmsg.Request // nil: a connection's
	host    filter.HTTPHost  // nil: a connection's
}

// A verdict is what an engine says.
type verdict struct {
	allowed bool
	policy  string // that decided; "": none did
}

// The texts of dynamic metadata.
const (
	namedAllowed = "allowed"
	namedDenied  = "denied"
)

func (v verdict) String() string {
	if v.allowed {
		return namedAllowed
	}
	return namedDenied
}

// details is what is logged of a refusal. Blanks of a name are replaced, for logs are cut
// at them.
func (v verdict) details() string {
	name := v.policy
	if name == "" {
		name = "none"
	}
	name = strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\n', '\v', '\f', '\r':
			return '_'
		}
		return r
	}, name)
	return "rbac_access_denied_matched_policy[" + name + "]"
}

// tell puts the verdict of shadow rules into the dynamic metadata.
func (v verdict) tell(info *filter.Info, namespace, prefix, kind string) {
	fields := map[string]*structpb.Value{prefix + kind + "_engine_result": structpb.NewStringValue(v.String())}
	if v.policy != "" {
		fields[prefix+kind+"_effective_policy_id"] = structpb.NewStringValue(v.policy)
	}
	addMetadata(info, namespace, fields)
}

// addMetadata adds fields to a namespace of dynamic metadata.
func addMetadata(info *filter.Info, namespace string, fields map[string]*structpb.Value) {
	for k, v := range info.Metadata[namespace].GetFields() {
		if _, over := fields[k]; !over {
			fields[k] = v
		}
	}
	info.MergeMetadata(filter.Metadata{namespace: {Fields: fields}})
}

// dotted is a prefix of statistics; "" stays that.
func dotted(prefix string) string {
	if prefix == "" || strings.HasSuffix(prefix, ".") {
		return prefix
	}
	return prefix + "."
}
