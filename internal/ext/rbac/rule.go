package rbac

import (
	"net"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// A rule tells whether a subject is one of its own.
type rule func(subject) bool

func always(subject) bool { return true }
func never(subject) bool  { return false }

func anyOf(list []rule) rule {
	if len(list) == 1 {
		return list[0]
	}
	return func(s subject) bool {
		for _, r := range list {
			if r(s) {
				return true
			}
		}
		return false
	}
}

func allOf(list []rule) rule {
	if len(list) == 1 {
		return list[0]
	}
	return func(s subject) bool {
		for _, r := range list {
			if !r(s) {
				return false
			}
		}
		return true
	}
}

func not(r rule) rule { return func(s subject) bool { return !r(s) } }

// each compiles a list, which must not be empty.
func each[M any](s *extension.Scope, list []M, one func(*extension.Scope, M) rule) []rule {
	if len(list) == 0 {
		s.Errorf("value must contain at least 1 item(s)")
	}
	out := make([]rule, len(list))
	for i, m := range list {
		out[i] = one(s.Index(i), m)
	}
	return out
}

func (c compiler) permissions(s *extension.Scope, list []*rbacv3.Permission) []rule {
	return each(s, list, c.permission)
}

func (c compiler) permission(s *extension.Scope, m *rbacv3.Permission) rule {
	permitFields.Check(s, m)
	switch r := m.GetRule().(type) {
	case *rbacv3.Permission_Any:
		return anyone(s.Field("any"), r.Any)
	case *rbacv3.Permission_AndRules:
		return allOf(c.permissions(s.Field("and_rules.rules"), r.AndRules.GetRules()))
	case *rbacv3.Permission_OrRules:
		return anyOf(c.permissions(s.Field("or_rules.rules"), r.OrRules.GetRules()))
	case *rbacv3.Permission_NotRule:
		return not(c.permission(s.Field("not_rule"), r.NotRule))
	case *rbacv3.Permission_Header:
		return c.header(s.Field("header"), r.Header)
	case *rbacv3.Permission_UrlPath:
		return c.path(s.Field("url_path"), r.UrlPath)
	case *rbacv3.Permission_DestinationIp:
		return within(s.Field("destination_ip"), r.DestinationIp, func(s subject) net.Addr { return s.info.Local })
	case *rbacv3.Permission_DestinationPort:
		return port(s.Field("destination_port"), r.DestinationPort)
	case *rbacv3.Permission_DestinationPortRange:
		return ports(s.Field("destination_port_range"), r.DestinationPortRange)
	case *rbacv3.Permission_RequestedServerName:
		fits := httpmatch.String(s.Field("requested_server_name"), r.RequestedServerName)
		return func(s subject) bool { return fits(s.conn.Rest().Inspected.ServerName) }
	case *rbacv3.Permission_Metadata:
		return metadata(s.Field("metadata"), r.Metadata, rbacv3.MetadataSource_DYNAMIC)
	case *rbacv3.Permission_SourcedMetadata:
		return sourced(s.Field("sourced_metadata"), r.SourcedMetadata)
	case *rbacv3.Permission_Matcher:
		return matched(s.Field("matcher"), r.Matcher)
	case nil:
		s.Errorf("a rule is required")
	}
	return never
}

func (c compiler) principals(s *extension.Scope, list []*rbacv3.Principal) []rule {
	return each(s, list, c.principal)
}

func (c compiler) principal(s *extension.Scope, m *rbacv3.Principal) rule {
	principalFields.Check(s, m)
	switch r := m.GetIdentifier().(type) {
	case *rbacv3.Principal_Any:
		return anyone(s.Field("any"), r.Any)
	case *rbacv3.Principal_AndIds:
		return allOf(c.principals(s.Field("and_ids.ids"), r.AndIds.GetIds()))
	case *rbacv3.Principal_OrIds:
		return anyOf(c.principals(s.Field("or_ids.ids"), r.OrIds.GetIds()))
	case *rbacv3.Principal_NotId:
		return not(c.principal(s.Field("not_id"), r.NotId))
	case *rbacv3.Principal_Authenticated_:
		return authenticated(s.Field("authenticated"), r.Authenticated)
	case *rbacv3.Principal_Custom:
		return custom(s.Field("custom"), r.Custom)
	case *rbacv3.Principal_SourceIp:
		return within(s.Field("source_ip"), r.SourceIp, func(s subject) net.Addr { return s.conn.Remote })
	case *rbacv3.Principal_DirectRemoteIp:
		return within(s.Field("direct_remote_ip"), r.DirectRemoteIp, func(s subject) net.Addr { return s.info.DirectRemote() })
	case *rbacv3.Principal_RemoteIp:
		return within(s.Field("remote_ip"), r.RemoteIp, func(s subject) net.Addr { return s.info.Remote })
	case *rbacv3.Principal_Header:
		return c.header(s.Field("header"), r.Header)
	case *rbacv3.Principal_UrlPath:
		return c.path(s.Field("url_path"), r.UrlPath)
	case *rbacv3.Principal_Metadata:
		return metadata(s.Field("metadata"), r.Metadata, rbacv3.MetadataSource_DYNAMIC)
	case *rbacv3.Principal_SourcedMetadata:
		return sourced(s.Field("sourced_metadata"), r.SourcedMetadata)
	case *rbacv3.Principal_FilterState:
		fits := httpmatch.FilterState(s.Field("filter_state"), r.FilterState)
		return func(s subject) bool { return fits(&s.info.State) }
	case nil:
		s.Errorf("an identifier is required")
	}
	return never
}

func anyone(s *extension.Scope, yes bool) rule {
	if !yes {
		s.Errorf("value must equal true")
	}
	return always
}

// header compiles a rule of requests: connections have no headers (Envoy).
func (c compiler) header(s *extension.Scope, m *routev3.HeaderMatcher) rule {
	if !c.http {
		s.Errorf("Found header(%s) rule, not supported by RBAC network filter", m.GetName())
		return never
	}
	h := httpmatch.CompileHeader(s, m)
	return func(s subject) bool { return h.Request(s.request) }
}

// path compiles a rule of requests; connections have no path, and are none of its.
func (c compiler) path(s *extension.Scope, m *matcherv3.PathMatcher) rule {
	pathFields.Check(s, m)
	fits := httpmatch.String(s.Field("path"), m.GetPath())
	if !c.http {
		s.Warnf("connections have no path: the rule never matches")
		return never
	}
	return func(s subject) bool {
		if s.request.Path == "" { // of CONNECT
			return false
		}
		return fits(filter.PathOf(s.host.Route(), s.request))
	}
}

func within(s *extension.Scope, m *corev3.CidrRange, of func(subject) net.Addr) rule {
	in, ok := httpmatch.Prefix(s, m)
	if !ok {
		return never
	}
	return func(s subject) bool {
		a, ok := filter.IP(of(s))
		return ok && in.Contains(plain(a.Addr()))
	}
}

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

const maxPort = 65535

func port(s *extension.Scope, want uint32) rule {
	if want > maxPort {
		s.Errorf("value must be less than or equal to 65535")
	}
	return ofPort(func(p int32) bool { return p == int32(want) })
}

// ports compiles a range, whose end is not in it; the errors are Envoy's.
func ports(s *extension.Scope, m *typev3.Int32Range) rule {
	from, to := m.GetStart(), m.GetEnd()
	switch {
	case from < 0 || from > maxPort:
		s.Errorf("range start %d is out of bounds", from)
	case to < 0 || to > maxPort+1:
		s.Errorf("range end %d is out of bounds", to)
	case from >= to:
		s.Errorf("range start %d cannot be greater or equal than range end %d", from, to)
	}
	return ofPort(func(p int32) bool { return from <= p && p < to })
}

func ofPort(fits func(int32) bool) rule {
	return func(s subject) bool {
		a, ok := filter.IP(s.info.Local)
		return ok && fits(int32(a.Port()))
	}
}

func sourced(s *extension.Scope, m *rbacv3.SourcedMetadata) rule {
	sourcedFields.Check(s, m)
	if m.GetMetadataMatcher() == nil {
		s.Field("metadata_matcher").Errorf("is required")
	}
	if _, ok := rbacv3.MetadataSource_name[int32(m.GetMetadataSource())]; !ok {
		s.Field("metadata_source").Errorf("value must be one of the defined enum values")
	}
	return metadata(s.Field("metadata_matcher"), m.GetMetadataMatcher(), m.GetMetadataSource())
}

func metadata(s *extension.Scope, m *matcherv3.MetadataMatcher, from rbacv3.MetadataSource) rule {
	fits := httpmatch.CompileMetadata(s, m)
	if from == rbacv3.MetadataSource_DYNAMIC {
		return func(s subject) bool { return fits.Match(s.info.Metadata) }
	}
	return func(s subject) bool {
		if s.host == nil {
			return false
		}
		r := s.host.Route()
		return r != nil && fits.Match(r.Metadata().GetFilterMetadata())
	}
}
