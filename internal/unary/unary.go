// Package unary calls gRPC services behind clusters: one message there, one back.
package unary

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

var (
	serviceFields = extension.Fields{
		Message: &corev3.GrpcService{},
		Obeyed:  []string{"envoy_grpc", "timeout", "initial_metadata"},
	}
	envoyFields = extension.Fields{
		Message: &corev3.GrpcService_EnvoyGrpc{},
		Obeyed:  []string{"cluster_name", "authority", "max_receive_message_length", "skip_envoy_headers"},
	}
	valueFields = extension.Fields{Message: &corev3.HeaderValue{}, Obeyed: []string{"key", "value"}}
)

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return []*extension.Fields{&serviceFields, &envoyFields, &valueFields}
}

// A Service is where calls go. It is immutable.
type Service struct {
	cluster, authority string
	timeout            time.Duration // 0: none
	header             httpmsg.Header
	most               int  // bytes of an answer
	bare               bool // no headers of Envoy's
}

// mostBytes are taken of an answer where nothing is configured: what gRPC has elsewhere.
const mostBytes = 4 << 20

// Compile compiles a service; timeout is that of one that has none configured.
func Compile(s *extension.Scope, m *corev3.GrpcService, timeout time.Duration) *Service {
	serviceFields.Check(s, m)
	g := m.GetEnvoyGrpc()
	if g == nil {
		if m.GetGoogleGrpc() == nil {
			s.Errorf("target_specifier is required")
		}
		return nil
	}
	at := s.Field("envoy_grpc")
	envoyFields.Check(at, g)
	if g.GetClusterName() == "" {
		at.Field("cluster_name").Errorf("is required")
	}
	at.Field("cluster_name").Cluster(g.GetClusterName())
	out := &Service{cluster: g.GetClusterName(), authority: g.GetAuthority(), timeout: timeout, most: mostBytes, bare: g.GetSkipEnvoyHeaders()}
	if out.authority == "" {
		out.authority = out.cluster
	}
	if m.GetTimeout() != nil {
		out.timeout = m.Timeout.AsDuration()
	}
	if n := m.GetEnvoyGrpc().GetMaxReceiveMessageLength(); n != nil {
		out.most = int(n.Value)
	}
	for i, h := range m.GetInitialMetadata() {
		valueFields.Check(s.Field("initial_metadata").Index(i), h)
		out.header.Add(strings.ToLower(h.GetKey()), h.GetValue())
	}
	return out
}

// Why a call failed, beside what clusters say.
var (
	errNoCluster = errors.New("no such cluster")
	errNotHTTP   = errors.New("the cluster does not speak HTTP")
	errRefused   = errors.New("the cluster takes no requests")
	errTooLong   = errors.New("the answer is too long")
	errNoMessage = errors.New("the answer is not one message")
)

// Call calls a method, such as "/package.Service/Method", for a connection, and waits for
// the answer: until the service's timeout, or the end of ctx.
func (v *Service) Call(ctx context.Context, env *filter.Env, conn *filter.Info, method string, in, out proto.Message) error {
	if v.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, v.timeout)
		defer cancel()
	}
	c, ok := env.Clusters.Cluster(v.cluster)
	if !ok {
		return fmt.Errorf("%s: %w", v.cluster, errNoCluster)
	}
	h, ok := c.(filter.HTTPCluster)
	if !ok {
		return fmt.Errorf("%s: %w", v.cluster, errNotHTTP)
	}
	if h.Refuses() != filter.NotRefused {
		return fmt.Errorf("%s: %w", v.cluster, errRefused)
	}
	body, err := frame(in)
	if err != nil {
		return err
	}
	a, err := ask(ctx, h, v.request(method), body, conn, v.most)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("%s: %w", method, err)
	}
	return a.message(out)
}

func (v *Service) request(method string) *httpmsg.Request {
	r := &httpmsg.Request{Method: "POST", Scheme: "http", Authority: v.authority, Path: method, Protocol: httpmsg.HTTP2}
	r.Header.Add("te", "trailers")
	r.Header.Add("content-type", "application/grpc")
	if v.timeout > 0 {
		ms := strconv.FormatInt(max(v.timeout.Milliseconds(), 1), 10)
		r.Header.Add("grpc-timeout", ms+"m")
		if !v.bare {
			r.Header.Add("x-envoy-expected-rq-timeout-ms", ms)
		}
	}
	if !v.bare {
		r.Header.Add("x-envoy-internal", "true")
	}
	for _, f := range v.header {
		r.Header.Add(f.Name, f.Value)
	}
	return r
}

const frameBytes = 5 // before a message: whether it is compressed, and its length

func frame(m proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, frameBytes, 256), m)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-frameBytes))
	return b, nil
}

// An answer is a response as a whole.
type answer struct {
	status          int
	header, trailer httpmsg.Header
	body            []byte
}

// message reads the message of an answer in order.
func (a *answer) message(out proto.Message) error {
	code, text := a.trailer.Get("grpc-status"), a.trailer.Get("grpc-message")
	if code == "" {
		code, text = a.header.Get("grpc-status"), a.header.Get("grpc-message")
	}
	switch {
	case a.status != 200:
		return fmt.Errorf("HTTP status %d", a.status)
	case code != "0":
		return fmt.Errorf("gRPC status %q: %s", code, text)
	case len(a.body) < frameBytes || a.body[0] != 0 || int(binary.BigEndian.Uint32(a.body[1:])) != len(a.body)-frameBytes:
		return errNoMessage
	}
	return proto.Unmarshal(a.body[frameBytes:], out)
}

// ask sends a request and waits for the whole answer.
func ask(ctx context.Context, c filter.HTTPCluster, r *httpmsg.Request, body []byte, conn *filter.Info, most int) (*answer, error) {
	info := &filter.Info{Start: time.Now(), ChainID: conn.ChainID, Parent: conn.Parent, Listener: conn.Listener, Depth: conn.Depth}
	info.Local, info.Remote = conn.Local, conn.Remote
	info.More().HTTP = &filter.HTTPInfo{Conn: info, Protocol: httpmsg.HTTP2, Request: r}
	deadline, _ := ctx.Deadline()
	x, err := c.Open(&filter.StreamRequest{
		Info: info, Protocol: httpmsg.HTTP2, Deadline: deadline,
		Waiting: func() <-chan struct{} { return ctx.Done() },
	})
	if err != nil {
		return nil, err
	}
	defer x.Release()
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		x.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		close(over)
	})
	a, err := talk(x, r, body, most)
	if !stop() {
		<-over
		err = ctx.Err()
	}
	if err != nil {
		var why *httpmsg.ResetError
		errors.As(err, &why)
		x.Outcome(0, why)
		return nil, err
	}
	x.Outcome(a.status, nil)
	return a, nil
}

func talk(x filter.UpstreamStream, r *httpmsg.Request, body []byte, most int) (*answer, error) {
	if err := x.WriteRequest(r, false); err != nil {
		return nil, err
	}
	if err := x.WriteData(body, true); err != nil {
		return nil, err
	}
	if err := x.Flush(); err != nil {
		return nil, err
	}
	for {
		resp, err := x.ReadResponse()
		if err != nil {
			return nil, err
		}
		if !resp.Informational() {
			return read(resp, most)
		}
	}
}

func read(r *httpmsg.Response, most int) (*answer, error) {
	a := &answer{status: r.Status, header: r.Header.Clone()}
	if r.Body == nil {
		return a, nil
	}
	for {
		p, err := r.Body.Next()
		if len(a.body)+len(p) > most+frameBytes {
			return nil, errTooLong
		}
		a.body = append(a.body, p...)
		switch err {
		case nil:
		case io.EOF:
			a.trailer = r.Body.Trailer().Clone()
			return a, nil
		default:
			return nil, err
		}
	}
}
