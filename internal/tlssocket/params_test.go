package tlssocket

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
)

// A certificate's parameters are those of its context but for what it sets; on a client they
// are not looked at.
func TestCertificateParams(t *testing.T) {
	own := issue(t, nil, nil)
	der, err := x509.MarshalPKCS8PrivateKey(own.key)
	if err != nil {
		t.Fatal(err)
	}
	compile := func(c common, p *tlsv3.TlsParameters) (*params, []extension.Issue) {
		var r extension.Report
		k := c.certificate(extension.NewScope(&r, nil, nil), &tlsv3.TlsCertificate{
			CertificateChain: inlinePEM("CERTIFICATE", own.Raw), PrivateKey: inlinePEM("PRIVATE KEY", der), TlsParams: p,
		}, "")
		return k.params, r.Issues
	}
	server := common{params: params{tls.VersionTLS12, tls.VersionTLS12, defaultCiphers, defaultCurves}}
	if got, issues := compile(server, nil); got != nil || issues != nil {
		t.Error(got, issues)
	}
	got, issues := compile(server, &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_0, EcdhCurves: []string{"P-384"}})
	if issues != nil || got.min != tls.VersionTLS10 || got.max != tls.VersionTLS12 || !slices.Equal(got.ciphers, defaultCiphers) || !slices.Equal(got.curves, []tls.CurveID{tls.CurveP384}) {
		t.Error(got, issues)
	}
	for want, p := range map[string]*tlsv3.TlsParameters{
		"tls_params: Per-certificate tls_params: effective min protocol version exceeds effective max": {TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3},
		"tls_params.cipher_suites[0]: Failed to initialize cipher suites nonsense":                     {CipherSuites: []string{"nonsense"}},
		"tls_params.ecdh_curves[1]: Failed to initialize ECDH curves nonsense":                         {EcdhCurves: []string{"P-256", "nonsense"}},
		"tls_params.signature_algorithms: not supported: ":                                             {SignatureAlgorithms: []string{"rsa_pss_rsae_sha256"}},
	} {
		if _, issues := compile(server, p); len(issues) != 1 || !strings.HasPrefix(issues[0].Path+": "+issues[0].Message, want) {
			t.Errorf("%s: %+v", want, issues)
		}
	}
	client := server
	client.stapling = noStapling
	if got, issues := compile(client, &tlsv3.TlsParameters{CipherSuites: []string{"nonsense"}}); got != nil || len(issues) != 1 || issues[0].Severity == extension.Error {
		t.Error(got, issues)
	}
}
