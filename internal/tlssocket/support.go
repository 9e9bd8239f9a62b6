package tlssocket

import (
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
)

const alwaysEnforced = "key usage is always enforced, as by Envoy since 1.39"

var (
	commonFields = extension.Fields{
		Message: &tlsv3.CommonTlsContext{},
		Obeyed: []string{"tls_params", "tls_certificates", "tls_certificate_sds_secret_configs", "validation_context",
			"validation_context_sds_secret_config", "combined_validation_context", "alpn_protocols", "key_log"},
	}
	keyLogFields = extension.Fields{
		Message: &tlsv3.TlsKeyLog{},
		Obeyed:  []string{"path", "local_address_range", "remote_address_range"},
	}
	paramsFields = extension.Fields{
		Message: &tlsv3.TlsParameters{},
		Obeyed:  []string{"tls_minimum_protocol_version", "tls_maximum_protocol_version", "cipher_suites", "ecdh_curves"},
		Refused: map[string]string{
			"signature_algorithms": "crypto/tls has a list of its own",
			"compliance_policies":  "crypto/tls complies as a whole process (GODEBUG=fips140=on), and has no list of signature algorithms",
		},
	}
	certificateFields = extension.Fields{
		Message: &tlsv3.TlsCertificate{},
		Obeyed:  []string{"certificate_chain", "private_key", "pkcs12", "password", "ocsp_staple", "tls_params"},
		Refused: map[string]string{
			"private_key_provider":         "it calls for hardware or libraries of BoringSSL",
			"signed_certificate_timestamp": "Envoy does not look at it either",
		},
		Ignored: map[string]string{"watched_directory": "it is for secrets that a source delivers, whose files are read again"},
	}
	validationFields = extension.Fields{
		Message: &tlsv3.CertificateValidationContext{},
		Obeyed: []string{"trusted_ca", "system_root_certs", "verify_certificate_spki", "verify_certificate_hash",
			"match_typed_subject_alt_names", "match_subject_alt_names", "crl", "allow_expired_certificate",
			"trust_chain_verification", "only_verify_leaf_cert_crl", "max_verify_depth", "suppress_client_ca_list",
			"custom_validator_config"},
		Ignored:  map[string]string{"watched_directory": "it is for secrets that a source delivers, whose files are read again"},
		Defaults: map[string]string{"require_signed_certificate_timestamp": "false"},
		Refused:  map[string]string{"require_signed_certificate_timestamp": "Envoy does not look at it either"},
	}
	spiffeFields = extension.Fields{
		Message: &tlsv3.SPIFFECertValidatorConfig{},
		Obeyed:  []string{"trust_domains", "trust_bundles"},
	}
	trustDomainFields = extension.Fields{
		Message: &tlsv3.SPIFFECertValidatorConfig_TrustDomain{},
		Obeyed:  []string{"name", "trust_bundle"},
	}
	combinedFields = extension.Fields{
		Message: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{},
		Obeyed:  []string{"default_validation_context", "validation_context_sds_secret_config"},
	}
	sanFields = extension.Fields{
		Message: &tlsv3.SubjectAltNameMatcher{},
		Obeyed:  []string{"san_type", "matcher", "oid"},
	}
	secretConfigFields = extension.Fields{
		Message: &tlsv3.SdsSecretConfig{},
		Obeyed:  []string{"name", "sds_config"},
	}
	downstreamFields = extension.Fields{
		Message: &tlsv3.DownstreamTlsContext{},
		Obeyed: []string{"common_tls_context", "require_client_certificate", "session_ticket_keys",
			"session_ticket_keys_sds_secret_config", "disable_stateless_session_resumption", "session_timeout",
			"full_scan_certs_on_sni_mismatch", "ocsp_staple_policy"},
		Ignored: map[string]string{
			"disable_stateful_session_resumption": "sessions are kept in tickets alone",
			"prefer_client_ciphers":               "crypto/tls has an order of its own",
		},
		Defaults: map[string]string{"require_sni": "false"},
		Refused:  map[string]string{"require_sni": "Envoy does not look at it either; filter_chain_match.server_names asks for a name"},
	}
	ticketFields = extension.Fields{
		Message: &tlsv3.TlsSessionTicketKeys{},
		Obeyed:  []string{"keys"},
	}
	upstreamFields = extension.Fields{
		Message: &tlsv3.UpstreamTlsContext{},
		Obeyed: []string{"common_tls_context", "sni", "auto_host_sni", "auto_sni_san_validation", "allow_renegotiation",
			"max_session_keys"},
		Ignored: map[string]string{"enforce_rsa_key_usage": alwaysEnforced},
	}
)

// Support lists what is obeyed of each message.
func Support() []*extension.Fields {
	return []*extension.Fields{&commonFields, &keyLogFields, &paramsFields, &certificateFields, &validationFields, &combinedFields,
		&spiffeFields, &trustDomainFields,
		&sanFields, &secretConfigFields, &downstreamFields, &ticketFields, &upstreamFields}
}
