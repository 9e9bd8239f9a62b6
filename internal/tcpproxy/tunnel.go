package tcpproxy

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
	"github.com/ginnel/ginnel/internal/state"
	"github.com/ginnel/ginnel/internal/tunnel"
)

// A Tunnel is how connections are carried in HTTP to the cluster: tunneling_config.
type Tunnel struct {
	Host     state.Formatter
	PostPath string // of a POST; "": CONNECT
	Headers  route.Mutations

	KeepHeaders, KeepTrailers bool // of the response, in the connection's filter state
}

var tunnelFields = extension.Fields{
	Message: &tcpproxyv3.TcpProxy_TunnelingConfig{},
	Obeyed:  []string{"hostname", "use_post", "post_path", "headers_to_add", "formatters", "propagate_response_headers", "propagate_response_trailers"},
}

func compileTunnel(s *extension.Scope, m *tcpproxyv3.TcpProxy_TunnelingConfig) *Tunnel {
	if m == nil {
		return nil
	}
	tunnelFields.Check(s, m)
	o := state.CompileFormatters(s.Field("formatters"), m.Formatters)
	t := &Tunnel{
		KeepHeaders: m.PropagateResponseHeaders, KeepTrailers: m.PropagateResponseTrailers,
		Headers: route.CompileMutations(s, "headers", m.HeadersToAdd, nil, o),
	}
	if m.Hostname == "" {
		s.Field("hostname").Errorf("value length must be at least 1 characters")
	}
	t.Host, _ = state.CompileText(s.Field("hostname"), m.Hostname, o)
	switch {
	case m.PostPath != "" && !m.UsePost:
		s.Field("post_path").Errorf("Can't set a post path when POST method isn't used")
	case m.UsePost && m.PostPath == "":
		t.PostPath = "/"
	case m.UsePost:
		t.PostPath = m.PostPath
		if !strings.HasPrefix(m.PostPath, "/") {
			s.Field("post_path").Errorf("a path begins with /")
		}
	}
	return t
}

// tunnels reports whether the connection goes in a tunnel; filter state may say that it
// does not.
func (p *Proxy) tunnels(i *filter.Info) bool {
	if p.config.Tunnel == nil {
		return false
	}
	off, _ := filter.Get[state.Bool](&i.State, state.DisableTunnelingKey)
	return !bool(off)
}

var errNotHTTP = errors.New("the cluster speaks no HTTP")

// openTunnel makes one attempt: a stream to a host, and its consent.
func (h *hop) openTunnel(t target) error {
	cluster, ok := t.cluster.(filter.HTTPCluster)
	if !ok {
		return errNotHTTP
	}
	i := &h.conn.Info
	x, err := cluster.Open(&filter.StreamRequest{
		Info: i, Protocol: httpmsg.HTTP11, Hash: h.proxy.hash(i), Match: t.match, Route: t.route,
		Waiting: h.Waiting, Deadline: h.Deadline(),
	})
	if err != nil {
		return err
	}
	resp, err := h.ask(x)
	if err != nil {
		x.Release()
		return err
	}
	h.Connected(&tunnelConn{hop: h, stream: x, conn: tunnel.Open(tunnel.Exchange{
		Writer: x, Body: resp.Body, Ended: func(trailer httpmsg.Header) { h.tunnelEnded(x, trailer) },
	}, h.Limits().BufferBytes)})
	return nil
}

// ask sends the request and waits for the consent, as long as nobody ends the attempt.
func (h *hop) ask(x filter.UpstreamStream) (*httpmsg.Response, error) {
	over := make(chan struct{})
	var guard sync.WaitGroup
	defer guard.Wait()
	defer close(over)
	cancel, deadline := h.Waiting(), h.Deadline()
	guard.Go(func() {
		var late <-chan time.Time
		if !deadline.IsZero() {
			t := time.NewTimer(time.Until(deadline))
			defer t.Stop()
			late = t.C
		}
		select {
		case <-over:
			return
		case <-cancel:
		case <-late:
		}
		x.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	})
	resp, err := h.consent(x)
	if err != nil {
		select {
		case <-cancel:
			return nil, filter.ErrCanceled
		default:
		}
	}
	return resp, err
}

// consent sends the request and reads the answer: 200 with a body on HTTP/2, any 2xx on
// HTTP/1 (Envoy).
func (h *hop) consent(x filter.UpstreamStream) (*httpmsg.Response, error) {
	if err := x.WriteRequest(h.request(), false); err != nil {
		return nil, h.refusedTunnel(err)
	}
	if err := x.Flush(); err != nil {
		return nil, h.refusedTunnel(err)
	}
	for {
		resp, err := x.ReadResponse()
		switch {
		case err != nil:
			return nil, h.refusedTunnel(err)
		case resp.Informational():
			continue
		}
		kept := h.keepHeaders(resp)
		switch {
		case x.Protocol() == httpmsg.HTTP2 && (resp.Status != 200 || resp.Body == nil), resp.Status/100 != 2:
			x.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
			h.conn.Info.More().UpFailure = fmt.Sprintf("tunnel_response:%d", resp.Status)
			return nil, &filter.ConnectError{Reason: h.conn.Info.Extra.UpFailure, Told: kept}
		}
		return resp, nil
	}
}

// refusedTunnel is the error of an exchange that ended before the answer.
func (h *hop) refusedTunnel(err error) error {
	why := &httpmsg.ResetError{}
	if errors.As(err, &why) && why.Failure != "" {
		h.conn.Info.More().UpFailure = why.Failure
	}
	e := &filter.ConnectError{Reason: why.Failure, Err: err}
	var further *filter.ConnectError
	if errors.As(err, &further) {
		e.Told = further.Told
	}
	return e
}

func (h *hop) request() *httpmsg.Request {
	t, i := h.proxy.config.Tunnel, &h.conn.Info
	r := &httpmsg.Request{Method: "CONNECT", Authority: string(t.Host.Append(nil, i, filter.NotSet)), Body: noBody{}}
	if t.PostPath != "" {
		r.Method, r.Path, r.Scheme = "POST", t.PostPath, "http"
	}
	t.Headers.Apply(&r.Header, i)
	return r
}

// noBody marks a request whose body is sent by hand.
type noBody struct{ httpmsg.Body }

// keepHeaders writes the response's headers into the connection's filter state, where that
// is configured; those of a refusal, too, and for hops further out as well.
func (h *hop) keepHeaders(resp *httpmsg.Response) []filter.Entry {
	if !h.proxy.config.Tunnel.KeepHeaders {
		return nil
	}
	all := append(httpmsg.Header{{Name: ":status", Value: fmt.Sprint(resp.Status)}}, resp.Header...)
	kept := filter.Entry{Name: state.TunnelHeadersKey, Object: state.NewHeaders(all)}
	h.conn.Info.State.Set(kept)
	return []filter.Entry{kept}
}

func (h *hop) tunnelEnded(x filter.UpstreamStream, trailer httpmsg.Header) {
	if h.proxy.config.Tunnel.KeepTrailers && trailer != nil {
		h.mu.Lock()
		h.conn.Info.State.Set(filter.Entry{Name: state.TunnelTrailersKey, Object: state.NewHeaders(trailer)})
		h.mu.Unlock()
	}
	x.Release()
}

// A tunnelConn is a tunnel as the connection to the host.
type tunnelConn struct {
	hop    *hop
	stream filter.UpstreamStream
	conn   filter.Stream
}

// Stream implements filter.UpstreamConn.
func (c *tunnelConn) Stream() filter.Stream { return c.conn }

// Moved implements filter.UpstreamConn. The connection under the tunnel counts its bytes.
func (c *tunnelConn) Moved(received, sent uint64) {}

// Flow implements filter.UpstreamConn.
func (c *tunnelConn) Flow(paused bool) {}

// Closed implements filter.UpstreamConn. The cluster's statistics follow the exchange.
func (c *tunnelConn) Closed(local bool) {}
