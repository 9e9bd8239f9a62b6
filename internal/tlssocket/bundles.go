package tlssocket

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/extension"
)

// bundles reads the trust domains of one source, a SPIFFE Trust Bundle Map. A file is read
// again when it has changed.
func (v *validation) bundles(s *extension.Scope, d *corev3.DataSource) {
	v.bundleFile = d.GetFilename()
	text, ok := read(s, d)
	if !ok {
		return
	}
	byDomain, err := parseBundles(text)
	if err != nil {
		s.Errorf("%v", err)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(byDomain)) {
		certs := byDomain[name]
		v.domains = append(v.domains, trustDomain{name: name, authorities: certs, roots: v.pool(certs)})
		v.authorities = append(v.authorities, certs...)
	}
}

// parseBundles reads a Trust Bundle Map, which holds for each domain a bundle in the form of
// SPIFFE (JWKS, of which x5c counts). The errors, and what is one, are Envoy's: also keys of
// other uses are.
func parseBundles(text string) (map[string][]*x509.Certificate, error) {
	if !json.Valid([]byte(text)) {
		return nil, errors.New("Invalid JSON found in SPIFFE bundle")
	}
	var doc struct {
		Domains map[string]json.RawMessage `json:"trust_domains"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Domains) == 0 {
		return nil, errors.New("No trust domains found in SPIFFE bundle")
	}
	out := make(map[string][]*x509.Certificate, len(doc.Domains))
	for _, name := range slices.Sorted(maps.Keys(doc.Domains)) {
		certs, err := parseBundle(name, doc.Domains[name])
		if err != nil {
			return nil, err
		}
		out[name] = certs
	}
	return out, nil
}

func parseBundle(domain string, text json.RawMessage) (certs []*x509.Certificate, err error) {
	var bundle struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &bundle); err != nil || len(bundle.Keys) == 0 {
		return nil, fmt.Errorf("No keys found in SPIFFE bundle for domain '%s'", domain)
	}
	for _, text := range bundle.Keys {
		var use struct {
			Use string `json:"use"`
		}
		if err := json.Unmarshal(text, &use); err != nil || use.Use != "x509-svid" {
			return nil, fmt.Errorf("missing or invalid 'use' field found in cert for domain '%s'", domain)
		}
		var key struct {
			Certificates []string `json:"x5c"`
		}
		if err := json.Unmarshal(text, &key); err != nil || len(key.Certificates) == 0 {
			return nil, fmt.Errorf("missing or empty 'x5c' field found in keys for domain: '%s'", domain)
		}
		for _, c := range key.Certificates {
			der, err := base64.StdEncoding.DecodeString(c)
			if err != nil {
				return nil, fmt.Errorf("Failed to create x509 object while loading certs in domain '%s'", domain)
			}
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, fmt.Errorf("Invalid x509 object in certs for domain '%s'", domain)
			}
			certs = append(certs, cert)
		}
	}
	return certs, nil
}
