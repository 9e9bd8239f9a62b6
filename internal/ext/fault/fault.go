// Package fault is an HTTP filter that delays, aborts and slows requests on purpose
// (envoy.extensions.filters.http.fault.v3.HTTPFault).
package fault

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/nameset"
)

// Register adds the filter, and what routes say in its place, to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.HTTPFilter, func(s *extension.Scope, m *faultv3.HTTPFault) filter.HTTPFilterFactory {
		return compile(s, m)
	})
	extension.Register(r, extension.HTTPRouteFilter, func(s *extension.Scope, m *faultv3.HTTPFault) any {
		return compile(s, m)
	})
}

// NewHTTPFilter implements filter.HTTPFilterFactory.
func (x *settings) NewHTTPFilter(env *filter.HTTPEnv) (filter.HTTPFilter, error) {
	stats := env.HTTP.Scope("fault.")
	return &fault{
		own: x, name: env.Name, runtime: env.Runtime, stats: stats, peers: nameset.Set{Most: mostPeers},
		delays: stats.Counter("delays_injected"), aborts: stats.Counter("aborts_injected"),
		rates: stats.Counter("response_rl_injected"), overflow: stats.Counter("faults_overflow"),
		gauge: stats.Gauge("active_faults"),
	}, nil
}

// mostPeers is how many downstream clusters have statistics: clients name them.
const mostPeers = 1000

// fault is the running filter.
type fault struct {
	own     *settings
	name    string
	runtime filter.Runtime // nil: there is none
	stats   filter.Scope
	peers   nameset.Set // downstream clusters that have statistics of their own
	active  atomic.Int64

	delays, aborts, rates, overflow filter.Counter
	gauge                           filter.Gauge
}

// WrapHTTP implements filter.HTTPFilter.
func (f *fault) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		x := f.settings(s)
		if !x.concern(s) {
			return next.ServeHTTP(s)
		}
		v := &victim{fault: f, settings: x, stream: s}
		if x.perPeer {
			v.peer = tidy(s.Request.Header.Get("x-envoy-downstream-service-cluster"))
		}
		return v.serve(next)
	})
}

// settings are those of the most specific level of the route, else the filter's own.
func (f *fault) settings(s *filter.HTTPStream) *settings {
	if r := s.Route(); r != nil {
		if all := r.FilterConfigs(f.name); len(all) > 0 {
			if x, ok := all[len(all)-1].(*settings); ok {
				return x
			}
		}
	}
	return f.own
}

// concern reports whether a request is one of those that are meant.
func (x *settings) concern(s *filter.HTTPStream) bool {
	if x.delay == nil && x.abort == nil && x.rate == nil {
		return false
	}
	if x.cluster != "" {
		if name, ok := filter.ClusterOf(s.Route(), s.Request); !ok || name != x.cluster {
			return false
		}
	}
	if len(x.nodes) > 0 {
		if node, ok := s.Request.Header.Lookup("x-envoy-downstream-service-node"); !ok || !slices.Contains(x.nodes, node) {
			return false
		}
	}
	return x.headers.Request(s.Request)
}

// A victim is a request while faults are done to it.
type victim struct {
	*fault
	*settings
	stream *filter.HTTPStream
	peer   string // downstream cluster; "": it is not known, or does not matter
	charge bool   // counted among the active faults
}

func (v *victim) serve(next filter.HTTPHandler) (*httpmsg.Response, error) {
	kbps := v.slow()
	if d := v.wait(); d > 0 && v.take() {
		if err := v.sleep(d); err != nil {
			return nil, err
		}
	}
	if resp := v.refuse(); resp != nil {
		return resp, nil
	}
	resp, err := next.ServeHTTP(v.stream)
	if err == nil && kbps > 0 && resp.Body != nil {
		resp.Body = newLimited(resp.Body, kbps)
	}
	return resp, err
}

// take counts the request among those with a fault, once and until it ends; false: there
// are enough.
func (v *victim) take() bool {
	if v.charge {
		return true
	}
	most := v.number(v.keys.most, v.settings.most)
	if n := v.active.Add(1); uint64(n) > most {
		v.active.Add(-1)
		v.overflow.Add(1)
		return false
	}
	v.charge = true
	v.gauge.Add(1)
	v.stream.OnEnd(func() {
		v.active.Add(-1)
		v.gauge.Add(-1)
	})
	return true
}

// number is a number that the runtime may set in place of def.
func (v *victim) number(key string, def uint64) uint64 {
	if v.runtime == nil {
		return def
	}
	return v.runtime.Uint(key, def)
}

// ofPeer is a number that the runtime may set for requests of one downstream cluster, too.
func (v *victim) ofPeer(key, before, after string, def uint64) uint64 {
	n := v.number(key, def)
	if v.peer != "" {
		n = v.number(before+v.peer+after, n)
	}
	return n
}

// hits draws whether a request is among the share that is meant, of which the header may
// ask for less and the runtime for another percentage.
func (v *victim) hits(s share, header, key, before, after string) bool {
	if header != "" {
		if n, ok := v.asked(header); ok {
			s.numerator = min(n, s.numerator)
		}
	}
	if v.runtime != nil {
		n := v.runtime.Uint(key, math.MaxUint64)
		if v.peer != "" && before != "" {
			n = v.runtime.Uint(before+v.peer+after, n)
		}
		if n != math.MaxUint64 {
			s = share{n, 100}
		}
	}
	return rand.Uint64N(s.one) < s.numerator
}

// asked returns a number that a header of the request has.
func (v *victim) asked(header string) (uint64, bool) {
	n, err := strconv.ParseUint(v.stream.Request.Header.Get(header), 10, 64)
	return n, err == nil
}

// wait is how long the request is to be delayed; 0: not at all.
func (v *victim) wait() time.Duration {
	d := v.delay
	if d == nil {
		return 0
	}
	ms, header := uint64(d.fixed.Milliseconds()), ""
	if d.fixed == 0 {
		header = "x-envoy-fault-delay-request-percentage"
	}
	if !v.hits(d.share, header, v.keys.delayPercent, "fault.http.", ".delay.fixed_delay_percent") {
		return 0
	}
	if d.fixed == 0 {
		var ok bool
		if ms, ok = v.asked("x-envoy-fault-delay-request"); !ok {
			return 0
		}
	}
	ms = v.ofPeer(v.keys.delay, "fault.http.", ".delay.fixed_duration_ms", ms)
	return time.Duration(min(ms, uint64(math.MaxInt64/time.Millisecond))) * time.Millisecond
}

// sleep delays the request, unless its client goes away meanwhile.
func (v *victim) sleep(d time.Duration) error {
	v.count(v.delays, "delays_injected")
	v.mark(filter.DelayInjected)
	gone := make(chan *httpmsg.ResetError, 1)
	v.stream.OnReset(func(why *httpmsg.ResetError) {
		select {
		case gone <- why:
		default:
		}
	})
	defer v.stream.OnReset(nil)
	t := time.NewTimer(d)
	defer t.Stop()
	v.stream.Wait()
	defer v.stream.Resume()
	select {
	case <-t.C:
		return nil
	case why := <-gone:
		return why
	}
}

// refuse answers the request in place of its host; nil: it goes on.
func (v *victim) refuse() *httpmsg.Response {
	a := v.abort
	if a == nil {
		return nil
	}
	header := ""
	if a.status == 0 && !a.isGRPC {
		header = "x-envoy-fault-abort-request-percentage"
	}
	if !v.hits(a.share, header, v.keys.abortPercent, "fault.http.", ".abort.abort_percent") {
		return nil
	}
	status, grpc, ok := v.verdict()
	if !ok || !v.take() {
		return nil
	}
	v.count(v.aborts, "aborts_injected")
	v.mark(filter.FaultInjected)
	l := filter.LocalReply{Status: int(status), Body: a.body, Details: "fault_filter_abort", GRPCStatus: int(grpc)}
	return v.stream.Reply(l)
}

// verdict is what an abort answers: an HTTP status, or 200 and one of gRPC.
func (v *victim) verdict() (status, grpc uint64, ok bool) {
	a := v.abort
	status, grpc, isGRPC := a.status, a.grpc, a.isGRPC
	if status == 0 && !isGRPC {
		if n, ok := v.asked("x-envoy-fault-abort-request"); ok && n >= 200 && n < 600 {
			status = n
		} else if grpc, isGRPC = v.asked("x-envoy-fault-abort-grpc-request"); !isGRPC {
			return 0, 0, false
		}
	}
	if status > 0 {
		status = v.ofPeer(v.keys.abortStatus, "fault.http.", ".abort.http_status", status)
		return status, 0, status >= 200 && status < 600
	}
	grpc = v.ofPeer(v.keys.grpcStatus, "fault.http.", ".abort.grpc_status", grpc)
	return 200, min(grpc, math.MaxInt32), true
}

// slow is how fast the response may be, in KiB/s; 0: as fast as it is.
func (v *victim) slow() uint64 {
	r := v.rate
	if r == nil {
		return 0
	}
	kbps, header := r.kbps, ""
	if kbps == 0 {
		header = "x-envoy-fault-throughput-response-percentage"
	}
	if !v.hits(r.share, header, v.keys.ratePercent, "", "") {
		return 0
	}
	if kbps == 0 {
		if kbps, _ = v.asked("x-envoy-fault-throughput-response"); kbps == 0 {
			return 0
		}
	}
	if !v.take() {
		return 0
	}
	v.rates.Add(1)
	return kbps
}

func (v *victim) count(c filter.Counter, name string) {
	c.Add(1)
	if v.peer != "" && v.peers.Admit(v.peer) {
		v.stats.Counter(v.peer + "." + name).Add(1)
	}
}

// mark tells access logs what was done.
func (v *victim) mark(flag filter.Flags) {
	v.stream.Info.Raise(flag)
	v.stream.Info.MergeMetadata(filter.Metadata{v.name: v.metadata})
}
