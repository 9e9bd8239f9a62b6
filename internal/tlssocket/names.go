package tlssocket

import (
	"crypto/tls"
	"reflect"
	"strings"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// versions are Envoy's names of protocol versions.
var versions = map[tlsv3.TlsParameters_TlsProtocol]uint16{
	tlsv3.TlsParameters_TLSv1_0: tls.VersionTLS10, tlsv3.TlsParameters_TLSv1_1: tls.VersionTLS11,
	tlsv3.TlsParameters_TLSv1_2: tls.VersionTLS12, tlsv3.TlsParameters_TLSv1_3: tls.VersionTLS13,
}

// ciphers are BoringSSL's names of the suites of TLS 1.2 and before that crypto/tls has.
var ciphers = map[string]uint16{
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	"ECDHE-RSA-AES128-SHA256":       tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
	"AES128-GCM-SHA256":             tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	"AES256-GCM-SHA384":             tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	"AES128-SHA":                    tls.TLS_RSA_WITH_AES_128_CBC_SHA,
	"AES256-SHA":                    tls.TLS_RSA_WITH_AES_256_CBC_SHA,
}

// defaultCiphers are Envoy's.
var defaultCiphers = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
}

// curves are BoringSSL's names of key exchanges, with those it takes as well.
var curves = map[string]tls.CurveID{
	"X25519": tls.X25519, "P-256": tls.CurveP256, "P-384": tls.CurveP384, "P-521": tls.CurveP521,
	"x25519": tls.X25519, "prime256v1": tls.CurveP256, "secp384r1": tls.CurveP384, "secp521r1": tls.CurveP521,
	"X25519MLKEM768": tls.X25519MLKEM768,
}

var defaultCurves = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256}

func versionName(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "TLSv1"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return ""
}

// cipherName returns BoringSSL's name; the suites of TLS 1.3 go by those of the RFC.
func cipherName(id uint16) string { return namesOfCiphers[id] }

var namesOfCiphers = func() map[uint16]string {
	names := make(map[uint16]string)
	for _, c := range tls.CipherSuites() {
		names[c.ID] = c.Name
	}
	for name, id := range ciphers {
		names[id] = name
	}
	return names
}()

func curveName(id tls.CurveID) string {
	for _, name := range []string{"X25519", "P-256", "P-384", "P-521", "X25519MLKEM768"} {
		if curves[name] == id {
			return name
		}
	}
	return ""
}

// cipherNames splits an entry of cipher_suites: groups of equal preference are listed in
// brackets.
func cipherNames(entry string) []string {
	return strings.FieldsFunc(entry, func(r rune) bool { return r == '[' || r == ']' || r == '|' || r == ':' })
}

// signatures are BoringSSL's names.
var signatures = map[tls.SignatureScheme]string{
	tls.PKCS1WithSHA1: "rsa_pkcs1_sha1", tls.PKCS1WithSHA256: "rsa_pkcs1_sha256", tls.PKCS1WithSHA384: "rsa_pkcs1_sha384",
	tls.PKCS1WithSHA512: "rsa_pkcs1_sha512", tls.PSSWithSHA256: "rsa_pss_rsae_sha256", tls.PSSWithSHA384: "rsa_pss_rsae_sha384",
	tls.PSSWithSHA512: "rsa_pss_rsae_sha512", tls.ECDSAWithSHA1: "ecdsa_sha1",
	tls.ECDSAWithP256AndSHA256: "ecdsa_secp256r1_sha256", tls.ECDSAWithP384AndSHA384: "ecdsa_secp384r1_sha384",
	tls.ECDSAWithP521AndSHA512: "ecdsa_secp521r1_sha512", tls.Ed25519: "ed25519",
}

// peerSigned names the algorithm by which the peer has signed the handshake; "": it has
// not. crypto/tls keeps it for its own tests: without that field nothing is known
// (TestPeerSigned tells).
func peerSigned(cs *tls.ConnectionState) string {
	f := reflect.ValueOf(cs).Elem().FieldByName("testingOnlyPeerSignatureAlgorithm")
	if !f.IsValid() || f.Kind() != reflect.Uint16 {
		return ""
	}
	return signatures[tls.SignatureScheme(f.Uint())]
}
