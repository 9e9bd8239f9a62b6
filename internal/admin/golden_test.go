package admin_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/internal/admin"
)

// ask sends a request without a body.
func ask(s *admin.Server, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

func decode(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	return v
}

var timestamp = regexp.MustCompile(`"last_updated": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z"`)

// TestDumps compares /config_dump with what Envoy answered for the same bootstrap.
func TestDumps(t *testing.T) {
	s := newServer(newFake(t))
	for _, c := range []struct{ file, query string }{
		{"config_dump.json", ""},
		{"config_dump.json", "?resource=&mask=&unknown=1"},
		{"config_dump_eds.json", "?include_eds"},
		{"config_dump_eds.json", "?include_eds=off"},
		{"config_dump_resource.json", "?resource=static_listeners"},
		{"config_dump_resource_mask.json", "?resource=static_listeners&mask=listener.name,listener.traffic_direction"},
		{"config_dump_mask.json", "?mask=bootstrap.node.id"},
		{"config_dump_mask_last_updated.json", "?mask=last_updated"},
		{"config_dump_name_regex.json", "?name_regex=.n"},
		{"config_dump_name_regex_eds.json", "?name_regex=up&include_eds"},
		{"config_dump_resource_name_regex.json", "?resource=static_listeners&name_regex=in"},
		{"config_dump_resource_none.json", "?resource=static_listeners&name_regex=zzz"},
		{"config_dump_dynamic.json", "?resource=dynamic_listeners"},
		{"config_dump_resource_eds.json", "?resource=static_endpoint_configs&include_eds"},
		{"config_dump_clusters_mask.json", "?resource=static_clusters&mask=cluster.name,last_updated"},
	} {
		t.Run(c.query, func(t *testing.T) {
			w := ask(s, "GET", "/config_dump"+c.query)
			if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("%d %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			got := timestamp.ReplaceAll(w.Body.Bytes(), []byte(`"last_updated": "TIME"`))
			if d := cmp.Diff(decode(t, recorded(t, c.file)), decode(t, got)); d != "" {
				t.Errorf("-envoy +ours:\n%s", d)
			}
		})
	}
}

// TestDumpTwice shows that a dump leaves the configuration alone.
func TestDumpTwice(t *testing.T) {
	s := newServer(newFake(t))
	first := ask(s, "GET", "/config_dump?mask=bootstrap.admin").Body.String()
	ask(s, "GET", "/config_dump?resource=static_clusters&mask=cluster.name")
	if again := ask(s, "GET", "/config_dump?mask=bootstrap.admin").Body.String(); !strings.Contains(first, "port_value") || again != first {
		t.Errorf("first %s\nthen %s", first, again)
	}
	if full := ask(s, "GET", "/config_dump").Body.String(); !strings.Contains(full, "load_assignment") {
		t.Error("a mask changed the configuration")
	}
}

// TestDumpErrors has Envoy's texts; only its name for the text format of messages is
// left out.
func TestDumpErrors(t *testing.T) {
	s := newServer(newFake(t))
	for _, c := range []struct {
		query  string
		status int
		want   string
	}{
		{"resource=nope", 404, "nope not found in config dump"},
		{"resource=static_endpoint_configs", 404, "static_endpoint_configs not found in config dump"},
		{"resource=bootstrap", 400, "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field"},
		{"resource=version_info", 400, "version_info is not a repeated field. Use ?mask=version_info to get only this field"},
		{"mask=nope", 400, "FieldMask nope could not be successfully applied to any configs."},
		{"mask=bootstrap.node.id,static_listeners", 400, "FieldMask bootstrap.node.id,static_listeners could not be successfully applied to any configs."},
		{"mask=static_listeners.listener.name", 400, "FieldMask static_listeners.listener.name could not be successfully applied to any configs."},
		{"resource=static_listeners&mask=nope", 400, "FieldMask paths: \"nope\"\n could not be successfully used."},
		{"resource=static_listeners&mask=listener.nope", 400, "FieldMask paths: \"listener.nope\"\n could not be successfully used."},
		{"name_regex=[", 400, "INVALID_ARGUMENT: Error while parsing name_regex from [: missing ]: ["},
		{"name_regex=*&resource=nope", 400, "INVALID_ARGUMENT: Error while parsing name_regex from *: no argument for repetition operator: *"},
	} {
		w := ask(s, "GET", "/config_dump?"+c.query)
		if w.Code != c.status || w.Body.String() != c.want || w.Header().Get("Content-Type") != "text/plain" {
			t.Errorf("%s: %d %q, want %d %q", c.query, w.Code, w.Body, c.status, c.want)
		}
	}
}

func TestListenersAsEnvoy(t *testing.T) {
	s := newServer(newFake(t))
	for target, file := range map[string]string{
		"/listeners": "listeners.txt", "/listeners?format=xml": "listeners.txt", "/listeners?format=json": "listeners.json",
	} {
		if got := ask(s, "GET", target).Body.String(); got != string(recorded(t, file)) {
			t.Errorf("%s:\n%s", target, cmp.Diff(string(recorded(t, file)), got))
		}
	}
}

// TestClustersAsEnvoy leaves only the order of the clusters open: Envoy's is that of
// a hash table, ours that of the configuration.
func TestClustersAsEnvoy(t *testing.T) {
	s := newServer(newFake(t))
	envoy := string(recorded(t, "clusters.txt"))
	for _, name := range []string{"in", "up"} {
		var want strings.Builder
		for line := range strings.Lines(envoy) {
			if strings.HasPrefix(line, name+"::") {
				want.WriteString(line)
			}
		}
		if got := ask(s, "GET", "/clusters?filter=^"+name+"$").Body.String(); got != want.String() {
			t.Errorf("%s, -envoy +ours:\n%s", name, cmp.Diff(want.String(), got))
		}
	}
	if got := ask(s, "GET", "/clusters").Body.String(); len(got) != len(envoy) || !strings.HasPrefix(got, "in::observability_name::in\n") {
		t.Errorf("all clusters:\n%s", got)
	}

	f := newFake(t)
	slices.Reverse(f.clusters)
	if got := ask(newServer(f), "GET", "/clusters?format=json").Body.String(); got != string(recorded(t, "clusters.json")) {
		t.Errorf("-envoy +ours:\n%s", cmp.Diff(string(recorded(t, "clusters.json")), got))
	}
	if w := ask(s, "GET", "/clusters?filter=["); w.Code != 400 || w.Body.String() != "Invalid re2 regex" {
		t.Errorf("bad filter: %d %q", w.Code, w.Body)
	}
	if got := ask(s, "GET", "/clusters?filter=nothing").Body.String(); got != "" {
		t.Errorf("no match: %q", got)
	}
}

// TestClusterCounts shows each number at its own place.
func TestClusterCounts(t *testing.T) {
	f := newFake(t)
	h := &f.clusters[0].Hosts[0]
	h.CxActive, h.CxConnectFail, h.CxTotal = 1, 2, 3
	h.RqActive, h.RqError, h.RqPending, h.RqSuccess, h.RqTimeout, h.RqTotal = 4, 5, 6, 7, 8, 9
	got := ask(newServer(f), "GET", "/clusters?filter=in").Body.String()
	for i, key := range []string{"cx_active", "cx_connect_fail", "cx_total", "rq_active", "rq_error", "rq_pending_active", "rq_success", "rq_timeout", "rq_total"} {
		if line := "in::envoy://in/10.0.0.9:80::" + key + "::" + string(rune('1'+i)) + "\n"; !strings.Contains(got, line) {
			t.Errorf("no %q", line)
		}
	}
}

// TestKeysAsEnvoy compares what changes from run to run by its keys.
func TestKeysAsEnvoy(t *testing.T) {
	s := newServer(newFake(t))
	for target, file := range map[string]string{"/server_info": "server_info.json", "/memory": "memory.json", "/certs": "certs.json", "/init_dump": "init_dump.json"} {
		want, got := decode(t, recorded(t, file)), decode(t, ask(s, "GET", target).Body.Bytes())
		if d := cmp.Diff(keys(want), keys(got)); d != "" {
			t.Errorf("%s, -envoy +ours:\n%s", target, d)
		}
		if target == "/server_info" {
			options := func(m map[string]any) map[string]any { return m["command_line_options"].(map[string]any) }
			if d := cmp.Diff(keys(options(want)), keys(options(got))); d != "" {
				t.Errorf("command_line_options, -envoy +ours:\n%s", d)
			}
			if got["state"] != "LIVE" || got["version"] != "v1" || got["uptime_all_epochs"] != "60s" {
				t.Errorf("server_info: %v", got)
			}
		}
	}
}

func keys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

func TestRuntimeAsEnvoy(t *testing.T) {
	s := newServer(newFake(t))
	same := func(file string) {
		t.Helper()
		want, got := decode(t, recorded(t, file)), decode(t, ask(s, "GET", "/runtime").Body.Bytes())
		// A fraction is printed as JSON here, as a debugging text there.
		delete(want["entries"].(map[string]any), "frac")
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s, -envoy +ours:\n%s", file, d)
		}
	}
	same("runtime.json")
	for _, q := range []string{"a=b&c=d", "a=", "some.key=9&frac.numerator=2&b=true&n=1.5"} {
		if w := ask(s, "POST", "/runtime_modify?"+q); w.Code != 200 || w.Body.String() != "OK\n" {
			t.Errorf("%s: %d %q", q, w.Code, w.Body)
		}
	}
	same("runtime_modified.json")
	if w := ask(s, "POST", "/runtime_modify"); w.Code != 400 || !strings.HasPrefix(w.Body.String(), "usage: /runtime_modify?key1=value1") {
		t.Errorf("without parameters: %d %q", w.Code, w.Body)
	}
	if w := ask(s, "POST", "/runtime_modify?refuse=1"); w.Code != http.StatusServiceUnavailable || w.Body.String() != "refused" {
		t.Errorf("refused: %d %q", w.Code, w.Body)
	}

	f := newFake(t)
	f.plan.Runtime = nil
	if w := ask(newServer(f), "POST", "/runtime_modify?a=b"); w.Code != 503 || w.Body.String() != "No admin layer specified" {
		t.Errorf("without a layer: %d %q", w.Code, w.Body)
	}
	if got := ask(newServer(f), "GET", "/runtime").Body.String(); got != "{\n \"layers\": [],\n \"entries\": {}\n}\n" {
		t.Errorf("without layers: %s", got)
	}
}

// TestHelpAsEnvoy asks for every command of Envoy's, with the same need of POST and
// with its parameters.
func TestHelpAsEnvoy(t *testing.T) {
	got := ask(newServer(newFake(t)), "GET", "/help").Body.String()
	for line := range strings.Lines(string(recorded(t, "help.txt"))) {
		head, _, _ := strings.Cut(line, ": ")
		switch {
		case strings.HasPrefix(line, "admin commands"):
		case strings.Contains(head, "group"): // of fine-grain logging
		case !strings.Contains(got, head+": "):
			t.Errorf("/help lacks %q", head)
		}
	}
	w := ask(newServer(newFake(t)), "GET", "/no/such/thing")
	if w.Code != 404 || w.Body.String() != "invalid path. "+got {
		t.Errorf("unknown path: %d %q", w.Code, w.Body)
	}
}
