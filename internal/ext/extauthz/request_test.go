package extauthz

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/certtext"
)

func ip(s string) net.Addr { return filter.IPAddr{AddrPort: netip.MustParseAddrPort(s)} }

// certificate is one of a name, with the given other names.
func certificate(t *testing.T, name string, dns []string, uris ...string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"o"}}, DNSNames: dns,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
	}
	for _, u := range uris {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = append(c.URIs, parsed)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRequest: what the service is told of a connection, by the options of the filter.
func TestRequest(t *testing.T) {
	uri := certificate(t, "uri", []string{"a.example"}, "spiffe://a/b", "spiffe://c")
	dns := certificate(t, "dns", []string{"a.example", "b.example"})
	plain := certificate(t, "plain", nil)
	secure := func(peer, local *x509.Certificate) *filter.Extra {
		t := &filter.TLS{ServerName: "sni.example", Local: local}
		if peer != nil {
			t.Peer = []*x509.Certificate{peer, plain}
		}
		return &filter.Extra{DownTLS: t}
	}
	metadata := filter.Metadata{
		"told":   {Fields: map[string]*structpb.Value{"k": structpb.NewStringValue("v")}},
		"secret": {Fields: map[string]*structpb.Value{"k": structpb.NewStringValue("v")}},
	}
	for _, c := range []struct {
		name   string
		filter authz
		info   filter.Info
		want   string // of the attributes, as JSON
	}{
		{"addresses", authz{}, filter.Info{Remote: ip("[::ffff:192.0.2.1]:11"), Local: ip("[2001:db8::1]:22")},
			`{"source":{"address":{"socketAddress":{"address":"192.0.2.1","portValue":11}}},"destination":{"address":{"socketAddress":{"address":"2001:db8::1","portValue":22}}},"metadataContext":{}}`},
		{"Unix", authz{}, filter.Info{Remote: filter.UnixAddr{}, Local: filter.UnixAddr{Path: "/s"}},
			`{"source":{"address":{"pipe":{}}},"destination":{"address":{"pipe":{"path":"/s"}}},"metadataContext":{}}`},
		{"internal", authz{}, filter.Info{Remote: filter.InternalClient, Local: filter.InternalAddr{Listener: "in", Endpoint: "e"}},
			`{"source":{"address":{"envoyInternalAddress":{"serverListenerName":"internal_client_address"}}},"destination":{"address":{"envoyInternalAddress":{"serverListenerName":"in","endpointId":"e"}}},"metadataContext":{}}`},
		{"metadata and labels", authz{config: &config{namespaces: []string{"told", "none"}}, destination: map[string]string{"app": "x"}},
			filter.Info{Remote: ip("192.0.2.1:1"), Local: ip("192.0.2.2:2"), Metadata: metadata},
			`{"source":{"address":{"socketAddress":{"address":"192.0.2.1","portValue":1}}},"destination":{"labels":{"app":"x"},"address":{"socketAddress":{"address":"192.0.2.2","portValue":2}}},"metadataContext":{"filterMetadata":{"told":{"k":"v"}}}}`},
		{"TLS asked for, and not there", authz{config: &config{session: true, certificate: true}}, filter.Info{},
			`{"source":{},"destination":{},"metadataContext":{},"tlsSession":{}}`},
		{"TLS not asked for", authz{}, filter.Info{Extra: secure(uri, dns)},
			`{"source":{"principal":"spiffe://a/b"},"destination":{"principal":"a.example"},"metadataContext":{}}`},
		{"TLS without a client's certificate", authz{config: &config{session: true, certificate: true}}, filter.Info{Extra: secure(nil, plain)},
			`{"source":{},"destination":{"principal":"CN=plain,O=o"},"metadataContext":{},"tlsSession":{"sni":"sni.example"}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.filter.config == nil {
				c.filter.config = &config{}
			}
			want := &authv3.CheckRequest{Attributes: new(authv3.AttributeContext)}
			if err := protojson.Unmarshal([]byte(c.want), want.Attributes); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, c.filter.request(&c.info), protocmp.Transform()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	told := (&authz{config: &config{certificate: true}}).request(&filter.Info{Extra: secure(dns, nil)})
	if got := told.GetAttributes().GetSource(); got.GetCertificate() != certtext.PEM(dns) || got.GetPrincipal() != "a.example" {
		t.Errorf("%v", got)
	}
}

// TestLabels: only texts below the key are labels.
func TestLabels(t *testing.T) {
	n := new(corev3.Node)
	if err := protojson.Unmarshal([]byte(`{"metadata":{"labels":{"a":"b","n":1,"s":{"x":"y"}},"other":{"z":"z"},"text":"t"}}`), n); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]map[string]string{"labels": {"a": "b"}, "text": nil, "none": nil, "": nil} {
		if d := cmp.Diff(want, nodeLabels(n, key)); d != "" {
			t.Errorf("%s: %s", key, d)
		}
	}
	if got := nodeLabels(nil, "labels"); got != nil {
		t.Errorf("no node: %v", got)
	}
}
