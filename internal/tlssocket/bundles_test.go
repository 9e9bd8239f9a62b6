package tlssocket

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/stats/teststats"
)

// bundleText is the bundle of a domain.
func bundleText(certs ...*issued) string {
	var keys []string
	for _, c := range certs {
		keys = append(keys, fmt.Sprintf(`{"use":"x509-svid","kty":"EC","x5c":[%q]}`, base64.StdEncoding.EncodeToString(c.Raw)))
	}
	return fmt.Sprintf(`{"spiffe_sequence":1,"keys":[%s]}`, strings.Join(keys, ","))
}

// TestTrustBundleMap has the verdicts of Envoy 1.40.0.
func TestTrustBundleMap(t *testing.T) {
	one, two := issue(t, nil, authority), issue(t, nil, authority)
	x5c := base64.StdEncoding.EncodeToString(one.Raw)
	key := func(fields string) string { return `{"trust_domains":{"a":{"keys":[{` + fields + `}]}}}` }
	for text, want := range map[string]string{
		`not JSON`:                              "Invalid JSON found in SPIFFE bundle",
		`{"trust_domains":{"a":`:                "Invalid JSON found in SPIFFE bundle",
		`[]`:                                    "No trust domains found in SPIFFE bundle",
		`{}`:                                    "No trust domains found in SPIFFE bundle",
		`{"trust_domains":[]}`:                  "No trust domains found in SPIFFE bundle",
		`{"trust_domains":{}}`:                  "No trust domains found in SPIFFE bundle",
		`{"trust_domains":{"a":"x"}}`:           "No keys found in SPIFFE bundle for domain 'a'",
		`{"trust_domains":{"a":{}}}`:            "No keys found in SPIFFE bundle for domain 'a'",
		`{"trust_domains":{"a":{"keys":[]}}}`:   "No keys found in SPIFFE bundle for domain 'a'",
		`{"trust_domains":{"a":{"keys":{}}}}`:   "No keys found in SPIFFE bundle for domain 'a'",
		`{"trust_domains":{"a":{"keys":null}}}`: "No keys found in SPIFFE bundle for domain 'a'",
		`{"trust_domains":{"b":{},"a":` + bundleText(one) + `}}`:  "No keys found in SPIFFE bundle for domain 'b'",
		key(`"x5c":["` + x5c + `"]`):                              "missing or invalid 'use' field found in cert for domain 'a'",
		key(`"use":3,"x5c":["` + x5c + `"]`):                      "missing or invalid 'use' field found in cert for domain 'a'",
		key(`"use":"jwt-svid","x5c":["` + x5c + `"]`):             "missing or invalid 'use' field found in cert for domain 'a'",
		key(`"use":"x509-svid"`):                                  "missing or empty 'x5c' field found in keys for domain: 'a'",
		key(`"use":"x509-svid","x5c":[]`):                         "missing or empty 'x5c' field found in keys for domain: 'a'",
		key(`"use":"x509-svid","x5c":"` + x5c + `"`):              "missing or empty 'x5c' field found in keys for domain: 'a'",
		key(`"use":"x509-svid","x5c":[1]`):                        "missing or empty 'x5c' field found in keys for domain: 'a'",
		key(`"use":"x509-svid","x5c":["!"]`):                      "Failed to create x509 object while loading certs in domain 'a'",
		key(`"use":"x509-svid","x5c":["aGVsbG8="]`):               "Invalid x509 object in certs for domain 'a'",
		key(`"use":"x509-svid","x5c":["` + x5c + `","aGVsbG8="]`): "Invalid x509 object in certs for domain 'a'",
	} {
		if _, err := parseBundles(text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	got, err := parseBundles(`{"trust_domains":{"a":` + bundleText(one, two) + `,"b":` + bundleText(two) + `}}`)
	if err != nil || len(got) != 2 || len(got["a"]) != 2 || !got["a"][1].Equal(two.Certificate) || len(got["b"]) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

// A peer without a domain is not of one that has no name.
func TestDomainWithoutName(t *testing.T) {
	ca := issue(t, nil, authority)
	v := new(validation)
	v.domains = []trustDomain{{authorities: chainOf(ca), roots: v.pool(chainOf(ca))}}
	v.authorities = chainOf(ca)
	v.maxDepth = 100
	if good, err := v.verify(chainOf(issue(t, ca, nil)), x509.ExtKeyUsageClientAuth, askedNames{}); good || err == nil {
		t.Error("it is", err)
	}
}

// A watched file tells of its changes when the test says so.
type watched struct {
	t       *testing.T
	path    string
	changed func() error
	ended   int
}

func (*watched) Use(filter.SecretRef, func(proto.Message) (func(), error)) func() { return func() {} }

func (w *watched) Watch(path string, changed func() error) func() {
	w.path, w.changed = path, changed
	return func() { w.ended++ }
}

func (w *watched) write(text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// The file of the bundles is read again, whole or not at all, until its socket is closed.
func TestBundlesReadAgain(t *testing.T) {
	one, two := issue(t, nil, authority), issue(t, nil, authority)
	file := &watched{t: t, path: filepath.Join(t.TempDir(), "bundles.json")}
	file.write(`{"trust_domains":{"a":` + bundleText(one) + `}}`)
	name, err := json.Marshal(file.path)
	if err != nil {
		t.Fatal(err)
	}
	m := new(tlsv3.UpstreamTlsContext)
	if err := protojson.Unmarshal([]byte(`{"common_tls_context":`+spiffeConfig(`"trust_bundles":{"filename":`+string(name)+`}`)+`}`), m); err != nil {
		t.Fatal(err)
	}
	var r extension.Report
	u := compileUpstream(extension.NewScope(&r, nil, nil), m).(*upstream)
	if err := firstError(&r); err != nil {
		t.Fatal(err)
	}
	c := &client{plan: u, stats: newStats(teststats.New(), "client")}
	c.supply = newSupply(&u.common, c.stats, u.begins)
	c.supply.begin(file)
	trusts := func(ca *issued) bool {
		leaf := issue(t, ca, func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "a", Path: "/w"}} })
		good, _ := c.supply.now.Load().validation.verify(chainOf(leaf), x509.ExtKeyUsageServerAuth, askedNames{})
		return good
	}
	first := c.supply.now.Load()
	if err := file.changed(); err != nil || c.supply.now.Load() != first || !trusts(one) || trusts(two) {
		t.Error("before the change:", err)
	}
	file.write(`{"trust_domains":{"a":`)
	if err := file.changed(); err == nil || !strings.Contains(err.Error(), file.path+" are not taken: Invalid JSON") || !trusts(one) {
		t.Error("half of a file:", err)
	}
	file.write(`{"trust_domains":{"a":` + bundleText(two) + `}}`)
	if err := file.changed(); err != nil || trusts(one) || !trusts(two) {
		t.Error("after the change:", err)
	}
	if c.supply.now.Load().id == first.id {
		t.Error("sessions that began with other authorities go on")
	}
	c.Close()
	file.write(`{"trust_domains":{"a":` + bundleText(one) + `}}`)
	if err := file.changed(); err != nil || file.ended != 1 || trusts(one) {
		t.Error("after the end:", err, file.ended)
	}
}
