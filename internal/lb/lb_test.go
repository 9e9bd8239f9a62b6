package lb_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
)

// draw picks n times with a fixed random sequence and returns the part of each port,
// and how many picks were panics.
func draw(b *lb.Balancer, n int) (parts map[int]float64, panics int) {
	return drawFor(b, n, lb.Request{})
}

func drawFor(b *lb.Balancer, n int, q lb.Request) (parts map[int]float64, panics int) {
	parts = make(map[int]float64)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range n {
		q.Random = rnd.Uint64()
		c := b.Pick(q)
		h, panicked := c.Host, c.Panics > 0
		port := 0
		if h != nil {
			a, _ := filter.IP(h.Addr)
			port = int(a.Port())
		}
		parts[port] += 1 / float64(n)
		if panicked {
			panics++
		}
	}
	return parts, panics
}

// states makes endpoints from letters: h(ealthy), d(egraded), u(nhealthy), x(cluded).
func states(first int, letters string) []lb.Endpoint {
	e := ports(first, make([]uint32, len(letters))...)
	for i, c := range letters {
		e[i].Health = lb.Health(strings.IndexRune("hdux", c))
	}
	return e
}

// Traffic by priority, health and panic threshold; ports count from 10*priority+1.
func TestSpread(t *testing.T) {
	for _, c := range []struct {
		priorities string // letters of the hosts, priorities apart by blanks
		panic      float64
		want       map[int]float64 // by port; 0: no host
		panics     bool
	}{
		{"h h", 50, map[int]float64{1: 1}, false},
		{"hu h", 50, map[int]float64{1: .7, 11: .3}, false},
		{"huu h", 50, map[int]float64{1: .46, 11: .54}, false},
		{"uu h", 50, map[int]float64{11: 1}, false},
		{"hd h", 50, map[int]float64{1: .7, 11: .3}, false},                 // healthy elsewhere before degraded
		{"hd", 50, map[int]float64{1: .7, 2: .3}, false},                    // degraded takes the rest
		{"ud ud", 50, map[int]float64{2: .7, 12: .3}, false},                // all degraded
		{"huuuuuuuuu huuuuuuuuu", 0, map[int]float64{1: .5, 11: .5}, false}, // scaled up alike
		{"uu", 50, map[int]float64{1: .5, 2: .5}, true},
		{"uu", 0, map[int]float64{0: 1}, false},
		{"uu uuu", 50, map[int]float64{1: .2, 2: .2, 11: .2, 12: .2, 13: .2}, true}, // by number
		{"xx", 50, map[int]float64{1: .5, 2: .5}, true},
		{"xh", 50, map[int]float64{2: 1}, false},
		{"xhu", 50, map[int]float64{2: 1}, false}, // one of two: at the threshold
		{"xhuu", 50, map[int]float64{1: .25, 2: .25, 3: .25, 4: .25}, true},
		{"", 50, map[int]float64{0: 1}, true},
		{"", 0, map[int]float64{0: 1}, false},
	} {
		t.Run(fmt.Sprintf("%q at %v", c.priorities, c.panic), func(t *testing.T) {
			var l []lb.Locality
			for p, letters := range strings.Split(c.priorities, " ") {
				l = append(l, lb.Locality{Priority: uint32(p), Endpoints: states(10*p+1, letters)})
			}
			const n = 20000
			got, panics := draw(lb.New(plan.LB{PanicPercent: c.panic}, lb.Hosts{Localities: l}, 0), n)
			for port := range got {
				if math.Abs(got[port]-c.want[port]) > .015 {
					t.Errorf("parts %v, want %v", got, c.want)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("parts %v, want %v", got, c.want)
			}
			if want := map[bool]int{true: n}[c.panics]; panics != want {
				t.Errorf("%d panics, want %d", panics, want)
			}
		})
	}
}

// Priorities that were tried are left out, until there is none left (the example of Envoy's
// documentation among others).
func TestTriedPriorities(t *testing.T) {
	for _, c := range []struct {
		priorities string // as in TestSpread
		every      int
		tried      []uint32
		want       map[int]float64 // by port
	}{
		{"h h h", 1, nil, map[int]float64{1: 1}},
		{"h h h", 1, []uint32{0}, map[int]float64{11: 1}},
		{"h h h", 1, []uint32{0, 1}, map[int]float64{21: 1}},
		{"h h h", 1, []uint32{0, 1, 2}, map[int]float64{1: 1}},
		{"h h h", 1, []uint32{0, 1, 2, 0}, map[int]float64{11: 1}},
		{"h h h", 2, []uint32{0}, map[int]float64{1: 1}},
		{"h h h", 2, []uint32{0, 0, 1}, map[int]float64{11: 1}},
		{"h h h", 0, []uint32{0}, map[int]float64{1: 1}},
		{"h huu huu", 1, []uint32{0}, map[int]float64{11: .54, 21: .46}}, // what is left over is the first's
		{"h u huu", 1, []uint32{0}, map[int]float64{21: 1}},
		{"h u huu", 1, []uint32{0, 2}, map[int]float64{1: 1}},
		{"h d", 1, []uint32{0}, map[int]float64{11: 1}},
		{"u u", 1, []uint32{0}, map[int]float64{1: .5, 11: .5}}, // nobody is well: as without
		{"h h", 1, []uint32{0, 7}, map[int]float64{11: 1}},      // of another version of the cluster
	} {
		var l []lb.Locality
		for p, letters := range strings.Fields(c.priorities) {
			l = append(l, lb.Locality{Priority: uint32(p), Endpoints: states(10*p+1, letters)})
		}
		b := lb.New(plan.LB{Policy: plan.Random, PanicPercent: 50}, lb.Hosts{Localities: l}, 0)
		q := lb.Request{Every: c.every}
		for _, p := range c.tried {
			q.Tried = append(q.Tried, &filter.Host{Priority: p})
		}
		got, _ := drawFor(b, 20000, q)
		for port := range got {
			if math.Abs(got[port]-c.want[port]) > .015 {
				t.Errorf("%+v: got %v", c, got)
				break
			}
		}
	}
}

func TestHealthByWeight(t *testing.T) {
	e := healthy(ports(1, 9, 1), lb.Healthy, lb.Unhealthy)
	l := []lb.Locality{{Endpoints: e}, {Priority: 1, Endpoints: ports(11, 1)}}
	for weigh, want := range map[bool]float64{false: .7, true: 1} {
		got, _ := draw(lb.New(plan.LB{PanicPercent: 50}, lb.Hosts{Localities: l, WeighHealth: weigh}, 0), 10000)
		if math.Abs(got[1]-want) > .02 {
			t.Errorf("weighed %v: %v of the traffic, want %v", weigh, got[1], want)
		}
	}
}

func TestWeights(t *testing.T) {
	for _, policy := range []plan.Policy{plan.RoundRobin, plan.LeastRequest, plan.RingHash, plan.Maglev} {
		p := plan.LB{Policy: policy, PanicPercent: 50, ActiveBias: 1}
		got, _ := draw(lb.New(p, lb.Hosts{Localities: one(ports(1, 1, 2, 5))}, 7), 40000)
		for port, want := range map[int]float64{1: .125, 2: .25, 3: .625} {
			if math.Abs(got[port]-want) > .03 {
				t.Errorf("policy %v: port %d has %.3f of the traffic, want %.3f", policy, port, got[port], want)
			}
		}
	}
	got, _ := draw(lb.New(plan.LB{Policy: plan.Random}, lb.Hosts{Localities: one(ports(1, 1, 9))}, 7), 40000)
	if math.Abs(got[1]-.5) > .02 {
		t.Errorf("RANDOM gave weight 1 of 10 %.3f of the traffic; it knows no weights", got[1])
	}
}

// A locality that is short of healthy hosts gives traffic away, beyond the
// overprovisioning factor; one without a weight gets none.
func TestLocalityWeights(t *testing.T) {
	l := []lb.Locality{
		{Zone: "a", Weight: 1, Endpoints: states(1, "h")},
		{Zone: "b", Weight: 1, Endpoints: states(11, "huuu")},
		{Zone: "c", Endpoints: states(21, "h")},
		{Zone: "a", Endpoints: states(31, "h")}, // one with the first
	}
	got, _ := draw(lb.New(plan.LB{LocalityWeights: true}, lb.Hosts{Localities: l}, 0), 27000)
	b := .35 / 1.35
	want := map[int]float64{1: (1 - b) / 2, 31: (1 - b) / 2, 11: b}
	for port := range got {
		if math.Abs(got[port]-want[port]) > .01 {
			t.Errorf("parts %v, want %v", got, want)
		}
	}
}

func TestLeastRequestAvoidsTheBusy(t *testing.T) {
	e := ports(1, 1, 1)
	e[0].Host.Requests.Store(5)
	got, _ := draw(lb.New(plan.LB{Policy: plan.LeastRequest, ChoiceCount: 2}, lb.Hosts{Localities: one(e)}, 0), 20000)
	if math.Abs(got[1]-.25) > .02 { // only when both choices fall on it
		t.Errorf("the busy host got %.3f of the picks", got[1])
	}
	e = ports(1, 2, 1)
	e[0].Host.Requests.Store(7)
	p := plan.LB{Policy: plan.LeastRequest, ActiveBias: 1}
	got, _ = draw(lb.New(p, lb.Hosts{Localities: one(e)}, 0), 20000)
	if math.Abs(got[1]-.2) > .02 { // 2/8 against 1
		t.Errorf("weight 2 of 3 with 7 active got %.3f of the picks", got[1])
	}
}

// A host at its limit passes a hash on to the others, the same one each time; the
// rest of the hashes stay where they are.
func TestBoundedLoad(t *testing.T) {
	for _, policy := range []plan.Policy{plan.RingHash, plan.Maglev} {
		e := ports(1, 1, 1, 1)
		p := plan.LB{Policy: policy, BalanceFactor: 150}
		free := lb.New(plan.LB{Policy: policy}, lb.Hosts{Localities: one(e)}, 0)
		b := lb.New(p, lb.Hosts{Localities: one(e)}, 0)
		e[0].Host.Requests.Store(4) // of 5 slots*0.5
		moved := make(map[*filter.Host]int)
		for i := range uint64(3000) {
			hash := i * 0x9e3779b97f4a7c15
			home := free.Pick(lb.Request{Hash: &hash}).Host
			got := b.Pick(lb.Request{Hash: &hash}).Host
			again := b.Pick(lb.Request{Hash: &hash}).Host
			switch {
			case got != again:
				t.Fatal("a hash went to two hosts")
			case home != e[0].Host && got != home:
				t.Fatal("a hash left a host that has room")
			case home == e[0].Host:
				moved[got]++
			}
		}
		if moved[e[0].Host] != 0 || moved[e[1].Host] < 300 || moved[e[2].Host] < 300 {
			t.Errorf("the busy host's hashes went to %v", moved)
		}
	}
}

// Nearly all hashes keep their host when another host leaves. (A modulus would move
// 4 of 5. On the ring a few move because each host gets more points then.)
func TestAffinity(t *testing.T) {
	for _, policy := range []plan.Policy{plan.RingHash, plan.Maglev} {
		const most = 600
		e := ports(1, 1, 1, 1, 1, 1)
		p := plan.LB{Policy: policy}
		before := lb.New(p, lb.Hosts{Localities: one(e)}, 0)
		after := lb.New(p, lb.Hosts{Localities: one(e[:4])}, 0)
		moved := 0
		for i := range uint64(5000) {
			hash := i * 0x9e3779b97f4a7c15
			a := before.Pick(lb.Request{Hash: &hash}).Host
			b := after.Pick(lb.Request{Hash: &hash}).Host
			if a != e[4].Host && a != b {
				moved++
			}
		}
		if moved > most {
			t.Errorf("policy %v: %d of 5000 hashes moved without need", policy, moved)
		}
	}
}

// With so many hosts that one byte does not number them, the table finds them all.
func TestMaglevOfManyHosts(t *testing.T) {
	for _, n := range []int{256, 257, 65536, 65537} {
		e := make([]lb.Endpoint, n)
		for i := range e {
			a := net.Addr(filter.InternalAddr{Listener: "l", Endpoint: fmt.Sprint(i)})
			e[i].Host = &filter.Host{Addr: a}
		}
		size := uint64(131071)
		b := lb.New(plan.LB{Policy: plan.Maglev, MaglevSize: size}, lb.Hosts{Localities: one(e)}, 0)
		seen := make(map[*filter.Host]bool)
		for h := range size {
			host := b.Pick(lb.Request{Hash: &h}).Host
			seen[host] = true
		}
		if len(seen) != n {
			t.Errorf("%d of %d hosts have slots", len(seen), n)
		}
	}
}

func TestConcurrentTurnsAreExact(t *testing.T) {
	for name, e := range map[string][]lb.Endpoint{"rotation": ports(1, 1, 1, 1, 1), "schedule": ports(1, 1, 3)} {
		b := lb.New(plan.LB{}, lb.Hosts{Localities: one(e)}, 3)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 1000 {
					h := b.Pick(lb.Request{}).Host
					h.Total.Add(1)
				}
			})
		}
		wg.Wait()
		for _, x := range e {
			if got, want := x.Host.Total.Load(), 1000*uint64(x.Weight); got != want {
				t.Errorf("%s: %d picks, want %d", name, got, want)
			}
		}
	}
}

func TestMembership(t *testing.T) {
	b := lb.New(plan.LB{}, lb.Hosts{Localities: []lb.Locality{
		{Endpoints: states(1, "hhdux")}, {Priority: 2, Endpoints: states(21, "hx")},
	}}, 0)
	if got := (b.Membership()); got != (lb.Membership{Total: 7, Healthy: 3, Degraded: 1, Excluded: 2}) {
		t.Errorf("%+v", got)
	}
}

func policies() map[string]plan.LB {
	return map[string]plan.LB{
		"round robin": {}, "least request": {Policy: plan.LeastRequest, ActiveBias: 1}, "random": {Policy: plan.Random},
		"ring": {Policy: plan.RingHash}, "maglev": {Policy: plan.Maglev}, "localities": {LocalityWeights: true},
		"bounded": {Policy: plan.Maglev, BalanceFactor: 150},
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	for name, p := range policies() {
		for _, weights := range [][]uint32{{1, 1, 1}, {1, 2, 5}} {
			e := ports(1, weights...)
			e[0].Host.Requests.Store(50)
			b := lb.New(p, lb.Hosts{Localities: []lb.Locality{{Weight: 1, Endpoints: e}}}, 0)
			hash := uint64(12345)
			n := testing.AllocsPerRun(100, func() {
				hash *= 0x9e3779b97f4a7c15
				b.Pick(lb.Request{Random: hash, Hash: &hash})
			})
			if n != 0 {
				t.Errorf("%s, weights %v: %v allocations", name, weights, n)
			}
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for name, p := range policies() {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			e := ports(1, 1, 2, 3, 4, 5, 6, 7, 8)
			x := lb.New(p, lb.Hosts{Localities: []lb.Locality{{Weight: 1, Endpoints: e}}}, 0)
			n := uint64(0)
			for b.Loop() {
				n += 0x9e3779b97f4a7c15
				x.Pick(lb.Request{Random: n, Hash: &n})
			}
		})
	}
}

// A full scan takes one of the least busy hosts, each of them as often.
func TestLeastOfAll(t *testing.T) {
	e := ports(1, 1, 1, 1, 1)
	e[1].Host.Requests.Store(1)
	b := lb.New(plan.LB{Policy: plan.LeastRequest, FullScan: true, PanicPercent: 50}, lb.Hosts{Localities: one(e)}, 0)
	got, _ := draw(b, 30000)
	for port, want := range map[int]float64{1: 1. / 3, 2: 0, 3: 1. / 3, 4: 1. / 3} {
		if math.Abs(got[port]-want) > .01 {
			t.Errorf("parts %v", got)
		}
	}
	e[0].Host.Requests.Store(2)
	e[2].Host.Requests.Store(2)
	e[3].Host.Requests.Store(2)
	if got, _ := draw(b, 100); len(got) != 1 || got[2] < .99 {
		t.Errorf("parts %v", got)
	}
}

// A panic that fails has no host, and is counted as one that has.
func TestFailOnPanic(t *testing.T) {
	b := lb.New(plan.LB{FailOnPanic: true, PanicPercent: 50}, lb.Hosts{Localities: one(states(1, "huu"))}, 0)
	got, panics := draw(b, 100)
	if len(got) != 1 || got[0] < .99 || panics != 100 {
		t.Errorf("parts %v, %d panics", got, panics)
	}
}
