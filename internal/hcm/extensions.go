package hcm

import (
	"net/netip"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	customheaderv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/original_ip_detection/custom_header/v3"
	xffv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/original_ip_detection/xff/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/route"
	"github.com/ginnel/ginnel/internal/state"
)

var (
	xffFields = extension.Fields{
		Message: &xffv3.XffConfig{},
		Obeyed:  []string{"xff_num_trusted_hops", "xff_trusted_cidrs", "skip_xff_append"},
	}
	trustedFields      = extension.Fields{Message: &xffv3.XffTrustedCidrs{}, Obeyed: []string{"cidrs"}}
	customHeaderFields = extension.Fields{
		Message: &customheaderv3.CustomHeaderConfig{},
		Obeyed:  []string{"header_name", "allow_extension_to_set_address_as_trusted", "reject_with_status"},
	}
	rejectFields = extension.Fields{Message: &typev3.HttpStatus{}, Obeyed: []string{"code"}}
	earlyFields  = extension.Fields{Message: &earlyv3.HeaderMutation{}, Obeyed: []string{"mutations"}}
	protoFields  = extension.Fields{
		Message: &hcmv3.ForwardProtoConfig{},
		Obeyed:  []string{"https_destination_ports", "http_destination_ports"},
	}
	statusFields = extension.Fields{
		Message: &hcmv3.HttpConnectionManager_ProxyStatusConfig{},
		Obeyed: []string{"remove_details", "remove_response_flags", "set_recommended_response_code", "use_node_id",
			"literal_proxy_name"},
		Ignored: map[string]string{
			"remove_connection_termination_details": "there are no such details yet, which Envoy has of TLS and of network filters",
		},
	}
)

// origins compiles what says where the client's address is found.
func (c *Config) origins(s *extension.Scope, m *hcmv3.HttpConnectionManager) {
	list := m.GetOriginalIpDetectionExtensions()
	at := s.Field("original_ip_detection_extensions")
	if len(list) > 0 && c.Request.useRemoteAddress {
		at.Errorf("Original IP detection extensions and use_remote_address may not be mixed")
	}
	if len(list) > 0 && c.Request.trustedHops > 0 {
		at.Errorf("Original IP detection extensions and xff_num_trusted_hops may not be mixed")
	}
	for i, x := range list {
		at := at.Index(i).Field("typed_config")
		msg, ok := at.Unpack(x.GetTypedConfig())
		if !ok {
			continue
		}
		switch d := msg.(type) {
		case *xffv3.XffConfig:
			c.Request.detectors = append(c.Request.detectors, compileXFF(at, d))
		case *customheaderv3.CustomHeaderConfig:
			c.Request.detectors = append(c.Request.detectors, compileCustomHeader(at, d))
		default:
			at.Errorf("not supported yet: %s", msg.ProtoReflect().Descriptor().FullName())
		}
	}
}

func compileXFF(s *extension.Scope, m *xffv3.XffConfig) detector {
	xffFields.Check(s, m)
	d := detector{hops: m.GetXffNumTrustedHops(), appends: m.GetSkipXffAppend() != nil && !m.GetSkipXffAppend().Value}
	if t := m.GetXffTrustedCidrs(); t != nil {
		at := s.Field("xff_trusted_cidrs")
		trustedFields.Check(at, t)
		d.proxies = append([]netip.Prefix{}, compileRanges(at.Field("cidrs"), t.GetCidrs())...)
		if d.hops > 0 {
			s.Errorf("Cannot set both xff_num_trusted_hops and xff_trusted_cidrs")
		}
	}
	return d
}

func compileCustomHeader(s *extension.Scope, m *customheaderv3.CustomHeaderConfig) detector {
	customHeaderFields.Check(s, m)
	d := detector{header: strings.ToLower(m.GetHeaderName()), trusted: m.GetAllowExtensionToSetAddressAsTrusted()}
	if d.header == "" {
		s.Field("header_name").Errorf("is required")
	}
	if r := m.GetRejectWithStatus(); r != nil {
		rejectFields.Check(s.Field("reject_with_status"), r)
		if d.reject = int(r.GetCode()); d.reject < 400 || d.reject > 511 {
			d.reject = 403
		}
	}
	return d
}

func compileRanges(s *extension.Scope, list []*corev3.CidrRange) (out []netip.Prefix) {
	for i, r := range list {
		s := s.Index(i)
		cidrFields.Check(s, r)
		addr, err := netip.ParseAddr(r.GetAddressPrefix())
		if err != nil {
			s.Field("address_prefix").Errorf("malformed IP address: %s", r.GetAddressPrefix())
			continue
		}
		p, err := addr.Prefix(int(min(r.GetPrefixLen().GetValue(), uint32(addr.BitLen()))))
		if err != nil {
			s.Field("prefix_len").Errorf("%v", err)
			continue
		}
		out = append(out, p)
	}
	return out
}

func compileEarly(s *extension.Scope, list []*corev3.TypedExtensionConfig) (out route.Mutations) {
	for i, x := range list {
		at := s.Index(i).Field("typed_config")
		msg, ok := at.Unpack(x.GetTypedConfig())
		if !ok {
			continue
		}
		m, ok := msg.(*earlyv3.HeaderMutation)
		if !ok {
			at.Errorf("not supported yet: %s", msg.ProtoReflect().Descriptor().FullName())
			continue
		}
		earlyFields.Check(at, m)
		out = append(out, route.CompileSteps(at.Field("mutations"), m.GetMutations(), state.Options{})...)
	}
	return out
}

func compilePorts(s *extension.Scope, m *hcmv3.ForwardProtoConfig) map[uint16]string {
	if m == nil {
		return nil
	}
	protoFields.Check(s, m)
	out := make(map[uint16]string)
	for _, of := range []struct {
		field, scheme string
		ports         []uint32
	}{{"http_destination_ports", "http", m.GetHttpDestinationPorts()}, {"https_destination_ports", "https", m.GetHttpsDestinationPorts()}} {
		for i, p := range of.ports {
			if p == 0 || p > 65535 {
				s.Field(of.field).Index(i).Errorf("must be from 1 to 65535, not %d", p)
				continue
			}
			out[uint16(p)] = of.scheme
		}
	}
	return out
}

func compileProxyStatus(s *extension.Scope, m *hcmv3.HttpConnectionManager_ProxyStatusConfig) *proxyStatus {
	if m == nil {
		return nil
	}
	statusFields.Check(s, m)
	return &proxyStatus{
		name: m.GetLiteralProxyName(), details: !m.GetRemoveDetails(), flags: !m.GetRemoveResponseFlags(),
		status: m.GetSetRecommendedResponseCode(), byNode: m.GetUseNodeId(),
	}
}
