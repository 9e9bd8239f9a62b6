package eventlog

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	datav3 "github.com/envoyproxy/go-control-plane/envoy/data/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/apiaddr"
)

// files are files by their paths; one of no path cannot be opened.
type files map[string]*file

type file struct{ text string }

func (f *file) Write(p []byte) (int, error) {
	f.text += string(p)
	return len(p), nil
}

func (x files) Open(path string) (filter.LogFile, error) {
	if path == "" {
		return nil, errors.New("no such file")
	}
	if x[path] == nil {
		x[path] = &file{}
	}
	return x[path], nil
}

// A line is what Envoy 1.40 writes, byte for byte, and each path gets it as often as it is
// there.
func TestWrite(t *testing.T) {
	x := files{}
	l, err := Open(x, []string{"a", "b", "a"})
	if err != nil {
		t.Fatal(err)
	}
	l.Write(&datav3.HealthCheckEvent{
		HealthCheckerType: datav3.HealthCheckerType_HTTP, ClusterName: "hc",
		Host:      apiaddr.Of(filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:18181")}),
		Timestamp: At(time.Date(2026, 11, 21, 16, 16, 11, 244567890, time.UTC)),
		Event: &datav3.HealthCheckEvent_HealthCheckFailureEvent{HealthCheckFailureEvent: &datav3.HealthCheckFailure{
			FailureType: datav3.HealthCheckFailureType_NETWORK, FirstCheck: true,
		}},
		Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			"a": {Fields: map[string]*structpb.Value{"b": structpb.NewStringValue("c")}},
		}},
		Locality: &corev3.Locality{Region: "r", Zone: "z"},
	})
	want := `{"health_checker_type":"HTTP","host":{"socket_address":{"protocol":"TCP","address":"127.0.0.1","port_value":18181,"resolver_name":"","ipv4_compat":false,"network_namespace_filepath":""}},"cluster_name":"hc","timestamp":"2026-11-21T16:16:11.244Z","health_check_failure_event":{"failure_type":"NETWORK","first_check":true,"http_status_code":0},"metadata":{"filter_metadata":{"a":{"b":"c"}},"typed_filter_metadata":{}},"locality":{"region":"r","zone":"z","sub_zone":""}}` + "\n"
	if x["b"].text != want {
		t.Errorf("%s\nwant\n%s", x["b"].text, want)
	}
	if x["a"].text != want+want {
		t.Errorf("twice: %s", x["a"].text)
	}
}

// Without a path there is no log, which can be written to; a file that cannot be opened is an
// error.
func TestOpen(t *testing.T) {
	l, err := Open(nil, nil)
	if l != nil || err != nil {
		t.Error(l, err)
	}
	l.Write(&corev3.Locality{})
	for _, in := range []filter.LogFiles{nil, files{}} {
		if _, err := Open(in, []string{""}); err == nil {
			t.Errorf("%v: no error", in)
		}
	}
}

// What is not UTF-8 is no JSON, and is left out.
func TestNoJSON(t *testing.T) {
	x := files{}
	l, _ := Open(x, []string{"a"})
	l.Write(&corev3.Locality{Zone: "\xff"})
	if x["a"].text != "" {
		t.Errorf("%q", x["a"].text)
	}
}
