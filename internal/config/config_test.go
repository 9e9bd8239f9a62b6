package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	xdstypev3 "github.com/cncf/xds/go/xds/type/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/internal/config"
)

// load expects a configuration without a fault.
func load(t *testing.T, in config.Input) (*config.Document, *bootstrapv3.Bootstrap) {
	t.Helper()
	doc, err := config.Load(in)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := doc.Message.(*bootstrapv3.Bootstrap)
	return doc, b
}

// faults expects Issues.
func faults(t *testing.T, in config.Input) config.Issues {
	t.Helper()
	doc, err := config.Load(in)
	var is config.Issues
	if !errors.As(err, &is) {
		t.Fatalf("got error %v, want issues", err)
	}
	if doc == nil {
		t.Error("no document beside the issues")
	}
	return is
}

func TestSamplesOfUsersLoad(t *testing.T) {
	files, _ := filepath.Glob("testdata/origin/*")
	istio, _ := filepath.Glob("testdata/istio/*")
	if len(files) < 3 || len(istio) < 1 {
		t.Fatal("samples are missing")
	}
	for _, file := range append(files, istio...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			doc, b := load(t, config.Input{Path: file})
			if len(doc.Warnings) > 0 {
				t.Error(doc.Warnings)
			}
			if len(b.GetStaticResources().GetClusters()) == 0 {
				t.Error("no clusters")
			}
		})
	}
}

func TestFormatByExtension(t *testing.T) {
	const (
		yaml = "node:\n  id: a\n"
		json = `{"node": {"id": "a"}}`
		text = `node { id: "a" }`
	)
	binary, err := proto.Marshal(&bootstrapv3.Bootstrap{Node: nodeNamed("a")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, data string
		ok         bool
	}{
		{"f.yaml", yaml, true}, {"f.yml", yaml, true}, {"f.YAML", yaml, true}, {"f.yaml", json, true},
		{"f.yaml", "\ufeff" + yaml, true}, {"f.yaml", text, false},
		{"f.json", json, true}, {"f.JSON", "\ufeff" + json, true}, {"f.json", yaml, false}, {"f.json", text, false},
		{"f.pb", string(binary), true}, {"f.pb", json, false},
		{"f.pb_text", text, true}, {"f.textproto", text, true}, {"f.pbtxt", text, true},
		{"f.textproto", json, true}, // as Envoy reads it
		{"f.pb_text", yaml, false},
		{"f.conf", json, true}, {"f.conf", yaml, true}, {"f", json, true}, {"f.conf", text, false},
		{"body", yaml, true}, {"body", json, true}, {"body", text, false}, // of no file
	} {
		doc, err := config.Load(config.Input{Path: c.name, Data: []byte(c.data)})
		if (err == nil) != c.ok {
			t.Errorf("%s with %q: %v", c.name, c.data, err)
		}
		if c.ok && err == nil && doc.Message.(*bootstrapv3.Bootstrap).GetNode().GetId() != "a" {
			t.Errorf("%s with %q: not read", c.name, c.data)
		}
		if c.name == "body" && err == nil && len(doc.Warnings) > 0 {
			t.Errorf("%s with %q: %v", c.name, c.data, doc.Warnings)
		}
	}
}

func TestNothingToLoad(t *testing.T) {
	if _, err := config.Load(config.Input{}); !errors.Is(err, config.ErrNoInput) {
		t.Error(err)
	}
	if _, err := config.Load(config.Input{Path: "testdata/none.yaml"}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if doc, err := config.Load(config.Input{Data: make([]byte, config.MaxBytes+1)}); err == nil || doc != nil {
		t.Error("a file larger than the limit was read")
	}
	for _, text := range []string{"", "# nothing\n", "null\n", "---\n"} {
		if is := faults(t, config.Input{Path: "f.yaml", Data: []byte(text)}); !strings.Contains(is.Error(), "empty configuration") {
			t.Errorf("%q: %v", text, is)
		}
	}
}

const positions = `node: {id: a, metadata: {k: [x, y]}}
static_resources:
  clusters:
  - name: up
    type: STATIC
    metadata:
      filter_metadata:
        envoy.lb: {canary: true}
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: 1}}
    filterChains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: in
          cluster: up
      - name: wrapped
        typed_config:
          "@type": type.googleapis.com/xds.type.v3.TypedStruct
          type_url: envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          value: {stat_prefix: in, cluster: up}
`

func TestPos(t *testing.T) {
	doc, _ := load(t, config.Input{Path: "f.yaml", Data: []byte(positions)})
	const filters = "static_resources.listeners[0].filter_chains[0].filters"
	for _, c := range []struct{ path, want string }{
		{"", "f.yaml:1:1"},
		{"node.id", "f.yaml:1:12"},
		{"node.metadata", "f.yaml:1:15"},
		{`node.metadata["k"][1]`, "f.yaml:1:33"},
		{"static_resources", "f.yaml:2:1"},
		{"static_resources.clusters", "f.yaml:3:3"},
		{"static_resources.clusters[0]", "f.yaml:4:5"},
		{"static_resources.clusters[0].name", "f.yaml:4:11"},
		{"static_resources.clusters[0].no_such.field[3]", "f.yaml:4:5"},
		{"static_resources.clusters[7].name", "f.yaml:3:3"},
		{`static_resources.clusters[0].metadata.filter_metadata["envoy.lb"]["canary"]`, "f.yaml:8:28"},
		{`static_resources.clusters[0].metadata.filter_metadata["other"]`, "f.yaml:7:7"},
		{"static_resources.listeners[0].filter_chains", "f.yaml:12:5"},
		{filters + "[0].typed_config", "f.yaml:15:9"},
		{filters + "[0].typed_config.cluster", "f.yaml:18:20"},
		{filters + "[1].typed_config.cluster", "f.yaml:23:45"},
	} {
		pos, ok := doc.Pos(c.path)
		if !ok || pos.String() != c.want {
			t.Errorf("%s: got %s, want %s", c.path, pos, c.want)
		}
	}
	if !doc.FromTypedStruct(filters+"[1].typed_config") || doc.FromTypedStruct(filters+"[0].typed_config") {
		t.Error("which Any was a TypedStruct is not known")
	}
}

func TestTypedStructBecomesItsType(t *testing.T) {
	_, b := load(t, config.Input{Path: "f.yaml", Data: []byte(positions)})
	for i, f := range b.StaticResources.Listeners[0].FilterChains[0].Filters {
		m, err := config.Unpack(f.GetTypedConfig())
		if err != nil {
			t.Fatal(err)
		}
		if got := m.(*tcpproxyv3.TcpProxy).GetCluster(); got != "up" {
			t.Errorf("filter %d: cluster %q", i, got)
		}
		if url := f.GetTypedConfig().TypeUrl; url != "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" {
			t.Errorf("filter %d: %s", i, url)
		}
	}
}

func TestOverrideMerges(t *testing.T) {
	file := `node: {id: a, cluster: c, metadata: {m: {x: 1}, n: 1}}
use_tcp_for_dns_lookups: true
static_resources:
  clusters:
  - {name: one, type: STATIC, connect_timeout: 1s}
`
	override := `node:
  id: b
  metadata: {m: {y: 2}}
use_tcp_for_dns_lookups: false
static_resources: {clusters: [{name: two, type: STATIC}]}
`
	doc, got := load(t, config.Input{Path: "f.yaml", Data: []byte(file), Override: override})
	want := &bootstrapv3.Bootstrap{}
	// As Envoy 1.40.0 dumps it: false is the default and does not replace true.
	err := prototext.Unmarshal([]byte(`
		node { id: "b" cluster: "c" metadata {
			fields { key: "m" value { struct_value { fields { key: "y" value { number_value: 2 } } } } }
			fields { key: "n" value { number_value: 1 } } } }
		use_tcp_for_dns_lookups: true
		static_resources {
			clusters { name: "one" type: STATIC connect_timeout { seconds: 1 } }
			clusters { name: "two" type: STATIC } }`), want)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for path, want := range map[string]string{
		"node.id":                           "--config-yaml:2:7",
		"node.cluster":                      "f.yaml:1:24",
		"node.user_agent_name":              "f.yaml:1:1",
		`node.metadata["m"]["y"]`:           "--config-yaml:3:21",
		`node.metadata["m"]["x"]`:           "--config-yaml:3:14",
		`node.metadata["n"]`:                "f.yaml:1:52",
		"static_resources.clusters[0].name": "f.yaml:5:12",
		"static_resources.clusters[1].name": "--config-yaml:5:38",
	} {
		if pos, _ := doc.Pos(path); pos.String() != want {
			t.Errorf("%s: got %s, want %s", path, pos, want)
		}
	}
}

// What a protobuf merge cannot do is told.
func TestOverrideWithDefaults(t *testing.T) {
	doc, b := load(t, config.Input{
		Path: "f.yaml",
		Data: []byte("stats_flush_interval: 1.5s\nuse_tcp_for_dns_lookups: true\nnode: {id: a}\nadmin: {}\n"),
		Override: "stats_flush_interval: 3s\nuse_tcp_for_dns_lookups: false\nnode: {id: null, cluster: ''}\n" +
			"admin: {ignore_global_conn_limit: false}\n",
	})
	if b.StatsFlushInterval.AsDuration() != 3500*time.Millisecond || !b.UseTcpForDnsLookups {
		t.Errorf("not merged as Envoy does: %v", b)
	}
	var at []string
	for _, w := range doc.Warnings {
		at = append(at, w.Pos.String()+" "+w.Path)
	}
	if got := strings.Join(at, "\n"); got != "--config-yaml:1:23 stats_flush_interval\n--config-yaml:2:26 use_tcp_for_dns_lookups" {
		t.Errorf("got %v", doc.Warnings)
	}
}

func TestOverrideAlone(t *testing.T) {
	doc, b := load(t, config.Input{Override: `{"node": {"id": "\ud83d\ude00"}}`})
	if pos, _ := doc.Pos("node.id"); b.Node.Id != "😀" || pos.String() != "--config-yaml:1:17" {
		t.Errorf("got %q at %s", b.Node.Id, pos)
	}
}

// Faults of the file and of the override come in one run, with the paths of the
// merged configuration.
func TestFaultsOfBothSources(t *testing.T) {
	is := faults(t, config.Input{
		Path:     "f.json",
		Data:     []byte("{\"static_resources\": {\"clusters\": [\n{\"name\": 1}]}}"),
		Override: "static_resources:\n  clusters:\n  - name: x\n    type: STATICK\n  - type: STATIC\n",
	})
	want := `f.json:2:10: static_resources.clusters[0].name: got 1; expected text; did you mean "1"?
--config-yaml:4:11: static_resources.clusters[1].type: got "STATICK"; expected one of STATIC, STRICT_DNS, LOGICAL_DNS, EDS, ORIGINAL_DST; did you mean "STATIC"?
--config-yaml:5:5: static_resources.clusters[2].name: must not be empty`
	if is.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", is, want)
	}
}

func TestBrokenPaths(t *testing.T) {
	doc, err := config.Load(config.Input{Path: "f.yaml", Data: []byte(`static_resources:
  clusters:
  - name: [a]
    conect_timeout: 1s
    transport_socket: {name: x, typed_config: {"@type": type.googleapis.com/none, a: b}}
`)})
	if err == nil {
		t.Fatal("no fault")
	}
	for path, want := range map[string]bool{
		"static_resources.clusters[0].name":                          true,
		"static_resources.clusters[0].connect_timeout":               true,
		"static_resources.clusters[0].transport_socket":              false,
		"static_resources.clusters[0].transport_socket.typed_config": true,
		"static_resources.clusters[0].type":                          false,
	} {
		if got := doc.Broken(path); got != want {
			t.Errorf("%s: broken is %v", path, got)
		}
	}
}

func TestAllowUnknownFields(t *testing.T) {
	const text = "foo: {x: [1]}\nnode: {id: a}\nstatic_resources: {clusters: [{name: a, type: STATICC}]}\n"
	if is := faults(t, config.Input{Data: []byte(text)}); len(is) != 2 {
		t.Errorf("got %v", is)
	}
	doc, b := load(t, config.Input{Data: []byte(text), AllowUnknownFields: true})
	if len(doc.Warnings) != 2 || b.Node.Id != "a" {
		t.Errorf("got %v, %v", doc.Warnings, b)
	}
}

// In protobuf files a TypedStruct is replaced too, unknown field numbers are
// found, and constraints hold, though there are no positions.
func TestProtobufFiles(t *testing.T) {
	const cluster = "static_resources.clusters[0].transport_socket.typed_config"
	text := func(body string) []byte {
		return []byte(`static_resources { clusters { name: "a" transport_socket { name: "t" typed_config { ` + body + ` } } } }`)
	}
	doc, b := load(t, config.Input{Path: "f.pb_text", Data: text(`[type.googleapis.com/udpa.type.v1.TypedStruct] {
		type_url: "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
		value { fields { key: "buffer_size_kb" value { number_value: 5 } } } }`)})
	m, err := config.Unpack(b.StaticResources.Clusters[0].TransportSocket.GetTypedConfig())
	if err != nil || string(proto.MessageName(m)) != "envoy.extensions.bootstrap.internal_listener.v3.InternalListener" {
		t.Errorf("got %v, %v", m, err)
	}
	if pos, ok := doc.Pos(cluster); !ok || pos.Line != 1 || pos.Column != 70 {
		t.Errorf("the Any stands at %v", pos)
	}

	is := faults(t, config.Input{Path: "f.pb_text", Data: text(`[type.googleapis.com/xds.type.v3.TypedStruct] {
		type_url: "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
		value { fields { key: "bufer_size_kb" value { number_value: 5 } } } }`)})
	if want := `f.pb_text:1:70: ` + cluster + `: unknown field "bufer_size_kb"`; !strings.HasPrefix(is.Error(), want) {
		t.Errorf("got %v, want %s", is, want)
	}

	binary, _ := proto.Marshal(&bootstrapv3.Bootstrap{
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{Clusters: []*clusterv3.Cluster{{}}},
	})
	binary = append(binary, 0x98, 0x3f, 1) // field 1011
	is = faults(t, config.Input{Path: "f.pb", Data: binary})
	for _, want := range []string{
		"f.pb: unknown field numbers in envoy.config.bootstrap.v3.Bootstrap: 1011",
		"f.pb: static_resources.clusters[0].name: must not be empty",
	} {
		if !strings.Contains(is.Error(), want) {
			t.Errorf("got %v, want %s", is, want)
		}
	}
}

func TestOtherTargets(t *testing.T) {
	target := &discoveryv3.DiscoveryResponse{VersionInfo: "stale"}
	doc, err := config.Load(config.Input{Path: "cds.yaml", Target: target, Data: []byte(`resources:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: up
`)})
	if err != nil {
		t.Fatal(err)
	}
	m, err := config.Unpack(target.Resources[0])
	if err != nil || m.(*clusterv3.Cluster).Name != "up" || target.VersionInfo != "" || doc.Message != proto.Message(target) {
		t.Errorf("got %v, %v", target, err)
	}
	if pos, _ := doc.Pos("resources[0].name"); pos.String() != "cds.yaml:3:9" {
		t.Errorf("at %s", pos)
	}
}

func TestCheckOfResources(t *testing.T) {
	ts, _ := structpb.NewStruct(map[string]any{"stat_prefix": "x"})
	m := &clusterv3.Cluster{Name: "c", PerConnectionBufferLimitBytes: nil}
	if is, warnings := config.Check(m); len(is)+len(warnings) > 0 {
		t.Errorf("got %v, %v", is, warnings)
	}
	m.Metadata = metadataWith("k", "type.googleapis.com/xds.type.v3.TypedStruct",
		typedStruct("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", ts))
	is, _ := config.Check(m)
	want := `metadata.typed_filter_metadata["k"]: nothing is set; expected one of cluster, weighted_clusters`
	if is.Error() != want {
		t.Errorf("got %v, want %s", is, want)
	}
	if m.Metadata.TypedFilterMetadata["k"].TypeUrl != "type.googleapis.com/xds.type.v3.TypedStruct" {
		t.Error("Check changed the message")
	}
}

func TestIssueForms(t *testing.T) {
	is := faults(t, config.Input{Path: "f.yaml", Data: []byte("node: {id: 1}\n")})
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(is); err != nil {
		t.Fatal(err)
	}
	want := `[{"file":"f.yaml","line":1,"column":12,"path":"node.id","severity":"error",` +
		`"message":"got 1","expected":"text","suggestion":"\"1\""}]` + "\n"
	if b.String() != want {
		t.Errorf("got %s, want %s", b.String(), want)
	}
}

func nodeNamed(id string) *corev3.Node { return &corev3.Node{Id: id} }

func typedStruct(url string, value *structpb.Struct) []byte {
	b, _ := proto.Marshal(&xdstypev3.TypedStruct{TypeUrl: url, Value: value})
	return b
}

func metadataWith(key, url string, value []byte) *corev3.Metadata {
	return &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{key: {TypeUrl: url, Value: value}}}
}
