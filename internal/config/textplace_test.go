package config

import "testing"

const textConfig = `# a bootstrap
static_resources {
  clusters {
    name: "a"
    connect_timeout { seconds: 3 }
    metadata {
      filter_metadata { key: "envoy.lb" value { fields { key: "x" value { string_value: "y" } } } }
      filter_metadata: < key: 'other' value: < > >
    }
  }
  clusters: { name: "b" "c", type: STATIC }
  listeners: [{ name: "l" }, {
    name: "é", filter_chains { filters { name: "f" typed_config {
      [type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy] {
        stat_prefix: "p" cluster: "nobody"
      }
    } } }
  }]
}
`

// TestTextPlaces: text protobuf has places, too.
func TestTextPlaces(t *testing.T) {
	doc, err := Load(Input{Path: "x.textproto", Data: []byte(textConfig)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path         string
		line, column int
	}{
		{"static_resources", 2, 1},
		{"static_resources.clusters[0].name", 4, 11},
		{"static_resources.clusters[0].connect_timeout", 5, 5},
		{`static_resources.clusters[0].metadata.filter_metadata["envoy.lb"]`, 7, 41},
		{`static_resources.clusters[0].metadata.filter_metadata["other"]`, 8, 39},
		{"static_resources.clusters[1].name", 11, 21},
		{"static_resources.clusters[1].type", 11, 36},
		{"static_resources.listeners[0].name", 12, 23},
		{"static_resources.listeners[1].name", 13, 11},
		{"static_resources.listeners[1].filter_chains[0].filters[0].typed_config.cluster", 15, 35},
		{"static_resources.listeners[1].filter_chains[0].filters[0].typed_config.nothing", 13, 52},
	} {
		pos, ok := doc.Pos(c.path)
		if !ok || pos != (Pos{"x.textproto", c.line, c.column}) {
			t.Errorf("%s: %v, want %d:%d", c.path, pos, c.line, c.column)
		}
	}
}

// FuzzTextPlaces: whatever prototext reads, the scan ends and does not panic.
func FuzzTextPlaces(f *testing.F) {
	f.Add([]byte(textConfig))
	f.Add([]byte(`node { metadata { fields { key: "a" value { list_value { values { null_value: 0 } } } } } }`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = Load(Input{Path: "x.textproto", Data: data})
		textPlaces("x", data, nil, &place{})
	})
}
