package rbac_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/ext/rbac"
	"github.com/ginnel/ginnel/internal/ext/teststream"
	"github.com/ginnel/ginnel/internal/testcompile"
)

func policy(permission, principal string) string {
	return `{"stat_prefix": "p", "rules": {"policies": {"it": {"permissions": [` + permission + `], "principals": [` + principal + `]}}}}`
}

const anything = `{"any": true}`

// TestRefused: what can never be meant is refused at its place, in Envoy's words.
func TestRefused(t *testing.T) {
	rules := `x.rules.policies["it"].`
	for name, c := range map[string]struct{ config, path, message string }{
		"no prefix":        {`{}`, "x.stat_prefix", "is required"},
		"header":           {policy(anything, `{"not_id": {"header": {"name": "a", "present_match": true}}}`), rules + "principals[0].not_id.header", "Found header(a) rule"},
		"any false":        {policy(`{"any": false}`, anything), rules + "permissions[0].any", "must equal true"},
		"nothing":          {policy(`{}`, anything), rules + "permissions[0]", "a rule is required"},
		"nobody":           {policy(anything, `{}`), rules + "principals[0]", "an identifier is required"},
		"no permissions":   {policy(``, anything), rules + "permissions", "at least 1 item"},
		"empty and":        {policy(`{"and_rules": {}}`, anything), rules + "permissions[0].and_rules.rules", "at least 1 item"},
		"address":          {policy(`{"destination_ip": {"address_prefix": "zz"}}`, anything), rules + "permissions[0].destination_ip.address_prefix", "malformed IP address: zz"},
		"port":             {policy(`{"destination_port": 70000}`, anything), rules + "permissions[0].destination_port", "less than or equal to 65535"},
		"negative range":   {policy(`{"destination_port_range": {"start": -10, "end": 5}}`, anything), rules + "permissions[0].destination_port_range", "range start -10 is out of bounds"},
		"range too long":   {policy(`{"destination_port_range": {"start": 1, "end": 65537}}`, anything), rules + "permissions[0].destination_port_range", "range end 65537 is out of bounds"},
		"empty range":      {policy(`{"destination_port_range": {"start": 10, "end": 10}}`, anything), rules + "permissions[0].destination_port_range", "range start 10 cannot be greater or equal than range end 10"},
		"condition":        {`{"stat_prefix": "p", "rules": {"policies": {"it": {"permissions": [{"any": true}], "principals": [{"any": true}], "condition": {}}}}}`, rules + "condition", "not supported yet"},
		"no validation":    {policy(anything, `{"custom": {"name": "m", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.rbac.principals.mtls_authenticated.v3.Config"}}}`), rules + "principals[0].custom.typed_config", "did not have any configured validation"},
		"another action":   {`{"stat_prefix": "p", "shadow_matcher": {"on_no_match": {"action": {"name": "a", "typed_config": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "x"}}}}}`, "x.shadow_matcher.on_no_match.action.typed_config", "no action of RBAC"},
		"nameless action":  {`{"stat_prefix": "p", "matcher": {"on_no_match": {"action": {"name": "a", "typed_config": {"@type": "type.googleapis.com/envoy.config.rbac.v3.Action"}}}}}`, "x.matcher.on_no_match.action.typed_config.name", "is required"},
		"keep_matching":    {`{"stat_prefix": "p", "matcher": {"on_no_match": {"keep_matching": true, "action": {"name": "a", "typed_config": {"@type": "type.googleapis.com/envoy.config.rbac.v3.Action", "name": "n"}}}}}`, "x.matcher.on_no_match.keep_matching", "not supported in this context"},
		"headers in trees": {`{"stat_prefix": "p", "matcher": {"matcher_tree": {"input": {"name": "i", "typed_config": {"@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": "a"}}, "exact_match_map": {"map": {"x": {"action": {"name": "a", "typed_config": {"@type": "type.googleapis.com/envoy.config.rbac.v3.Action", "name": "n"}}}}}}}}`, "x.matcher.matcher_tree.input.typed_config", "RBAC network filter cannot match it"},
	} {
		_, issues := testcompile.JSON(t, rbac.Register, extension.NetworkFilter, &networkv3.RBAC{}, c.config)
		if len(issues) != 1 || issues[0].Path != c.path || !strings.Contains(issues[0].Message, c.message) {
			t.Errorf("%s: got %v, want %s: ...%s...", name, issues, c.path, c.message)
		}
	}
}

// certificate has the names that principals are asked for.
func certificate(t *testing.T, uri, dns string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alice", Organization: []string{"acme"}}}
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		m.URIs = []*url.URL{u}
	}
	if dns != "" {
		m.DNSNames = []string{dns}
	}
	der, err := x509.CreateCertificate(rand.Reader, m, m, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const spiffe = "spiffe://cluster.local/ns/default/sa/sleep"

// TestPeer: who came by TLS is known by its URIs, its DNS names and its subject, in that
// order, and all of them are asked.
func TestPeer(t *testing.T) {
	named := func(n string) string { return `{"authenticated": {"principal_name": {"exact": "` + n + `"}}}` }
	mtls := func(c string) string {
		return `{"custom": {"name": "m", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.rbac.principals.mtls_authenticated.v3.Config", ` + c + `}}}`
	}
	sleep := []*x509.Certificate{certificate(t, spiffe, "sleep.example")}
	bare := []*x509.Certificate{certificate(t, "", "")}
	for name, c := range map[string]struct {
		principal string
		tls       *filter.TLS
		allowed   bool
	}{
		"plain":                   {`{"authenticated": {}}`, nil, false},
		"TLS alone":               {`{"authenticated": {}}`, &filter.TLS{}, true},
		"no certificate":          {named(spiffe), &filter.TLS{}, false},
		"URI":                     {named(spiffe), &filter.TLS{Peer: sleep}, true},
		"DNS":                     {named("sleep.example"), &filter.TLS{Peer: sleep}, true},
		"subject":                 {named("CN=alice,O=acme"), &filter.TLS{Peer: bare}, true},
		"subject, after others":   {named("CN=alice,O=acme"), &filter.TLS{Peer: sleep}, true},
		"another":                 {named("spiffe://cluster.local/ns/default/sa/other"), &filter.TLS{Peer: sleep}, false},
		"validated":               {mtls(`"any_validated_client_certificate": true`), &filter.TLS{Peer: sleep, Validated: true}, true},
		"not validated":           {mtls(`"any_validated_client_certificate": true`), &filter.TLS{Peer: sleep}, false},
		"validated, SAN":          {mtls(`"san_matcher": {"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}`), &filter.TLS{Peer: sleep, Validated: true}, true},
		"validated, another SAN":  {mtls(`"san_matcher": {"san_type": "DNS", "matcher": {"exact": "a.example"}}`), &filter.TLS{Peer: sleep, Validated: true}, false},
		"SAN without certificate": {mtls(`"any_validated_client_certificate": true`), &filter.TLS{Validated: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge(t, policy(anything, c.principal), func(i *filter.Info) { i.More().DownTLS = c.tls })
			if got == nil != c.allowed {
				t.Errorf("got %v, want allowed %v", got, c.allowed)
			}
		})
	}
}

// TestAddresses: each rule asks for the address that it names.
func TestAddresses(t *testing.T) {
	ip := func(s string) filter.IPAddr { return filter.IPAddr{AddrPort: netip.MustParseAddrPort(s)} }
	set := func(i *filter.Info) {
		i.Local, i.Remote = ip("192.0.2.1:80"), ip("[2001:db8::1]:1000")
		i.RestoreRemote(ip("[::ffff:198.51.100.7]:2000"))
	}
	cidr := func(kind, a, n string) string {
		return `{"` + kind + `": {"address_prefix": "` + a + `", "prefix_len": ` + n + `}}`
	}
	for principal, allowed := range map[string]bool{
		cidr("remote_ip", "198.51.100.0", "24"):            true, // mapped addresses are those of IPv4
		cidr("remote_ip", "2001:db8::", "32"):              false,
		cidr("source_ip", "198.51.100.7", "32"):            true,
		cidr("direct_remote_ip", "2001:db8::", "32"):       true,
		cidr("direct_remote_ip", "0.0.0.0", "0"):           false,
		`{"not_id": ` + cidr("remote_ip", "::", "0") + `}`: true,
	} {
		if got := judge(t, policy(anything, principal), set); got == nil != allowed {
			t.Errorf("%s: %v", principal, got)
		}
	}
	for permission, allowed := range map[string]bool{
		cidr("destination_ip", "192.0.2.0", "30"):                           true,
		`{"destination_port": 80}`:                                          true,
		`{"destination_port_range": {"start": 79, "end": 80}}`:              false,
		`{"destination_port_range": {"start": 80, "end": 65536}}`:           true,
		`{"requested_server_name": {"prefix": ""}}`:                         true,
		`{"requested_server_name": {"exact": "a.example"}}`:                 false,
		`{"url_path": {"path": {"prefix": "/"}}}`:                           false,
		`{"or_rules": {"rules": [{"destination_port": 1}, {"any": true}]}}`: true,
	} {
		got := judge(t, policy(permission, anything), set)
		if got == nil != allowed {
			t.Errorf("%s: %v", permission, got)
		}
	}
	internal := judge(t, policy(cidr("destination_ip", "0.0.0.0", "0"), anything), func(i *filter.Info) {
		i.Local = filter.InternalAddr{Listener: "in"}
	})
	if internal == nil {
		t.Error("an internal address is in a range of IP addresses")
	}
}

// judge has the filter judge a connection; nil: it passes.
func judge(t *testing.T, config string, set func(*filter.Info)) error {
	t.Helper()
	f, issues := testcompile.JSON(t, rbac.Register, extension.NetworkFilter, &networkv3.RBAC{}, config)
	for _, i := range issues {
		if i.Severity == extension.Error {
			t.Fatalf("%s: %v", config, issues)
		}
	}
	n, err := f.NewNetwork(teststream.NewEnv().Env)
	if err != nil {
		t.Fatal(err)
	}
	c := &filter.Conn{}
	set(&c.Info)
	if err := n.WrapConn(last{}).ServeConn(c); err != nil {
		t.Fatal(err)
	}
	if c.Info.Rest().Termination != "" {
		t.Error("judged before the first bytes")
	}
	err = c.FirstData()
	if want := "rbac_access_denied_matched_policy[none]"; err != nil && c.Info.Rest().Termination != want {
		t.Errorf("details %q, want %q", c.Info.Rest().Termination, want)
	}
	return err
}

type last struct{}

func (last) ServeConn(*filter.Conn) error { return nil }
