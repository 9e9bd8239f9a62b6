package lb_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
)

func ip(s string) net.Addr { return filter.IPAddr{AddrPort: netip.MustParseAddrPort(s)} }

// port returns endpoints on 127.0.0.1, one for each weight, the ports from first on.
func ports(first int, weights ...uint32) (out []lb.Endpoint) {
	for i, w := range weights {
		a := ip(fmt.Sprintf("127.0.0.1:%d", first+i))
		out = append(out, lb.Endpoint{Host: &filter.Host{Addr: a}, Weight: w})
	}
	return out
}

func healthy(in []lb.Endpoint, h ...lb.Health) []lb.Endpoint {
	for i := range h {
		in[i].Health = h[i]
	}
	return in
}

func one(e []lb.Endpoint) []lb.Locality { return []lb.Locality{{Endpoints: e}} }

// goldenHosts are the hosts of the clusters whose choices were recorded.
func goldenHosts(name string) []lb.Locality {
	_, kind, _ := strings.Cut(name, "_")
	switch kind {
	case "three":
		return one(ports(1, 1, 1, 1))
	case "mixed":
		var out []lb.Endpoint
		for _, a := range []net.Addr{
			filter.InternalAddr{Listener: "in", Endpoint: "e1"}, filter.InternalAddr{Listener: "in", Endpoint: "e2"},
			ip("[::1]:4"), filter.UnixAddr{Path: "@nope"},
		} {
			out = append(out, lb.Endpoint{Host: &filter.Host{Addr: a}})
		}
		return one(out)
	case "keyed":
		e := ports(1, 1, 3, 1)
		e[0].Key = "k-one"
		return one(e)
	case "locality", "noloc":
		return []lb.Locality{
			{Region: "r", Zone: "b", Weight: 1, Endpoints: ports(1, 1, 1)},
			{Region: "r", Zone: "a", Weight: 3, Endpoints: ports(3, 1, 3)},
		}
	case "priority":
		return []lb.Locality{
			{Endpoints: healthy(ports(1, 1, 1, 1), lb.Healthy, lb.Unhealthy, lb.Degraded)},
			{Priority: 1, Endpoints: ports(4, 1, 1)},
		}
	}
	return one(ports(1, 1, 2, 5))
}

func goldenPolicy(name string) plan.LB {
	kind, variant, _ := strings.Cut(name, "_")
	p := plan.LB{
		Policy:       map[string]plan.Policy{"ring": plan.RingHash, "maglev": plan.Maglev, "lr": plan.LeastRequest}[kind],
		PanicPercent: 50, ActiveBias: 1, LocalityWeights: variant == "locality",
	}
	switch name {
	case "ring_murmur":
		p.Murmur = true
	case "ring_small":
		p.MinRing, p.MaxRing = 10, 16
	case "ring_capped":
		p.MinRing, p.MaxRing = 100, 100
	case "maglev_small":
		p.MaglevSize = 11
	}
	return p
}

func recorded(t *testing.T) map[string]string {
	text, err := os.ReadFile("testdata/picks.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if name, picks, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			out[name] = picks
		}
	}
	return out
}

// Hosts are chosen exactly as Envoy chose them.
func TestChoicesOfEnvoy(t *testing.T) {
	all := recorded(t)
	if len(all) < 20 {
		t.Fatalf("%d recordings", len(all))
	}
	for name, want := range all {
		t.Run(name, func(t *testing.T) {
			hosts := goldenHosts(name)
			digit := make(map[*filter.Host]byte)
			for _, l := range hosts {
				for _, e := range l.Endpoints {
					digit[e.Host] = '0' + byte(len(digit))
				}
			}
			picks := func(seed uint64, n int) string {
				b := lb.New(goldenPolicy(name), lb.Hosts{Localities: hosts}, seed)
				out := make([]byte, n)
				for i := range out {
					hash := xxhash.Sum64String(fmt.Sprintf("key-%d", i))
					h := b.Pick(lb.Request{Random: uint64(i), Hash: &hash}).Host
					out[i] = digit[h]
				}
				return string(out)
			}
			if strings.HasPrefix(name, "ring") || strings.HasPrefix(name, "maglev") {
				if got := picks(1, len(want)); got != want {
					t.Errorf("picks\n%s\nEnvoy's\n%s", got, want)
				}
				return
			}
			// Rotations begin where a random seed says: one of ours is Envoy's.
			for seed := range uint64(64) {
				if strings.Contains(picks(seed, 2*len(want)), want) {
					return
				}
			}
			t.Errorf("picks\n%s\nare none of ours, as\n%s", want, picks(0, len(want)))
		})
	}
}

func TestTableSizesOfEnvoy(t *testing.T) {
	for name, want := range map[string]lb.TableStats{
		"ring_capped":     {Size: 100, Least: 13, Most: 62},
		"ring_keyed":      {Size: 1025, Least: 205, Most: 615},
		"ring_locality":   {Size: 1024, Least: 128, Most: 576},
		"ring_noloc":      {Size: 1026, Least: 171, Most: 513},
		"ring_priority":   {Size: 1024, Least: 512, Most: 512},
		"ring_small":      {Size: 16, Least: 2, Most: 10},
		"maglev_keyed":    {Size: 65537, Least: 13107, Most: 39322},
		"maglev_locality": {Size: 65537, Least: 8193, Most: 36863},
		"maglev_small":    {Size: 11, Least: 2, Most: 6},
	} {
		got, ok := lb.New(goldenPolicy(name), lb.Hosts{Localities: goldenHosts(name)}, 0).Table()
		if !ok || got != want {
			t.Errorf("%s: %v %v, Envoy %v", name, got, ok, want)
		}
	}
}
