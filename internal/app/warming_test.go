package app_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/internal/app"
)

// A shelf is a folder of files that sources deliver.
type shelf struct {
	t   *testing.T
	dir string
}

func (s shelf) path(file string) string { return filepath.Join(s.dir, file) }

// put moves a file into place.
func (s shelf) put(file, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path("next"), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(s.path("next"), s.path(file)); err != nil {
		s.t.Fatal(err)
	}
}

// routes moves a table into place that answers with a status, or leads to a cluster.
func (s shelf) routes(file, action string) {
	s.put(file, fmt.Sprintf(`resources: [{"@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: r, virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, %s}]}]}]`, action))
}

const answers200, answers201 = "direct_response: {status: 200}", "direct_response: {status: 201}"

// serves is an HTTP connection manager with the routes of a file.
func (s shelf) serves(file, timeout string) string {
	return fmt.Sprintf(`{name: h, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: h, rds: {route_config_name: r, config_source: {initial_fetch_timeout: %s, path_config_source: {path: %s}}}, http_filters: [{name: r, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}`, timeout, s.path(file))
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func status(t *testing.T, addr string) int {
	t.Helper()
	code, _ := get(t, "http://"+addr)
	return code
}

func listens(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		c.Close()
	}
	return err == nil
}

func refused(t *testing.T, addr string) {
	t.Helper()
	if listens(addr) {
		t.Errorf("%s is listened on", addr)
	}
}

// stat is a statistic of the listener manager, or of the cluster manager.
func (l *lab) stat(name string) uint64 {
	i := strings.LastIndexByte(name, '.') + 1
	s := l.Stats().Scope(name[:i])
	defer s.Close()
	if strings.HasPrefix(name[i:], "total_") || strings.HasPrefix(name[i:], "warming") {
		return s.Gauge(name[i:]).Value()
	}
	return s.Counter(name[i:]).Value()
}

// becomes waits until a statistic has a value.
func (l *lab) becomes(name string, want uint64) {
	l.t.Helper()
	for end := time.Now().Add(30 * time.Second); l.stat(name) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("%s is %d, want %d", name, l.stat(name), want)
		}
	}
}

// freePort is one that nobody has now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// At the start a listener that waits for its routes is bound, and nobody listens, until they
// come or the time for it is over.
func TestStartWaitsForRoutes(t *testing.T) {
	for name, x := range map[string]struct {
		timeout string
		comes   bool
		want    int
	}{
		"they come":                 {"0s", true, 200},
		"the time for them is over": {"0.05s", false, 404},
	} {
		t.Run(name, func(t *testing.T) {
			s := shelf{t, t.TempDir()}
			a, err := app.New(compiled(t, "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"+listeners(
				listener("l", 0, "", chain("", s.serves("r.yaml", x.timeout))), listener("other", 0, "", chain("", says("o"))))), app.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(a.Close)
			l := &lab{a, t}
			started := make(chan error, 1)
			if x.comes {
				refused(t, l.addr("l"))
			}
			go func() { started <- a.Start() }()
			if x.comes {
				admin := "http://" + a.AdminAddr().String()
				for !listens(a.AdminAddr().String()) {
					time.Sleep(time.Millisecond)
				}
				if code, text := get(t, admin+"/ready"); code != 503 || text != "INITIALIZING\n" {
					t.Errorf("/ready: %d %q", code, text)
				}
				if _, text := get(t, admin+"/init_dump"); !strings.Contains(text, "init manager Listener-local-init-manager l ") ||
					!strings.Contains(text, `"shared target RdsRouteConfigSubscription RDS init r"`) || strings.Contains(text, "other") {
					t.Errorf("/init_dump: %s", text)
				}
				refused(t, l.addr("other"))
				s.routes("r.yaml", answers200)
			}
			if err := <-started; err != nil {
				t.Fatal(err)
			}
			if got := status(t, l.addr("l")); got != x.want || a.State() != app.Live {
				t.Errorf("%d, %v", got, a.State())
			}
		})
	}
}

// A start that waits for ever ends with the proxy.
func TestStartThatWaitsEnds(t *testing.T) {
	s := shelf{t, t.TempDir()}
	for name, yaml := range map[string]string{
		"routes": listeners(listener("l", 0, "", chain("", s.serves("none.yaml", "0s")))),
		"hosts":  fmt.Sprintf("static_resources: {clusters: [%s]}", s.cluster("e", "none.yaml")),
	} {
		t.Run(name, func(t *testing.T) {
			a, err := app.New(compiled(t, yaml), app.Options{})
			if err != nil {
				t.Fatal(err)
			}
			started := make(chan error, 1)
			go func() { started <- a.Start() }()
			a.Close()
			if err := <-started; !errors.Is(err, app.ErrStopped) {
				t.Error(err)
			}
		})
	}
}

// A listener that is new, or changed, and waits for its routes leaves all others alone, and
// what there is of its name.
func TestListenerWarms(t *testing.T) {
	s := shelf{t, t.TempDir()}
	port, other := freePort(t), listener("other", 0, "", chain("", says("o")))
	waits := listener("w", port, "", chain("", s.serves("r.yaml", "0s")))
	l := start(t, app.Options{}, listeners(other))
	l.mustApply(listeners(other, waits, listener("more", 0, "", chain("", says("m")))))
	addr := fmt.Sprint("127.0.0.1:", port)
	if got := said(t, l.addr("more")); got != "m" {
		t.Error(got)
	}
	refused(t, addr)
	l.becomes("listener_manager.total_listeners_warming", 1)
	l.mustApply(listeners(other, waits)) // it goes on to wait
	if n := l.stat("listener_manager.listener_added"); n != 3 {
		t.Errorf("%d added", n)
	}
	s.routes("r.yaml", answers200)
	l.becomes("listener_manager.total_listeners_warming", 0)
	if got := status(t, addr); got != 200 {
		t.Error(got)
	}
	for name, more := range map[string]string{"chains": "", "all": "tcp_backlog_size: 7,"} {
		changed := listener("w", port, more, chain("", s.serves(name+".yaml", "0s")))
		l.mustApply(listeners(other, changed))
		if n := l.stat("listener_manager.total_listeners_warming"); n != 1 || status(t, addr) != 200 {
			t.Errorf("%s: %d warm", name, n)
		}
		s.routes(name+".yaml", answers201)
		l.becomes("listener_manager.total_listeners_warming", 0)
		if got := status(t, addr); got != 201 {
			t.Errorf("%s: %d", name, got)
		}
		l.mustApply(listeners(other, waits))
	}
}

// A change that is taken back while it warms leaves what there is; a listener that only
// warms is removed without a trace.
func TestWarmingTakenBack(t *testing.T) {
	s := shelf{t, t.TempDir()}
	base := listeners(listener("l", 0, "", chain("", echoes)))
	l := start(t, app.Options{}, base)
	c := dial(t, l.addr("l"))
	echoed(t, c)
	l.mustApply(listeners(listener("l", 0, "", chain("", s.serves("none.yaml", "0s"))), listener("w", 0, "", chain("", s.serves("none.yaml", "0s")))))
	l.mustApply(base)
	for name, want := range map[string]uint64{
		"total_listeners_warming": 0, "total_listeners_draining": 0, "total_filter_chains_draining": 0,
		"listener_added": 2, "listener_modified": 2, "listener_removed": 1,
	} {
		if n := l.stat("listener_manager." + name); n != want {
			t.Errorf("%s %d, want %d", name, n, want)
		}
	}
	echoed(t, c)
}

func (s shelf) cluster(name, file string) string {
	return fmt.Sprintf("{name: %s, type: EDS, eds_cluster_config: {service_name: e, eds_config: {initial_fetch_timeout: 0s, path_config_source: {path: %s}}}}", name, s.path(file))
}

func (s shelf) hosts(file string, addrs ...string) {
	text := `resources: [{"@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: e, endpoints: [{lb_endpoints: [`
	for _, a := range addrs {
		text += fmt.Sprintf("{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}, ", port(a))
	}
	s.put(file, text+"]}]}]")
}

// A new cluster that waits for its hosts is not there; what there is of a name that changes
// goes on until they have come. Hosts change in place.
func TestClusterWarms(t *testing.T) {
	s := shelf{t, t.TempDir()}
	to := `{name: t, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: e}}`
	with := func(clusters string) string {
		return listeners(listener("l", 0, "", chain("", to)), listener("a", 0, "", chain("", says("a"))), listener("b", 0, "", chain("", says("b")))) + "  clusters: [" + clusters + "]\n"
	}
	l := start(t, app.Options{}, with(""))
	l.mustApply(with(s.cluster("e", "e.yaml")))
	if n := l.stat("cluster_manager.warming_clusters"); n != 1 {
		t.Errorf("%d clusters warm", n)
	}
	if got := said(t, l.addr("l")); got != "" {
		t.Error(got)
	}
	s.hosts("e.yaml", l.addr("a"))
	l.becomes("cluster_manager.warming_clusters", 0)
	if got := said(t, l.addr("l")); got != "a" {
		t.Error(got)
	}
	l.mustApply(with(s.cluster("e", "other.yaml")))
	if got := said(t, l.addr("l")); got != "a" {
		t.Errorf("%q while the change warms", got)
	}
	s.hosts("other.yaml", l.addr("b"))
	l.becomes("cluster_manager.warming_clusters", 0)
	if got := said(t, l.addr("l")); got != "b" {
		t.Error(got)
	}
	s.hosts("other.yaml", l.addr("a"))
	l.becomes("cluster.e.update_success", 3)
	if got := said(t, l.addr("l")); got != "a" {
		t.Error(got)
	}
	if n := l.stat("cluster_manager.cluster_modified"); n != 1 {
		t.Errorf("%d modified", n)
	}
}

// Routes that say that their clusters have to be there can come with them, be it that these
// have to wait for their hosts, and are refused otherwise.
func TestRoutesComeWithTheirCluster(t *testing.T) {
	s := shelf{t, t.TempDir()}
	s.put("r.yaml", `resources: [{"@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: r, validate_clusters: true, virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: e}}]}]}]`)
	for name, x := range map[string]struct {
		cluster string
		want    int
	}{
		"one that is there at once": {"{name: e, load_assignment: {cluster_name: e}}", 503},
		"one that waits":            {s.cluster("e", "none.yaml"), 503},
		"another one":               {"{name: other, load_assignment: {cluster_name: other}}", 404},
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, app.Options{}, listeners(listener("first", 0, "", chain("", says("f")))))
			l.mustApply(listeners(listener("l", 0, "", chain("", s.serves("r.yaml", "0s")))) + "  clusters: [" + x.cluster + "]\n")
			if got := status(t, l.addr("l")); got != x.want {
				t.Errorf("%d, want %d", got, x.want)
			}
		})
	}
}

// A listener that cannot take its place, as its direction was stopped meanwhile, is left
// out, and holds up none of those that wait with it.
func TestEachWarmsForItself(t *testing.T) {
	s := shelf{t, t.TempDir()}
	l := start(t, app.Options{}, "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"+listeners())
	in, out := freePort(t), freePort(t)
	l.mustApply("admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n" + listeners(
		listener("in", in, "traffic_direction: INBOUND,", chain("", s.serves("in.yaml", "0s"))),
		listener("out", out, "", chain("", s.serves("out.yaml", "0s")))))
	l.becomes("listener_manager.total_listeners_warming", 2)
	l.post("/drain_listeners?inboundonly")
	s.routes("in.yaml", answers200)
	l.becomes("listener_manager.total_listeners_warming", 1)
	s.routes("out.yaml", answers200)
	l.becomes("listener_manager.total_listeners_warming", 0)
	if got := status(t, fmt.Sprint("127.0.0.1:", out)); got != 200 {
		t.Error(got)
	}
	refused(t, fmt.Sprint("127.0.0.1:", in))
}

// An address is given to another listener when the one that had it has left it, not while
// that goes on because its change has to wait.
func TestAddressOfWhatWaits(t *testing.T) {
	s := shelf{t, t.TempDir()}
	port := freePort(t)
	addr := fmt.Sprint("127.0.0.1:", port)
	l := start(t, app.Options{}, listeners(listener("a", port, "", chain("", says("a")))))
	moves := listener("a", 0, "", chain("", s.serves("r.yaml", "0s")))
	both := listeners(moves, listener("b", port, "", chain("", says("b"))))
	if err := l.apply(both); err == nil || !strings.Contains(err.Error(), `listener "b": `+addr+" is that of listener 'a'") {
		t.Fatal(err)
	}
	l.mustApply(listeners(moves))
	if err := l.apply(both); err == nil {
		t.Error("taken while it waits")
	}
	for range 10 {
		if got := said(t, addr); got != "a" {
			t.Fatal(got)
		}
	}
	s.routes("r.yaml", answers200)
	l.becomes("listener_manager.total_listeners_warming", 0)
	l.mustApply(both)
	if got := said(t, addr); got != "b" {
		t.Error(got)
	}
}
