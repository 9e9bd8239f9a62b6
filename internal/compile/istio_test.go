package compile_test

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/compile"
	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/plan"
)

type (
	obj  = map[string]any
	list = []any
)

// notYet is what istiod sends to listeners and ginnel does not take yet: where, and what is
// said of it. What stands at the part of the path in parentheses is cut out.
var notYet = []struct {
	path    *regexp.Regexp
	message string
	why     string
	used    bool
}{
	{path: routes, why: "routes come from istiod: with ADS"},
	{path: secret, why: "certificates come from istiod: with SDS"},
	{path: tracing, why: "tracing, with its spans and reporters"},
	{path: httpFilter, message: "peer_metadata.Config", why: "Istio's own"},
	{path: httpFilter, message: "http.alpn.v2alpha1", why: "Istio's own"},
	{path: httpFilter, message: "stats.PluginConfig", why: "Istio's own"},
	{path: networkFilter, message: "MetadataExchange", why: "Istio's own"},
	{path: networkFilter, message: "stats.PluginConfig", why: "Istio's own"},
	{path: httpFilter, message: "http.ext_authz", why: "HTTP filters that call out"},
	{path: httpFilter, message: "jwt_authn", why: "HTTP filters that call out"},
	{path: logger, message: "open_telemetry", why: "telemetry by gRPC"},
	{path: logFilter, message: "cel.v3", why: "CEL"},
}

var (
	routes        = regexp.MustCompile(`^(.*\.rds)\b`)
	secret        = regexp.MustCompile(`^(.*\.sds_config)\b`)
	tracing       = regexp.MustCompile(`^(.*\.tracing)$`)
	httpFilter    = regexp.MustCompile(`^(.*\.http_filters\[\d+\])\.typed_config$`)
	networkFilter = regexp.MustCompile(`^(.*\.filters\[\d+\])\.typed_config$`)
	logger        = regexp.MustCompile(`^(.*\.access_log\[\d+\])\.typed_config$`)
	logFilter     = regexp.MustCompile(`^(.*\.access_log\[\d+\])\.filter\.extension_filter\.typed_config$`)
)

// Every listener that a real istiod sends compiles as it was sent, but for what notYet
// names; and all of it without those.
func TestIstio(t *testing.T) {
	files, err := filepath.Glob("../../testdata/istio/*.json")
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			all := resources(t, file)
			cut := expected(t, faults(t, all, nil))
			for _, path := range cut {
				remove(t, all, path)
			}
			p := new(plan.Server)
			for _, i := range faults(t, all, p) {
				t.Errorf("%s: %s", i.Path, i.Message)
			}
			for _, l := range p.Listeners {
				if len(l.Chains) == 0 {
					t.Errorf("%s has no chains", l.Info.Name)
				}
				if l.Info.Name == "main_internal" && (l.Matcher == nil || !l.Internal) {
					t.Errorf("%s chooses no chain by a matcher", l.Info.Name)
				}
			}
			if want := len(all["static_resources"].(obj)["listeners"].(list)); len(p.Listeners) != want {
				t.Errorf("%d listeners of %d", len(p.Listeners), want)
			}
		})
	}
	for _, n := range notYet {
		if !n.used {
			t.Errorf("nothing is said of %s %q (%s) any more: its row can go", n.path, n.message, n.why)
		}
	}
}

// resources is a bootstrap of the listeners in a file, and of clusters and secrets of the
// names that they mention.
func resources(t *testing.T, file string) obj {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var sent struct {
		Resources list `json:"resources"`
	}
	if err := json.Unmarshal(text, &sent); err != nil {
		t.Fatal(err)
	}
	var clusters list
	for _, name := range slices.Compact(slices.Sorted(slices.Values(clusterNames(sent.Resources)))) {
		clusters = append(clusters, obj{"name": name})
	}
	return obj{
		"static_resources": obj{"listeners": sent.Resources, "clusters": clusters, "secrets": secrets(t)},
		"bootstrap_extensions": list{obj{"name": "internal", "typed_config": obj{
			"@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"}}},
	}
}

// secrets stand in place of those that istiod would send.
func secrets(t *testing.T) list {
	t.Helper()
	s := httptest.NewTLSServer(nil) // for its certificate
	defer s.Close()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) obj {
		return obj{"inline_string": string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))}
	}
	cert := text("CERTIFICATE", s.Certificate().Raw)
	own := obj{"certificate_chain": cert, "private_key": text("PRIVATE KEY", key)}
	return list{
		obj{"name": "default", "tls_certificate": own}, obj{"name": "kubernetes://a-cert", "tls_certificate": own},
		obj{"name": "ROOTCA", "validation_context": obj{"trusted_ca": cert}},
	}
}

// clusterNames are those that a configuration mentions, some of them several times.
func clusterNames(v any) (all []string) {
	switch v := v.(type) {
	case list:
		for _, x := range v {
			all = append(all, clusterNames(x)...)
		}
	case obj:
		for k, x := range v {
			if name, ok := x.(string); ok && (k == "cluster" || k == "cluster_name") {
				all = append(all, name)
			}
			all = append(all, clusterNames(x)...)
		}
	}
	return all
}

// faults compiles a bootstrap into p, nil: nowhere, and returns what is wrong with it.
func faults(t *testing.T, bootstrap obj, p *plan.Server) (errors []extension.Issue) {
	t.Helper()
	text, err := json.Marshal(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := config.Load(config.Input{Path: "istio.json", Data: text})
	if err != nil {
		t.Fatal(err)
	}
	compiled, report := compile.Bootstrap(doc.Message.(*bootstrapv3.Bootstrap), builtin.Registry(), config.Unpack, compile.Options{})
	if p != nil && compiled != nil {
		*p = *compiled
	}
	return slices.DeleteFunc(report.Issues, func(i extension.Issue) bool { return i.Severity != extension.Error })
}

// expected returns where a configuration has to be cut, from its end to its beginning, and
// reports faults that no row of notYet stands for.
func expected(t *testing.T, faults []extension.Issue) (cut []string) {
	t.Helper()
next:
	for _, i := range faults {
		for n := range notYet {
			row := &notYet[n]
			if at := row.path.FindStringSubmatch(i.Path); at != nil && strings.Contains(i.Message, row.message) {
				row.used = true
				cut = append(cut, at[1])
				continue next
			}
		}
		t.Errorf("%s: %s", i.Path, i.Message)
	}
	slices.SortFunc(cut, func(a, b string) int { return -slices.CompareFunc(steps(a), steps(b), compareSteps) })
	return slices.Compact(cut)
}

// steps are the names and numbers of a path.
func steps(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) })
}

func compareSteps(a, b string) int {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(a, b)
}

// remove takes what stands at a path out of v.
func remove(t *testing.T, v any, path string) {
	t.Helper()
	if _, err := without(v, steps(path)); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// without returns v without what stands at a path. Route tables from elsewhere make place
// for an empty one.
func without(v any, path []string) (any, error) {
	switch v := v.(type) {
	case obj:
		inner, ok := v[path[0]]
		if !ok {
			return nil, fmt.Errorf("no %s", path[0])
		}
		if len(path) == 1 {
			delete(v, path[0])
			if path[0] == "rds" {
				v["route_config"] = obj{}
			}
			return v, nil
		}
		left, err := without(inner, path[1:])
		v[path[0]] = left
		return v, err
	case list:
		i, err := strconv.Atoi(path[0])
		if err != nil || i >= len(v) {
			return nil, fmt.Errorf("no place %s in a list of %d", path[0], len(v))
		}
		if len(path) == 1 {
			return slices.Delete(v, i, i+1), nil
		}
		left, err := without(v[i], path[1:])
		v[i] = left
		return v, err
	}
	return nil, fmt.Errorf("nothing below %v", v)
}
