package discovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"go.uber.org/goleak"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/load"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a configuration whose proxy notes what is applied, and fails for listeners
// of the name fails.
type world struct {
	*Config
	t       *testing.T
	dir     string
	store   *stats.Store
	applied chan *plan.Server
	last    *plan.Server
	fails   string
	broken  error // of every change
}

// A failed listener is one that cannot be applied.
type failed struct{ name string }

func (f failed) Error() string    { return fmt.Sprintf("listener %q: cannot bind", f.name) }
func (f failed) Listener() string { return f.name }

// A failedCluster is a cluster that cannot be made.
type failedCluster struct{ name string }

func (f failedCluster) Error() string   { return fmt.Sprintf("cluster %q: cannot log", f.name) }
func (f failedCluster) Cluster() string { return f.name }

func listenerText(name string, more string) string {
	return fmt.Sprintf("- {\"@type\": type.googleapis.com/envoy.config.listener.v3.Listener, name: %s, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, %s filter_chains: [{filters: [{name: e, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}]}]}\n", name, more)
}

func on(name string, port int) string {
	return strings.Replace(listenerText(name, ""), "port_value: 0", fmt.Sprint("port_value: ", port), 1)
}

func clusterText(name string) string {
	return fmt.Sprintf("- {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: %s, type: STATIC}\n", name)
}

func (w *world) put(file, version string, resources ...string) {
	w.t.Helper()
	text := "version_info: " + version + "\nresources:\n" + strings.Join(resources, "")
	if len(resources) == 0 {
		text = "version_info: " + version + "\n"
	}
	next := filepath.Join(w.dir, "next")
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(w.dir, file)); err != nil {
		w.t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	return &world{t: t, dir: t.TempDir(), store: stats.New(stats.Options{}), applied: make(chan *plan.Server, 100)}
}

func (w *world) bootstrap(static string) *bootstrapv3.Bootstrap {
	w.t.Helper()
	doc, err := config.Load(config.Input{Path: "b.yaml", Data: []byte(fmt.Sprintf("dynamic_resources: {lds_config: {path_config_source: {path: %s/lds.yaml}}, cds_config: {path_config_source: {path: %[1]s/cds.yaml}}}\n%s", w.dir, static))})
	if err != nil {
		w.t.Fatal(err)
	}
	return doc.Message.(*bootstrapv3.Bootstrap)
}

func (w *world) begin(static string) {
	w.t.Helper()
	b := w.bootstrap(static)
	r, err := load.Load(load.Source{Message: b}, builtin.Registry())
	if err != nil || r.Err(false) != nil {
		w.t.Fatal(err, r.Err(false))
	}
	w.Config = New(b, r.Plan, builtin.Registry(), nil)
	err = w.Build(func(p *plan.Server) (func(context.Context, *plan.Server) error, *stats.Store, error) {
		return w.take, w.store, w.take(context.Background(), p)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) take(_ context.Context, p *plan.Server) error {
	if w.broken != nil {
		return w.broken
	}
	for _, l := range p.Listeners {
		if l.Info.Name == w.fails && l.Version != "old" {
			return failed{w.fails}
		}
	}
	for _, c := range p.Clusters {
		if c.Name == w.fails {
			return failedCluster{w.fails}
		}
	}
	w.last = p
	w.applied <- p
	return nil
}

// has requires listeners and clusters by name and version.
func (w *world) has(want ...string) {
	w.t.Helper()
	var got []string
	for _, l := range w.last.Listeners {
		got = append(got, l.Info.Name+" "+l.Version)
	}
	for _, c := range w.last.Clusters {
		got = append(got, c.Name+" "+c.Version)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("%q, want %q", got, want)
	}
}

func (w *world) rejected(want ...string) {
	w.t.Helper()
	var got []string
	for _, r := range append(slices.Clone(w.last.FromClusterSource.Rejected), w.last.FromListenerSource.Rejected...) {
		got = append(got, r.Name+": "+r.Details)
	}
	if len(got) != len(want) {
		w.t.Fatalf("%q, want %q", got, want)
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			w.t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}

func (w *world) counts(k Kind, want string) {
	w.t.Helper()
	c := &w.kinds[k].counts
	if got := fmt.Sprintf("%d %d %d %d", c.Attempts, c.Successes, c.Rejections, c.Failures); got != want {
		w.t.Errorf("%s: attempts, successes, rejections, failures %s, want %s", k, got, want)
	}
}

const staticListener = `static_resources: {listeners: [{name: s, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, filter_chains: [{filters: [{name: e, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}]}]}]}`

func TestEachResourceForItself(t *testing.T) {
	w := newWorld(t)
	w.put("lds.yaml", "old", listenerText("a", ""), listenerText("b", ""))
	w.put("cds.yaml", "c1", clusterText("x"))
	w.begin(staticListener)
	w.has("s ", "a old", "b old", "x c1")
	w.counts(Listeners, "1 1 0 0")

	for _, x := range []struct {
		name      string
		resources []string
		fails     string
		has       []string
		rejected  []string
	}{
		{"faults in one", []string{listenerText("a", "transparent: 7,"), listenerText("c", "")}, "", []string{"s ", "a old", "c v"}, []string{"a: "}},
		{"refused by meaning", []string{listenerText("a", "api_listener: {},"), listenerText("b", "")}, "", []string{"s ", "a old", "b v"}, []string{"a: api_listener: not supported yet"}},
		{"cannot be applied", []string{listenerText("nn", ""), listenerText("b", "")}, "nn", []string{"s ", "b v"}, []string{"nn: cannot bind"}},
		{"a change that cannot be applied", []string{listenerText("a", "tcp_backlog_size: 7,"), listenerText("b", "")}, "a", []string{"s ", "a old", "b v"}, []string{"a: cannot bind"}},
		{"twice", []string{listenerText("a", ""), listenerText("a", "stat_prefix: p,")}, "", []string{"s ", "a v"}, []string{"a: duplicate listener a found"}},
		{"another type", []string{listenerText("a", ""), clusterText("k")}, "", []string{"s ", "a v"}, []string{"k: unexpected resource type envoy.config.cluster.v3.Cluster"}},
		{"that of the bootstrap", []string{listenerText("a", ""), listenerText("s", "")}, "", []string{"s ", "a v"}, nil},
		{"a taken address", []string{on("nn", 1000), on("a", 1000), on("z", 1000)}, "", []string{"s ", "a v"}, []string{"nn: ", "z: "}},
		{"none", nil, "", []string{"s "}, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newWorld(t)
			w.put("lds.yaml", "old", listenerText("a", ""), listenerText("b", ""))
			w.put("cds.yaml", "c1")
			w.begin(staticListener)
			w.fails = x.fails
			w.put("lds.yaml", "v", x.resources...)
			w.read(context.Background(), Listeners)
			w.has(x.has...)
			w.rejected(x.rejected...)
			if x.rejected == nil {
				w.counts(Listeners, "2 2 0 0")
			} else {
				w.counts(Listeners, "2 1 1 0")
			}
			if v := w.last.FromListenerSource.Version; v != "v" {
				t.Errorf("version %q", v)
			}
		})
	}
}

// What cannot be read changes nothing.
func TestUnreadable(t *testing.T) {
	w := newWorld(t)
	w.put("lds.yaml", "old", listenerText("a", ""))
	w.put("cds.yaml", "c1")
	w.begin("")
	if err := os.WriteFile(filepath.Join(w.dir, "lds.yaml"), []byte("resources: ["), 0o644); err != nil {
		t.Fatal(err)
	}
	w.read(context.Background(), Listeners)
	w.has("a old")
	w.counts(Listeners, "2 1 0 1")
	if err := os.Remove(filepath.Join(w.dir, "lds.yaml")); err != nil {
		t.Fatal(err)
	}
	w.read(context.Background(), Listeners)
	w.has("a old")
	w.counts(Listeners, "3 1 0 2")
}

// A change that fails for no listener's sake is rejected as a whole, and the next one
// begins from what there was.
func TestRejectedAsAWhole(t *testing.T) {
	w := newWorld(t)
	w.put("lds.yaml", "old", listenerText("a", ""))
	w.put("cds.yaml", "c1")
	w.begin("")
	w.broken = errors.New("no")
	w.put("lds.yaml", "v", listenerText("b", ""))
	w.read(context.Background(), Listeners)
	w.broken = nil
	w.put("cds.yaml", "c2", clusterText("x"))
	w.read(context.Background(), Clusters)
	w.has("a old", "x c2")
	if v := w.last.FromListenerSource.Version; v != "old" {
		t.Errorf("version %q", v)
	}
}

// What is in effect stays where a file that it names is no longer good, whatever else is
// delivered.
func TestFileThatGoes(t *testing.T) {
	w := newWorld(t)
	said := filepath.Join(w.dir, "said")
	if err := os.WriteFile(said, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	says := strings.Replace(listenerText("a", ""), "filters.network.echo.v3.Echo", "filters.network.direct_response.v3.Config, response: {filename: "+said+"}", 1)
	w.put("lds.yaml", "old", says, listenerText("b", ""))
	w.put("cds.yaml", "c1")
	w.begin("")
	w.has("a old", "b old")
	if err := os.Remove(said); err != nil {
		t.Fatal(err)
	}
	w.put("lds.yaml", "v", says, listenerText("b", "per_connection_buffer_limit_bytes: 1024,"))
	w.read(context.Background(), Listeners)
	w.has("a old", "b old")
	w.counts(Listeners, "2 1 1 0")
	if err := w.again(context.Background()); err != nil {
		t.Error(err)
	}
	w.has("a old", "b old")
}

// A cluster that cannot be made, as one whose file of events cannot be opened, leaves the
// others applied.
func TestClusterThatCannotBeMade(t *testing.T) {
	w := newWorld(t)
	w.put("lds.yaml", "l1")
	w.put("cds.yaml", "old", clusterText("x"))
	w.begin("")
	w.fails = "bad"
	w.put("cds.yaml", "v", clusterText("bad"), clusterText("good"))
	w.read(context.Background(), Clusters)
	w.has("good v")
	w.counts(Clusters, "2 1 1 0")
}

// At the start a listener that cannot be bound is left out, and all others begin.
func TestBuildWithoutWhatFails(t *testing.T) {
	w := newWorld(t)
	w.fails = "bad"
	w.put("lds.yaml", "v", listenerText("bad", ""), listenerText("a", ""))
	w.put("cds.yaml", "c1")
	w.begin("")
	w.has("a v")
	w.counts(Listeners, "1 0 1 0")
	ctx, cancel := context.WithCancel(context.Background())
	<-w.applied
	ran := make(chan struct{})
	go func() { defer close(ran); w.Run(ctx) }()
	<-w.applied // with what is to be told
	cancel()
	<-ran
	w.rejected("bad: cannot bind")
}

func TestAnotherBootstrap(t *testing.T) {
	w := newWorld(t)
	w.put("lds.yaml", "old", listenerText("a", ""))
	w.put("cds.yaml", "c1")
	w.begin("")
	if err := w.SetBootstrap(context.Background(), w.bootstrap(staticListener)); err != nil {
		t.Fatal(err)
	}
	w.has("s ", "a old")
	err := w.SetBootstrap(context.Background(), w.bootstrap(strings.ReplaceAll(staticListener, "name: s", "name: a")))
	if err == nil || !strings.Contains(err.Error(), `listener "a", which was delivered, does not go with it`) {
		t.Error(err)
	}
	w.has("s ", "a old")
}

// Files that are moved into place are applied by Run.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.put("lds.yaml", "old", listenerText("a", ""))
	w.put("cds.yaml", "c1")
	w.begin("")
	<-w.applied
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); w.Run(ctx) }()
	defer func() { cancel(); <-ran }()
	w.put("lds.yaml", "v", listenerText("b", ""))
	select {
	case p := <-w.applied:
		if p.Listeners[0].Info.Name != "b" {
			t.Error(p.Listeners[0].Info.Name)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing is applied")
	}
}
