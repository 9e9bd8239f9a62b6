package health

import (
	"encoding/binary"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/plan"
)

const userAgent = "Envoy/HC"

// An httpExam asks for a path.
type httpExam struct {
	plan      *plan.HTTPCheck
	authority string
}

func newHTTPExam(h *Host, p *plan.HTTPCheck) *httpExam {
	return &httpExam{p, firstOf(h.target.Hostname, p.Host, h.checker.opts.Cluster)}
}

// firstOf returns the first text that is not empty.
func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func (e *httpExam) protocol() httpmsg.Protocol { return e.plan.Protocol }

func (e *httpExam) request() (*httpmsg.Request, []byte) {
	r := &httpmsg.Request{
		Method: e.plan.Method, Scheme: "http", Authority: e.authority, Path: e.plan.Path, Protocol: e.plan.Protocol,
		Header: httpmsg.Header{{Name: "user-agent", Value: userAgent}},
	}
	if e.plan.Body != nil {
		r.Header.Add("content-length", strconv.Itoa(len(e.plan.Body)))
	}
	add(r, e.plan.Add)
	for _, name := range e.plan.Remove {
		r.Header.Del(name)
	}
	return r, e.plan.Body
}

// add adds headers as header_value_option says.
func add(r *httpmsg.Request, all []plan.HeaderAdd) {
	for _, a := range all {
		_, there := r.Lookup(a.Name)
		switch {
		case a.IfAbsent && there, a.IfPresent && !there:
		case a.Overwrite:
			r.Set(a.Name, a.Value)
		default:
			r.Header.Add(a.Name, a.Value)
		}
	}
}

func (e *httpExam) most() int {
	switch {
	case len(e.plan.Receive) == 0:
		return 0
	case e.plan.ReceiveBytes == 0:
		return mostBody
	}
	return e.plan.ReceiveBytes
}

// mostBody is how much of a body is kept where all of it is to be looked at.
const mostBody = 16 << 20

func (e *httpExam) judge(a answer) verdict {
	v := verdict{status: a.status, excluded: a.header.Has("x-envoy-immediate-health-check-fail")}
	if !within(e.plan.Expected, a.status) {
		v.retriable = within(e.plan.Retriable, a.status)
		return v
	}
	if v.passed = inOrder(a.body, e.plan.Receive); v.passed {
		v.degraded = a.header.Has("x-envoy-degraded")
		v.excluded = false
	}
	return v
}

func within(ranges []plan.StatusRange, status int) bool {
	return slices.ContainsFunc(ranges, func(r plan.StatusRange) bool { return r.Start <= status && status < r.End })
}

// A grpcExam asks grpc.health.v1.Health/Check.
type grpcExam struct {
	plan      *plan.GRPCCheck
	authority string
	body      []byte
}

func newGRPCExam(h *Host, p *plan.GRPCCheck) *grpcExam {
	e := &grpcExam{plan: p, authority: firstOf(h.target.Hostname, p.Authority, h.checker.opts.Cluster)}
	var message []byte
	if p.Service != "" {
		message = append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(p.Service))), p.Service...)
	}
	e.body = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	return e
}

func (e *grpcExam) protocol() httpmsg.Protocol { return httpmsg.HTTP2 }

func (e *grpcExam) request() (*httpmsg.Request, []byte) {
	r := &httpmsg.Request{
		Method: "POST", Scheme: "http", Authority: e.authority, Path: "/grpc.health.v1.Health/Check", Protocol: httpmsg.HTTP2,
		Header: httpmsg.Header{
			{Name: "te", Value: "trailers"}, {Name: "content-type", Value: "application/grpc"}, {Name: "user-agent", Value: userAgent},
		},
	}
	add(r, e.plan.Add)
	return r, e.body
}

func (e *grpcExam) most() int { return 1 << 10 }

// judge wants a message that says SERVING, and the status OK.
func (e *grpcExam) judge(a answer) verdict {
	code := a.trailer.Get("grpc-status")
	if a.trailer == nil {
		code = a.header.Get("grpc-status")
	}
	passed := a.status == 200 && code == "0" && serving(a.body)
	return verdict{passed: passed, degraded: passed && a.header.Has("x-envoy-degraded")}
}

// serving reports whether a message in gRPC's frame is a HealthCheckResponse with status
// SERVING (1).
func serving(p []byte) bool {
	const header = 5
	if len(p) < header || p[0] != 0 || uint64(binary.BigEndian.Uint32(p[1:])) != uint64(len(p)-header) {
		return false
	}
	status := uint64(0)
	for p = p[header:]; len(p) > 0; {
		field, kind, n := protowire.ConsumeTag(p)
		if n < 0 {
			return false
		}
		if field == 1 && kind == protowire.VarintType {
			status, _ = protowire.ConsumeVarint(p[n:])
		}
		size := protowire.ConsumeFieldValue(field, kind, p[n:])
		if size < 0 {
			return false
		}
		p = p[n+size:]
	}
	return status == 1
}
