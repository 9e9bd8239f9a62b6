package transport_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/transport"
)

const (
	raw   = `{"name":"raw","typed_config":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}`
	outer = `{"name":"iu","typed_config":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport"`
)

// compile returns the compiled socket and what was reported, as "severity path: text".
func compile(t *testing.T, json string) (extension.UpstreamTransport, []string) {
	var m *corev3.TransportSocket
	if json != "" {
		m = &corev3.TransportSocket{}
		if err := protojson.Unmarshal([]byte(json), m); err != nil {
			t.Fatal(err)
		}
	}
	var r extension.Registry
	transport.Register(&r)
	var report extension.Report
	s := extension.NewScope(&report, &r, func(a *anypb.Any) (proto.Message, error) { return a.UnmarshalNew() })
	got, ok := transport.Compile(s.Field("transport_socket"), m)
	var out []string
	for _, i := range report.Issues {
		out = append(out, [...]string{"error ", "strict ", "warning "}[i.Severity]+i.Path+": "+i.Message)
	}
	if ok == s.Failed() && !ok {
		t.Error("not ok, but nothing was reported")
	}
	return got, out
}

func TestRaw(t *testing.T) {
	for _, json := range []string{"", raw, `{"name":"envoy.transport_sockets.raw_buffer"}`} {
		got, issues := compile(t, json)
		if issues != nil {
			t.Errorf("%s: %v", json, issues)
			continue
		}
		if _, passes := got.Passthrough(); passes || !got.Transparent() {
			t.Errorf("%s: %+v passes something on or changes bytes", json, got)
		}
	}
}

func TestInternal(t *testing.T) {
	source := func(kind, name string) string { return `{"kind":{"` + kind + `":{}},"name":"` + name + `"}` }
	const at = "transport_socket.typed_config"
	type sources = []extension.MetadataSource
	for name, c := range map[string]struct {
		body   string
		want   sources
		issues []string
	}{
		"nothing to pass": {body: `,"transport_socket":` + raw},
		"host and cluster, in order": {
			body: `,"transport_socket":` + raw + `,"passthrough_metadata":[` + source("cluster", "a") + "," + source("host", "a") + `]`,
			want: sources{{Kind: extension.ClusterMetadata, Name: "a"}, {Kind: extension.HostMetadata, Name: "a"}},
		},
		"route and request": {
			body: `,"transport_socket":` + raw + `,"passthrough_metadata":[` + source("route", "a") + "," + source("request", "b") + `]`,
			want: sources{{Kind: extension.RouteMetadata, Name: "a"}, {Kind: extension.RequestMetadata, Name: "b"}},
			issues: []string{
				"strict " + at + ".passthrough_metadata[0].kind: metadata type is not supported: Envoy passes only host and cluster metadata on",
				"strict " + at + ".passthrough_metadata[1].kind: metadata type is not supported: Envoy passes only host and cluster metadata on",
			},
		},
		"no kind, no name": {
			body: `,"transport_socket":` + raw + `,"passthrough_metadata":[{}]`,
			want: sources{{}},
			issues: []string{
				"error " + at + ".passthrough_metadata[0].name: value length must be at least 1 characters",
				"error " + at + ".passthrough_metadata[0].kind: value is required",
			},
		},
		"no socket":        {issues: []string{"error " + at + ".transport_socket: value is required"}},
		"inside of itself": {body: `,"transport_socket":` + outer + `,"transport_socket":` + raw + `}}`},
		"without a type": {
			body:   `,"transport_socket":{"name":"envoy.transport_sockets.tls"}`,
			issues: []string{"error " + at + `.transport_socket: transport socket "envoy.transport_sockets.tls" has no typed_config`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, issues := compile(t, outer+c.body+"}}")
			if d := cmp.Diff(c.issues, issues); d != "" {
				t.Errorf("issues (-want +got):\n%s", d)
			}
			have, passes := got.Passthrough()
			if d := cmp.Diff(c.want, have); d != "" || !passes {
				t.Errorf("passes %v (-want +got):\n%s", passes, d)
			}
		})
	}
}

type opaque struct{ extension.UpstreamTransport }

func (opaque) Transparent() bool { return false }

func TestTransparentAsWhatIsInside(t *testing.T) {
	if (&transport.Internal{Inner: opaque{}}).Transparent() {
		t.Error("a socket that changes bytes became transparent")
	}
	got, _ := compile(t, outer+`,"transport_socket":`+raw+"}}")
	if !got.Transparent() {
		t.Error("internal_upstream over raw_buffer is not transparent")
	}
}

func TestUnknownSocketIsRefused(t *testing.T) {
	_, issues := compile(t, `{"name":"tls","typed_config":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"}}`)
	if len(issues) != 1 {
		t.Errorf("%v", issues)
	}
}
