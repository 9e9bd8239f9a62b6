package admin_test

import (
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/filter"
)

// What is shown of certificates, in the form of Envoy's answer.
func TestCerts(t *testing.T) {
	from := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	f := newFake(t)
	f.certs = []filter.CertificatesInUse{{
		Authorities: []filter.CertificateInUse{{Path: "ca.pem", Certificate: &x509.Certificate{SerialNumber: big.NewInt(0x312), NotBefore: from, NotAfter: from.Add(time.Hour)}}},
		Own: []filter.CertificateInUse{{
			Path: "<inline>", OCSPFrom: from, OCSPUntil: from.Add(time.Hour),
			Certificate: &x509.Certificate{SerialNumber: big.NewInt(0xab), NotBefore: from, NotAfter: time.Now().Add(36 * time.Hour)},
		}},
	}, {}}
	got := decode(t, ask(newServer(f), "GET", "/certs").Body.Bytes())
	all := got["certificates"].([]any)
	first := all[0].(map[string]any)
	own := first["cert_chain"].([]any)[0].(map[string]any)
	delete(own, "expiration_time")
	want := []any{map[string]any{
		"ca_cert": []any{map[string]any{
			"path": "ca.pem", "serial_number": "0312", "subject_alt_names": []any{}, "days_until_expiration": "0",
			"valid_from": "2020-01-02T03:04:05Z", "expiration_time": "2020-01-02T04:04:05Z",
		}},
		"cert_chain": []any{map[string]any{
			"path": "<inline>", "serial_number": "ab", "subject_alt_names": []any{}, "days_until_expiration": "1", "valid_from": "2020-01-02T03:04:05Z",
			"ocsp_details": map[string]any{"valid_from": "2020-01-02T03:04:05Z", "expiration": "2020-01-02T04:04:05Z"},
		}},
	}, map[string]any{"ca_cert": []any{}, "cert_chain": []any{}}}
	if d := cmp.Diff(want, all); d != "" {
		t.Error(d)
	}
}
