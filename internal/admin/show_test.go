package admin_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/internal/admin"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/secret"
	"github.com/ginnel/ginnel/internal/stats"
)

// TestLogging has the texts of Envoy 1.40.0.
func TestLogging(t *testing.T) {
	const usage = `
usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
usage: /logging?group=<group_name>:<level> (change group of loggers)
levels: trace debug info warning error critical off 
`
	list := func(a, c, u string) string {
		return "active loggers:\n  admin: " + a + "\n  config: " + c + "\n  upstream: " + u + "\n\n"
	}
	all := func(l string) string { return list(l, l, l) }
	s := newServer(newFake(t))
	for _, c := range []struct {
		query  string
		status int
		want   string
	}{
		{"", 200, all("info")},
		{"?level=", 200, all("info")},
		{"?paths=", 200, all("info")},
		{"?level=loud", 400, "error: unknown logger level\n" + usage + all("info")},
		{"?level=warn", 400, "error: unknown logger level\n" + usage + all("info")},
		{"?nobody=debug", 400, "error: unknown logger name\n" + usage + all("info")},
		{"?admin=loud", 400, "error: unknown logger level\n" + usage + all("info")},
		{"?admin=", 400, "error: empty logger name or empty logger level\n" + usage + all("info")},
		{"?group=x:info", 400, "error: group parameter requires fine-grain logging to be enabled\n" + usage + all("info")},
		{"?level=debug&admin=debug", 400, "error: invalid number of parameters\n" + usage + all("info")},
		{"?paths=admin:debug,nobody:debug", 400, "error: unknown logger name\n" + usage + all("info")},
		{"?paths=admin:debug,config:loud", 400, "error: unknown logger level\n" + usage + all("info")},
		{"?paths=admin", 400, "error: empty logger name or empty logger level\n" + usage + all("info")},
		{"?level=debug", 200, all("debug")},
		{"?admin=trace", 200, list("trace", "debug", "debug")},
		{"?paths=admin:off,config:warning", 200, list("off", "warning", "debug")},
	} {
		if w := ask(s, "POST", "/logging"+c.query); w.Code != c.status || w.Body.String() != c.want {
			t.Errorf("%s: %d\n%s", c.query, w.Code, cmp.Diff(c.want, w.Body.String()))
		}
	}
	none := admin.New(admin.Options{Proxy: newFake(t), Stats: stats.New(stats.Options{})})
	if w := ask(none, "POST", "/logging?level=debug"); w.Code != 400 {
		t.Errorf("without loggers: %d %q", w.Code, w.Body)
	}
}

const secrets = `
static_resources:
  secrets:
  - {name: s1, tls_certificate: {certificate_chain: {inline_string: chain}, private_key: {inline_string: hush}, password: {filename: hush}}}
  - {name: s2, generic_secret: {secret: {inline_bytes: aHVzaA==}, secrets: {k: {inline_string: hush}}}}
  clusters:
  - name: any
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context: {tls_certificates: [{certificate_chain: {filename: chain}, private_key: {filename: hush}}]}
  - name: struct
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/xds.type.v3.TypedStruct
        type_url: type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        value: {sni: shown, common_tls_context: {tls_certificates: [{certificate_chain: {filename: chain}, private_key: {filename: hush}}]}}
  - name: old-struct
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/udpa.type.v1.TypedStruct
        type_url: type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        value: {commonTlsContext: {tlsCertificates: [{privateKey: {inlineString: hush}}]}}
  - name: unknown-struct
    transport_socket:
      name: x
      typed_config: {"@type": type.googleapis.com/xds.type.v3.TypedStruct, type_url: type.googleapis.com/no.Such, value: {a: shown}}
`

// TestRedaction finds nothing sensitive in any dump, and everything else.
func TestRedaction(t *testing.T) {
	f := fakeOf(t, []byte(secrets))
	inline := func(text string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte(text)}}
	}
	f.secrets = []secret.State{
		{Name: "s3", Version: "7", Secret: &tlsv3.Secret{Name: "s3", Type: &tlsv3.Secret_TlsCertificate{
			TlsCertificate: &tlsv3.TlsCertificate{CertificateChain: inline("chain"), PrivateKey: inline("hush")}}}},
		{Name: "s4"},
	}
	s := newServer(f)
	for _, query := range []string{"", "?resource=static_clusters", "?resource=static_secrets", "?mask=bootstrap", "?resource=static_clusters&mask=cluster.transport_socket"} {
		got := ask(s, "GET", "/config_dump"+query).Body.String()
		if strings.Contains(got, "hush") || strings.Contains(got, "aHVzaA==") {
			t.Errorf("%s tells secrets:\n%s", query, got)
		}
	}
	got := ask(s, "GET", "/config_dump").Body.String()
	for want, n := range map[string]int{
		`"filename": "chain"`:                2 * 2, // of the two clusters, in the bootstrap and by themselves
		`"inline_string": "chain"`:           2,
		`"a": "shown"`:                       2,
		`"sni": "shown"`:                     2,
		`"inline_bytes": "W3JlZGFjdGVkXQ=="`: 3, // as Envoy writes [redacted]
		`"version_info": "7"`:                1,
		`"version_info": "uninitialized"`:    1,
		`"[redacted]"`:                       2*3 + 2*3,
	} {
		if strings.Count(got, want) != n {
			t.Errorf("%d times %s, want %d, in\n%s", strings.Count(got, want), want, n, got)
		}
	}
}

func network(t *testing.T) *fake {
	f := newFake(t)
	f.inproc = inproc.Stats{NoListener: 5, HopLimit: 6, Names: []inproc.Counts{
		{Name: "hop1", HandedOver: 2, Refused: 1}, {Name: "hop2", Piped: 3},
	}}
	start := time.Now().Add(-90 * time.Second)
	f.conns = []admin.InprocConn{
		{ID: 9, ChainID: 0xabc, Path: []string{"out", "hop1", "hop2"}, Start: start, Piped: true, Received: 10, Sent: 20, BufferedIn: 1, BufferedOut: 2},
		{ID: 8, ChainID: 0xabc, Path: []string{"out", "hop1"}, Start: start, Received: 10, Sent: 22},
		{ID: 4, ChainID: 7, Path: []string{"gone"}, Start: start, Piped: true},
		{ID: 3, ChainID: 0xdef, Path: []string{"out", "hop1"}, Start: start},
	}
	return f
}

func TestInproc(t *testing.T) {
	s := newServer(network(t))
	d := decode(t, ask(s, "GET", "/inproc").Body.Bytes())
	want := map[string]any{
		"listeners": 3., "open": 4., "handed_over": 2., "piped": 3., "refused": 1.,
		"received_bytes": 20., "sent_bytes": 42., "buffered_bytes": 3., "no_listener": 5., "hop_limit_exceeded": 6.,
	}
	if diff := cmp.Diff(want, d["totals"]); diff != "" {
		t.Errorf("totals:\n%s", diff)
	}
	var got struct {
		Listeners []struct {
			Name        string
			Active      bool
			Open        int
			Connections []struct {
				ID         int
				ChainID    string `json:"chain_id"`
				Path       []string
				Depth      int
				From       string
				HandedOver bool `json:"handed_over"`
				AgeMS      int  `json:"age_ms"`
			}
		}
	}
	if err := json.Unmarshal(ask(s, "GET", "/inproc").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	l := got.Listeners
	if len(l) != 3 || l[0].Name != "gone" || l[0].Active || l[1].Name != "hop1" || !l[1].Active || l[1].Open != 2 || l[2].Name != "hop2" {
		t.Fatalf("listeners: %+v", l)
	}
	if c := l[1].Connections; c[0].ID != 3 || c[1].ID != 8 || !c[1].HandedOver || c[1].From != "out" || c[1].Depth != 1 || c[1].ChainID != "0000000000000abc" || c[1].AgeMS < 90000 {
		t.Errorf("hop1: %+v", c)
	}
	if c := l[0].Connections; c[0].From != "" || c[0].Depth != 0 || c[0].HandedOver {
		t.Errorf("gone: %+v", c)
	}
}

func TestInprocParameters(t *testing.T) {
	s := newServer(network(t))
	if got := ask(s, "GET", "/inproc?format=text&listener=hop1&limit=1").Body.String(); !strings.HasPrefix(got, `1 listeners, 2 open connections: 10 bytes received, 22 sent, 0 buffered
2 handed over, 0 piped, 1 refused, 5 without a listener, 6 over the hop limit

hop1: 2 open, 2 handed over, 0 piped, 1 refused
  3 chain 0000000000000def out -> hop1: handed over, 1m30`) || !strings.HasSuffix(got, "\n  and 1 more\n") {
		t.Errorf("text:\n%s", got)
	}
	if got := ask(s, "GET", "/inproc?format=text").Body.String(); !strings.Contains(got, "gone: 1 open, 0 handed over, 0 piped, 0 refused, removed\n  4 chain 0000000000000007 gone: piped, 1m30") {
		t.Errorf("text:\n%s", got)
	}
	if got := decode(t, ask(s, "GET", "/inproc?listener=nobody").Body.Bytes()); len(got["listeners"].([]any)) != 0 {
		t.Errorf("nobody: %v", got)
	}
	for _, bad := range []string{"-1", "x"} {
		if w := ask(s, "GET", "/inproc?limit="+bad); w.Code != 400 {
			t.Errorf("limit=%s: %d", bad, w.Code)
		}
	}
	empty := newServer(newFake(t))
	if got := ask(empty, "GET", "/inproc").Body.String(); !strings.Contains(got, `"listeners": []`) {
		t.Errorf("empty: %s", got)
	}
}
