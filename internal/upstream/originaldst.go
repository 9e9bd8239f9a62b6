package upstream

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/state"
)

// originals are the hosts of an ORIGINAL_DST cluster: whatever was asked for, each for as
// long as it is in use. Their health makes no difference to who is chosen (Envoy).
type originals struct {
	cluster *Cluster
	plan    *plan.OriginalDst

	mu    sync.Mutex
	hosts map[netip.AddrPort]*original
	sweep *time.Timer // nil: there are no hosts
	ended bool
	n     atomic.Int64 // hosts
}

type original struct {
	*host
	wanted bool // since the last sweep
}

// choose returns the host that a connection or request is meant for; nil: nothing says.
func (o *originals) choose(i *filter.Info) *host {
	to, ok := o.destination(i)
	if !ok {
		return nil
	}
	if o.plan.Port != nil {
		to = netip.AddrPortFrom(to.Addr(), *o.plan.Port)
	}
	h, fresh := o.host(to)
	if fresh && h.check != nil {
		o.cluster.begin(h.check) // apart, for it takes the cluster's lock
	}
	return h
}

// host returns the host of an address, and whether it was made for that.
func (o *originals) host(to netip.AddrPort) (h *host, fresh bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.hosts[to]
	if fresh = x == nil; fresh {
		x = o.add(to)
	}
	x.wanted = true
	return x.host, fresh
}

// destination searches the sources in Envoy's order. Text that is no address is counted,
// and the next source asked.
func (o *originals) destination(i *filter.Info) (netip.AddrPort, bool) {
	conn := i
	if h := i.HTTP(); h != nil && h.Conn != nil {
		conn = h.Conn
	}
	for _, in := range []*filter.Info{i, conn} {
		if a, ok := filter.Get[state.Address](&in.State, state.DestinationKey); ok {
			return a.AddrPort, true
		}
	}
	if k := o.plan.Metadata; k != nil {
		for _, in := range []*filter.Info{i, conn} {
			if text, ok := first(state.Walk(in.Metadata[k.Namespace], k.Path)); ok {
				if a, ok := o.parse(text); ok {
					return a, true
				}
				break
			}
		}
	}
	if h := i.HTTP(); o.plan.Header != "" && h != nil && h.Request != nil {
		for text := range h.Request.Values(o.plan.Header) {
			if a, ok := o.parse(text); ok {
				return a, true
			}
			break // the first line alone
		}
	}
	if !conn.LocalRestored() {
		return netip.AddrPort{}, false
	}
	return filter.IP(conn.Local)
}

// first returns a string, or the first one of a list.
func first(v *structpb.Value) (string, bool) {
	if l := v.GetListValue().GetValues(); len(l) > 0 {
		v = l[0]
	}
	s, ok := v.GetKind().(*structpb.Value_StringValue)
	if !ok {
		return "", false
	}
	return s.StringValue, true
}

func (o *originals) parse(text string) (netip.AddrPort, bool) {
	a, ok := state.ParseIPPort(text)
	if !ok {
		o.cluster.stats.scope.Counter("original_dst_host_invalid").Add(1)
	}
	return a.AddrPort, ok
}

// add makes a host. o.mu is held.
func (o *originals) add(to netip.AddrPort) *original {
	c := o.cluster
	e := &plan.Endpoint{Addr: filter.IPAddr{AddrPort: to}, Weight: 1, Hostname: c.plan.Name + to.String()}
	h := &original{host: c.newHost(&plan.Locality{}, e)}
	c.care(h.host, nil)
	if o.hosts == nil {
		o.hosts = make(map[netip.AddrPort]*original)
	}
	o.hosts[to] = h
	if o.sweep == nil && !o.ended {
		o.sweep = time.AfterFunc(o.plan.Cleanup, o.clean)
	}
	o.show()
	return h
}

// clean forgets the hosts that nobody asked for since it was last called, and that have
// neither connections nor requests.
func (o *originals) clean() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return
	}
	changed := false
	for to, h := range o.hosts {
		if !h.wanted && h.Active.Load() == 0 && h.requests.pending.Load() == 0 {
			delete(o.hosts, to)
			h.leave()
			changed = true
		}
		h.wanted = false
	}
	if changed {
		o.show()
	}
	if o.sweep = nil; len(o.hosts) > 0 {
		o.sweep = time.AfterFunc(o.plan.Cleanup, o.clean)
	}
}

// show tells the statistics how many hosts there are. o.mu is held.
func (o *originals) show() {
	o.n.Store(int64(len(o.hosts)))
	o.cluster.stats.counted(o.cluster)
}

// close ends the sweeps.
func (o *originals) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	if o.sweep != nil {
		o.sweep.Stop()
	}
}

func (o *originals) all() []*host {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make([]*host, 0, len(o.hosts))
	for _, to := range slices.SortedFunc(maps.Keys(o.hosts), netip.AddrPort.Compare) {
		out = append(out, o.hosts[to].host)
	}
	return out
}

func (o *originals) membership() lb.Membership {
	n := int(o.n.Load()) // the statistics ask under their lock
	return lb.Membership{Total: n, Healthy: n}
}
