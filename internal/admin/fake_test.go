package admin_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/admin"
	_ "github.com/ginnel/ginnel/internal/config/protos" // types inside Any
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/resource"
	"github.com/ginnel/ginnel/internal/secret"
	"github.com/ginnel/ginnel/internal/stats"
)

// A fake is a proxy with the configuration that the recordings of Envoy were made
// with. It notes what it was asked to do.
type fake struct {
	plan     *plan.Server
	clusters []admin.Cluster
	inproc   inproc.Stats
	conns    []admin.InprocConn
	secrets  []secret.State
	certs    []filter.CertificatesInUse
	quit     func()
	reopen   error

	mu        sync.Mutex
	state     adminv3.ServerInfo_State
	drains    []admin.DrainOptions
	reopened  int
	overrides map[string]*structpb.Value
}

func (f *fake) State() adminv3.ServerInfo_State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}
func (f *fake) Started() time.Time                 { return time.Now().Add(-time.Minute) }
func (f *fake) Plan() *plan.Server                 { return f.plan }
func (f *fake) Secrets() []secret.State            { return f.secrets }
func (f *fake) Clusters() []admin.Cluster          { return f.clusters }
func (f *fake) Inproc() inproc.Stats               { return f.inproc }
func (f *fake) WarmingListeners() []admin.Listener { return nil }
func (f *fake) WarmingClusters() []admin.Cluster   { return nil }

func (f *fake) DrainingListeners() []admin.Listener { return nil }
func (f *fake) Certificates() []filter.CertificatesInUse {
	return f.certs
}
func (f *fake) Unready() []admin.Unready        { return nil }
func (f *fake) Routes() []resource.Resource     { return nil }
func (f *fake) Connections() []admin.InprocConn { return append([]admin.InprocConn(nil), f.conns...) }

func (f *fake) FailHealth(fail bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = adminv3.ServerInfo_LIVE
	if fail {
		f.state = adminv3.ServerInfo_DRAINING
	}
}

func (f *fake) Drain(o admin.DrainOptions) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drains = append(f.drains, o)
}

func (f *fake) ReopenLogs() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reopened++
	return f.reopen
}

func (f *fake) Quit() { f.quit() }

func (f *fake) Runtime() []plan.RuntimeLayer {
	f.mu.Lock()
	defer f.mu.Unlock()
	layers := append([]plan.RuntimeLayer(nil), f.plan.Runtime...)
	for i := range layers {
		if layers[i].Admin {
			layers[i].Values = f.overrides
		}
	}
	return layers
}

func (f *fake) ModifyRuntime(values map[string]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, bad := values["refuse"]; bad {
		return errors.New("refused")
	}
	next := map[string]*structpb.Value{}
	for k, v := range f.overrides {
		next[k] = v
	}
	for k, v := range values {
		delete(next, k)
		if v != "" {
			next[k] = structpb.NewStringValue(v)
		}
	}
	f.overrides = next
	return nil
}

func (f *fake) Listeners() []admin.Listener {
	var out []admin.Listener
	for _, l := range f.plan.Bootstrap.GetStaticResources().GetListeners() {
		a := admin.Listener{Name: l.GetName(), Proto: l}
		if l.GetInternalListener() != nil {
			a.Addrs = []net.Addr{filter.InternalAddr{Listener: l.GetName()}}
		} else {
			a.Addrs = []net.Addr{netAddr(l.GetAddress())}
		}
		for _, more := range l.GetAdditionalAddresses() {
			a.Addrs = append(a.Addrs, netAddr(more.GetAddress()))
		}
		out = append(out, a)
	}
	return out
}

func netAddr(a *corev3.Address) net.Addr {
	if in := a.GetEnvoyInternalAddress(); in != nil {
		return filter.InternalAddr{Listener: in.GetServerListenerName(), Endpoint: in.GetEndpointId()}
	}
	if p := a.GetPipe(); p != nil {
		return filter.UnixAddr{Path: p.GetPath()}
	}
	s := a.GetSocketAddress()
	return filter.IPAddr{AddrPort: netip.AddrPortFrom(netip.MustParseAddr(s.GetAddress()), uint16(s.GetPortValue()))}
}

func cluster(c *clusterv3.Cluster) admin.Cluster {
	out := admin.Cluster{Name: c.GetName(), StatName: c.GetName(), Proto: c}
	if c.GetAltStatName() != "" {
		out.StatName = c.GetAltStatName()
	}
	for i := range out.Breakers {
		out.Breakers[i] = plan.Breaker{MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3}
	}
	for _, t := range c.GetCircuitBreakers().GetThresholds() {
		out.Breakers[t.GetPriority()] = plan.Breaker{
			MaxConnections: t.GetMaxConnections().GetValue(), MaxPending: t.GetMaxPendingRequests().GetValue(),
			MaxRequests: t.GetMaxRequests().GetValue(), MaxRetries: t.GetMaxRetries().GetValue(),
		}
	}
	out.Assignment.OverprovisionFactor = c.GetLoadAssignment().GetPolicy().GetOverprovisioningFactor().GetValue()
	for _, l := range c.GetLoadAssignment().GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			h := admin.Host{
				Addr: netAddr(e.GetEndpoint().GetAddress()), Hostname: e.GetEndpoint().GetHostname(),
				Health: e.GetHealthStatus(), Weight: max(1, e.GetLoadBalancingWeight().GetValue()),
				Metadata: e.GetMetadata(), Locality: l.GetLocality(), Priority: l.GetPriority(),
			}
			for _, more := range e.GetEndpoint().GetAdditionalAddresses() {
				h.Additional = append(h.Additional, netAddr(more.GetAddress()))
			}
			out.Hosts = append(out.Hosts, h)
		}
	}
	return out
}

func recorded(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "envoy-1.40.0", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newFake returns a fake of the recorded bootstrap.
func newFake(t *testing.T) *fake {
	t.Helper()
	return fakeOf(t, recorded(t, "bootstrap.yaml"))
}

func fakeOf(t *testing.T, text []byte) *fake {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	b := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(raw, b); err != nil {
		t.Fatal(err)
	}
	f := &fake{plan: &plan.Server{Bootstrap: b, Node: b.GetNode(), Runtime: []plan.RuntimeLayer{
		{Name: "static_layer_0", Values: map[string]*structpb.Value{
			"some.key": structpb.NewNumberValue(7), "other.flag": structpb.NewBoolValue(true), "text": structpb.NewStringValue("hello"),
		}},
		{Name: "admin_0", Admin: true},
	}}}
	for _, c := range b.GetStaticResources().GetClusters() {
		f.clusters = append(f.clusters, cluster(c))
	}
	return f
}

// levels is a set of loggers.
type levels struct {
	mu sync.Mutex
	of map[string]string
}

func (l *levels) Levels() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]string{}
	for k, v := range l.of {
		out[k] = v
	}
	return out
}

func (l *levels) SetLevel(component, level string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.of {
		if component == "" || component == k {
			l.of[k] = level
		}
	}
	return nil
}

func newServer(f *fake) *admin.Server {
	return admin.New(admin.Options{
		Proxy: f, Stats: stats.New(stats.Options{}), Version: "v1",
		Levels: &levels{of: map[string]string{"admin": "info", "config": "info", "upstream": "info"}},
	})
}
