package reliability

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/test/origin"
	"github.com/ginnel/ginnel/test/proxy"
)

const swapsPerSecond = 20 // more than files are looked at: what comes in quick succession is one

// A folder of files that the proxy watches.
type folder string

func (f folder) path(file string) string { return filepath.Join(string(f), file) }

// put moves a file of one resource into place.
func (f folder) put(t *testing.T, file, version, typ, resource string) {
	t.Helper()
	text := fmt.Sprintf("version_info: %q\nresources: [{\"@type\": type.googleapis.com/envoy.config.%s, %s}]\n", version, typ, resource)
	if err := os.WriteFile(f.path("next"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.path("next"), f.path(file)); err != nil {
		t.Fatal(err)
	}
}

// routes leads to one cluster or the other by tables that differ from version to version.
func (f folder) routes(t *testing.T, n int) {
	var more strings.Builder
	for i := range n % 5 {
		fmt.Fprintf(&more, "{match: {path: /%d}, direct_response: {status: 204}}, ", i)
	}
	f.put(t, "rds.yaml", fmt.Sprint(n), "route.v3.RouteConfiguration",
		fmt.Sprintf(`name: r, virtual_hosts: [{name: v, domains: ["*"], routes: [%s{match: {prefix: /}, route: {cluster: hosts%d}}]}]`, &more, n%2))
}

// hosts is another choice of hosts, of other weights, from version to version.
func (f folder) hosts(t *testing.T, n int, addrs []string) {
	var all []string
	for i := range 1 + n%len(addrs) {
		all = append(all, fmt.Sprintf("{load_balancing_weight: %d, endpoint: {address: %s}}", 1+(n+i)%3, socketAt(addrs[(n+i)%len(addrs)])))
	}
	f.put(t, "eds.yaml", fmt.Sprint(n), "endpoint.v3.ClusterLoadAssignment",
		fmt.Sprintf("cluster_name: svc, policy: {overprovisioning_factor: %d}, endpoints: [{lb_endpoints: [%s]}]", 100+n%50, strings.Join(all, ", ")))
}

// TestSwaps: while routes and hosts from files change, no request fails, no connection of a
// client is closed, and connections through hosts that are gone go on.
func TestSwaps(t *testing.T) {
	f := folder(t.TempDir())
	var addrs []string
	for range 3 {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", newHost(t).port()))
	}
	echo := origin.Listen(t, origin.Echo).String()
	f.routes(t, 0)
	f.hosts(t, 0, addrs)
	f.put(t, "echo.yaml", "0", "endpoint.v3.ClusterLoadAssignment", "cluster_name: echo, endpoints: [{lb_endpoints: [{endpoint: {address: "+socketAt(echo)+"}}]}]")
	p := proxy.Start(t, proxy.Build(t), f.config())
	var long []net.Conn
	for range 50 {
		c, err := net.Dial("tcp", p.Addr("long"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		echoed(t, c)
		long = append(long, c)
	}
	f.put(t, "echo.yaml", "1", "endpoint.v3.ClusterLoadAssignment", "cluster_name: echo")
	p.Await(t, "cluster.echo.membership_total", 0)

	over := make(chan struct{})
	var clients sync.WaitGroup
	var took latencies
	tokens := pace(&clients, 500, over)
	for i := range 12 {
		clients.Go(func() { request(t, p.Addr("http"), transport(i%3 == 0, i%4 == 3), tokens, &took) })
	}
	n := 0
	tick := time.NewTicker(time.Second / swapsPerSecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && !t.Failed(); <-tick.C {
		n++
		f.routes(t, n)
		f.hosts(t, n, addrs)
	}
	close(over)
	clients.Wait()
	for i, c := range long {
		if err := echoOnce(c); err != nil {
			t.Errorf("connection %d at the end: %v", i, err)
		}
	}
	t.Logf("%d swaps, of which %d of routes were seen, requests: %s", n, p.Stat(t, "http.http.rds.r.config_reload"), &took)
	for name, want := range map[string]int{
		"http.http.downstream_rq_5xx": 0, "http.http.rds.r.update_rejected": 0, "http.http.rds.r.update_failure": 0,
		"cluster.hosts0.update_rejected": 0, "cluster.hosts1.update_failure": 0, "listener_manager.listener_modified": 0, "cluster_manager.cluster_modified": 0,
	} {
		if got := p.Stat(t, name); got != want {
			t.Errorf("%s is %d, not %d", name, got, want)
		}
	}
	for _, name := range []string{"http.http.rds.r.config_reload", "cluster.hosts0.update_success", "cluster.hosts1.update_success"} {
		if got := p.Stat(t, name); got < 3 {
			t.Errorf("%s is %d: nothing was swapped", name, got)
		}
	}
}

func (f folder) config() string {
	var b strings.Builder
	b.WriteString("static_resources:\n  listeners:\n")
	source := func(file string) string { return "{path_config_source: {path: " + f.path(file) + "}}" }
	listen(&b, "http", "", filterChain("", anybody, strings.Replace(httpTo("http", "x"),
		`route_config: {virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: x}}]}]}`,
		"rds: {route_config_name: r, config_source: "+source("rds.yaml")+"}", 1)))
	listen(&b, "long", "", filterChain("", anybody, tcpTo("long", "echo")))
	b.WriteString("  clusters:\n")
	for _, name := range []string{"hosts0", "hosts1"} {
		fmt.Fprintf(&b, "  - {name: %s, type: EDS, eds_cluster_config: {service_name: svc, eds_config: %s}}\n", name, source("eds.yaml"))
	}
	fmt.Fprintf(&b, "  - {name: echo, type: EDS, eds_cluster_config: {eds_config: %s}}\n", source("echo.yaml"))
	return b.String()
}
