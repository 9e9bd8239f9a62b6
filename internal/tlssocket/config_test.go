package tlssocket

import (
	"strings"
	"testing"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ginnel/ginnel/extension"
)

const spiffePlace = "common_tls_context.validation_context.custom_validator_config.typed_config"

func spiffeConfig(fields string) string {
	return `{"validation_context":{"custom_validator_config":{"name":"envoy.tls.cert_validator.spiffe","typed_config":{` +
		`"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig",` + fields + `}}}}`
}

// What cannot be done is refused at its place, and so is what makes no sense.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ common, path, text string }{
		{`{}`, "common_tls_context", "No TLS certificates found"},
		{`{"tls_params":{"cipher_suites":["[ECDHE-RSA-AES128-GCM-SHA256|DES-CBC3-SHA]"]}}`, "common_tls_context.tls_params.cipher_suites[0]", "DES-CBC3-SHA"},
		{`{"tls_params":{"ecdh_curves":["P-224"]}}`, "common_tls_context.tls_params.ecdh_curves[0]", "P-224"},
		{`{"tls_params":{"signature_algorithms":["rsa_pss_rsae_sha256"]}}`, "common_tls_context.tls_params.signature_algorithms", "not supported: crypto/tls"},
		{`{"tls_params":{"tls_minimum_protocol_version":"TLSv1_3","tls_maximum_protocol_version":"TLSv1_2"}}`, "common_tls_context.tls_params", "above the maximum"},
		{`{"tls_certificate_sds_secret_configs":[{"name":"x"}]}`, "common_tls_context.tls_certificate_sds_secret_configs[0].name", "Unknown static secret"},
		{`{"tls_certificate_sds_secret_configs":[{"name":"x","sds_config":{"ads":{}}}]}`, "common_tls_context.tls_certificate_sds_secret_configs[0].sds_config.ads", "not supported yet"},
		{`{"tls_certificates":[{"certificate_chain":{"inline_string":"x"},"private_key":{"inline_string":"y"}}]}`, "common_tls_context.tls_certificates[0]", "Failed to load certificate chain from <inline>"},
		{`{"tls_certificates":[{"pkcs12":{"inline_string":"x"}}]}`, "common_tls_context.tls_certificates[0].pkcs12", "Failed to load pkcs12 from <inline>: "},
		{`{"tls_certificates":[{"password":{"inline_string":"x"}}]}`, "common_tls_context.tls_certificates[0]", "must have a certificate specified"},
		{`{"validation_context":{"trusted_ca":{"inline_string":"x"}}}`, "common_tls_context.validation_context.trusted_ca", "Failed to load trusted CA"},
		{`{"validation_context":{"verify_certificate_hash":["zz"]}}`, "common_tls_context.validation_context.verify_certificate_hash[0]", "Invalid hex-encoded"},
		{`{"validation_context":{"verify_certificate_spki":["zz"]}}`, "common_tls_context.validation_context.verify_certificate_spki[0]", "Invalid base64-encoded"},
		{`{"validation_context":{"match_typed_subject_alt_names":[{"san_type":"DNS","matcher":{"exact":"a"}}]}}`, "common_tls_context.validation_context", "without trusted CA is insecure"},
		{`{"validation_context":{"match_typed_subject_alt_names":[{"san_type":"OTHER_NAME","oid":"x","matcher":{"exact":"a"}}]}}`, "common_tls_context.validation_context.match_typed_subject_alt_names[0].oid", "Failed to create SAN matcher for OTHER_NAME with OID: x"},
		{`{"validation_context":{"allow_expired_certificate":true}}`, "common_tls_context.validation_context.allow_expired_certificate", "always ignored without trusted CA"},
		{`{"validation_context":{"system_root_certs":{},"allow_expired_certificate":true}}`, "common_tls_context.validation_context.allow_expired_certificate", "not supported with system_root_certs"},
		{spiffeConfig(`"trust_bundles":{"filename":"x"}`), spiffePlace + ".trust_bundles.filename", "open x: no such file"},
		{spiffeConfig(`"trust_bundles":{"inline_string":""}`), spiffePlace + ".trust_bundles", "DataSource cannot be empty"},
		{spiffeConfig(`"trust_bundles":{"inline_string":"{}"},"trust_domains":[{"name":"not looked at"}]`), spiffePlace + ".trust_bundles", "No trust domains found in SPIFFE bundle"},
		{spiffeConfig(`"trust_domains":[{"name":"a","trust_bundle":{"inline_string":"x"}}]`), spiffePlace + ".trust_domains[0].trust_bundle", "Failed to load trusted CA certificate for a from <inline>"},
		{spiffeConfig(`"trust_domains":[{"name":"a","workload_trust_domain":"b","trust_bundle":{"inline_string":"x"}}]`), spiffePlace + ".trust_domains[0].workload_trust_domain", "not supported yet"},
		{spiffeConfig(`"trust_domains":[{"trust_bundle":{"inline_string":"x"}}]`), spiffePlace + ".trust_domains[0].name", "at least 1 characters"},
		{spiffeConfig(`"trust_domains":[]`), spiffePlace + ".trust_domains", "at least 1"},
		{`{"tls_params":{"compliance_policies":["FIPS_202205"]}}`, "common_tls_context.tls_params.compliance_policies", "not supported: "},
		{`{"tls_certificate_sds_secret_configs":[{"name":"x","sds_config":{"path_config_source":{"path":"/does/not/exist"}}}]}`, "common_tls_context.tls_certificate_sds_secret_configs[0].sds_config", "paths must refer to an existing path in the system: '/does/not/exist' does not exist"},
		{`{"tls_certificates":[{"private_key":{"inline_string":"y"}}]}`, "common_tls_context.tls_certificates[0]", "certificate chain not set"},
		{`{"alpn_protocols":[""]}`, "common_tls_context.alpn_protocols[0]", "Invalid ALPN"},
		{`{"key_log":{}}`, "common_tls_context.key_log.path", "at least 1 characters"},
		{`{"key_log":{"path":"x","local_address_range":[{"address_prefix":"a"}]}}`, "common_tls_context.key_log.local_address_range[0].address_prefix", "malformed IP address: a"},
		{`{"key_log":{"path":"x","remote_address_range":[{"address_prefix":""}]}}`, "common_tls_context.key_log.remote_address_range[0].address_prefix", "malformed IP address"},
	} {
		m := new(tlsv3.DownstreamTlsContext)
		if err := protojson.Unmarshal([]byte(`{"common_tls_context":`+c.common+`}`), m); err != nil {
			t.Fatal(err)
		}
		var r extension.Report
		compileDownstream(extension.NewScope(&r, nil, nil), m)
		found := false
		for _, i := range r.Issues {
			found = found || i.Severity == extension.Error && i.Path == c.path && strings.Contains(i.Message, c.text)
		}
		if !found {
			t.Errorf("%s: %+v", c.common, r.Issues)
		}
	}
}

// A name that no ClientHello can hold is refused.
func TestServerNameRefused(t *testing.T) {
	for name, text := range map[string]string{strings.Repeat("a", 256): "at most 255 bytes", "a\x00b": "NULL-byte"} {
		var r extension.Report
		compileUpstream(extension.NewScope(&r, nil, nil), &tlsv3.UpstreamTlsContext{Sni: name})
		if len(r.Issues) != 1 || r.Issues[0].Path != "sni" || !strings.Contains(r.Issues[0].Message, text) {
			t.Errorf("%q: %+v", name, r.Issues)
		}
	}
}

func TestCipherNames(t *testing.T) {
	for name, id := range ciphers {
		if got := cipherName(id); got != name {
			t.Errorf("%s is called %s", name, got)
		}
	}
	if got := strings.Join(cipherNames("[A|B]"), " "); got != "A B" {
		t.Error(got)
	}
}

// That certificates are missing is said whatever else is wrong in a configuration.
func TestNoCertificatesAfterOtherErrors(t *testing.T) {
	var r extension.Report
	s := extension.NewScope(&r, nil, nil)
	s.Field("other").Errorf("wrong")
	compileDownstream(s, new(tlsv3.DownstreamTlsContext))
	if n := len(r.Issues); n != 2 || !strings.Contains(r.Issues[1].Message, "No TLS certificates found") {
		t.Errorf("%+v", r.Issues)
	}
}
