// Package extauthz is the network filter that asks a gRPC service whether a connection may
// pass (envoy.extensions.filters.network.ext_authz.v3.ExtAuthz).
package extauthz

import (
	"errors"
	"maps"
	"syscall"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ext_authz/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/httpmatch"
	"github.com/ginnel/ginnel/internal/unary"
)

var fields = extension.Fields{
	Message: &authzv3.ExtAuthz{},
	Obeyed: []string{"stat_prefix", "grpc_service", "failure_mode_allow", "include_peer_certificate",
		"transport_api_version", "filter_enabled_metadata", "bootstrap_metadata_labels_key", "include_tls_session",
		"metadata_context_namespaces"},
	Ignored: map[string]string{
		"typed_metadata_context_namespaces": "connections have no typed dynamic metadata",
	},
	Defaults: map[string]string{"send_tls_alert_on_denial": "false", "shadow_mode": "false"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return append(unary.Support(), &fields) }

// Register adds the filter to a registry.
func Register(r *extension.Registry) { extension.Register(r, extension.NetworkFilter, compile) }

// config is the compiled filter.
type config struct {
	prefix       string
	service      *unary.Service
	allowFailure bool
	enabled      *httpmatch.Metadata // nil: always
	namespaces   []string            // of metadata that the service is told
	labels       string              // key of the node's metadata; "": none
	certificate  bool                // the service is told the peer's
	session      bool                // the service is told of TLS
}

// defaultTimeout is that of a check without a configured one.
const defaultTimeout = 200 * time.Millisecond

func compile(s *extension.Scope, m *authzv3.ExtAuthz) filter.NetworkFactory {
	fields.Check(s, m)
	c := &config{
		prefix: m.GetStatPrefix(), allowFailure: m.GetFailureModeAllow(), namespaces: m.GetMetadataContextNamespaces(),
		labels: m.GetBootstrapMetadataLabelsKey(), certificate: m.GetIncludePeerCertificate(), session: m.GetIncludeTlsSession(),
	}
	if c.prefix == "" {
		s.Field("stat_prefix").Errorf("is required")
	}
	if m.GetTransportApiVersion() == corev3.ApiVersion_V2 {
		s.Field("transport_api_version").Errorf("version V2 is gone")
	}
	if f := m.GetFilterEnabledMetadata(); f != nil {
		fits := httpmatch.CompileMetadata(s.Field("filter_enabled_metadata"), f)
		c.enabled = &fits
	}
	if m.GetGrpcService() == nil {
		s.Field("grpc_service").Errorf("is required")
		return c
	}
	c.service = unary.Compile(s.Field("grpc_service"), m.GrpcService, defaultTimeout)
	return c
}

// NewNetwork implements filter.NetworkFactory.
func (c *config) NewNetwork(env *filter.Env) (filter.Network, error) {
	s := env.Stats.Scope("ext_authz." + c.prefix + ".")
	return &authz{
		config: c, env: env, destination: nodeLabels(env.Node, c.labels),
		total: s.Counter("total"), failed: s.Counter("error"), denied: s.Counter("denied"), disabled: s.Counter("disabled"),
		failureAllowed: s.Counter("failure_mode_allowed"), ok: s.Counter("ok"), closed: s.Counter("cx_closed"),
		active: s.Gauge("active"),
	}, nil
}

// authz is the running filter. It is not passive: the first bytes wait for the answer.
type authz struct {
	*config
	env         *filter.Env
	destination map[string]string // labels

	total, failed, denied, disabled, failureAllowed, ok, closed filter.Counter
	active                                                      filter.Gauge
}

// WrapConn implements filter.Network.
func (a *authz) WrapConn(next filter.ConnHandler) filter.ConnHandler { return &handler{a, next} }

type handler struct {
	authz *authz
	next  filter.ConnHandler
}

// ServeConn implements filter.ConnHandler.
func (h *handler) ServeConn(c *filter.Conn) error {
	c.HoldData(h.authz.check)
	return h.next.ServeConn(c)
}

// errClosed is the reason of a close, in Envoy's words.
var errClosed = errors.New("ext_authz_close")

// Of a connection that was denied, for logs.
const (
	detailsDenied = "ext_authz_denied"
	detailsError  = "ext_authz_error"
)

const (
	namespace = "envoy.filters.network.ext_authz"
	method    = "/envoy.service.auth.v3.Authorization/Check"
)

// check asks the service.
func (a *authz) check(h *filter.Held) error {
	var ask *authv3.CheckRequest
	var conn *filter.Info
	_ = h.Do(func(c *filter.Conn) error {
		if conn = &c.Info; a.enabled == nil || a.enabled.Match(conn.Metadata) {
			ask = a.request(conn)
		}
		return nil
	})
	if ask == nil {
		a.disabled.Add(1)
		return nil
	}
	defer h.Watch(a.env.Hangups, syscall.ECONNRESET)()
	a.total.Add(1)
	a.active.Add(1)
	begun := time.Now()
	answer := new(authv3.CheckResponse)
	err := a.service.Call(h.Context(), a.env, conn, method, ask, answer)
	a.active.Add(-1)
	if h.Context().Err() != nil {
		return nil // nobody is there any more
	}
	return h.Do(func(c *filter.Conn) error { return a.judge(c, answer, err, time.Since(begun)) })
}

// judge acts upon an answer, or why there is none.
func (a *authz) judge(c *filter.Conn, answer *authv3.CheckResponse, err error, took time.Duration) error {
	switch {
	case err != nil:
		a.failed.Add(1)
		if a.env.Log != nil {
			a.env.Log.Debug("ext_authz failed", "error", err)
		}
		if a.allowFailure {
			a.failureAllowed.Add(1)
			return nil
		}
		return a.close(c, detailsError)
	case answer.GetStatus().GetCode() != 0:
		a.denied.Add(1)
		note(&c.Info, answer.GetDynamicMetadata().GetFields())
		return a.close(c, detailsDenied)
	}
	a.ok.Add(1)
	all := map[string]*structpb.Value{"ext_authz_duration": structpb.NewNumberValue(float64(took.Milliseconds()))}
	for k, v := range answer.GetDynamicMetadata().GetFields() {
		if _, own := all[k]; !own {
			all[k] = v
		}
	}
	note(&c.Info, all)
	return nil
}

func (a *authz) close(c *filter.Conn, details string) error {
	a.closed.Add(1)
	c.Info.Raise(filter.UnauthorizedExternalService)
	c.Info.More().Details = details
	return errClosed
}

// note adds fields to the filter's dynamic metadata.
func note(info *filter.Info, fields map[string]*structpb.Value) {
	if len(fields) == 0 {
		return
	}
	all := maps.Clone(info.Metadata[namespace].GetFields())
	if all == nil {
		all = make(map[string]*structpb.Value, len(fields))
	}
	maps.Copy(all, fields)
	info.MergeMetadata(filter.Metadata{namespace: {Fields: all}})
}
