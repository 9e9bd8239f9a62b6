package filter

import (
	"crypto/x509"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// A Transport lies between the bytes of the connections that a filter chain serves and
// the chain, as TLS does. It is safe for concurrent use.
type Transport interface {
	// Wrap shakes hands as the server of s and returns what stands in its place, which owns
	// s. It blocks, no longer than until the deadline (zero: none), and ends early when s is
	// closed. With an error, which says why in the words of Envoy's failure reasons, s is
	// the caller's still. Info is told what was learned of the peer.
	Wrap(s Stream, info *Info, deadline time.Time) (Stream, error)
}

// A TransportFactory is a compiled downstream transport socket that changes the bytes.
// NewTransport is called once for each filter chain that goes live. What it returns is
// closed with the chain if it is an io.Closer.
type TransportFactory interface {
	NewTransport(*Env) (Transport, error)
}

// An UpstreamTransport lies between the bytes of a cluster's connections and those who
// use them. It is safe for concurrent use.
type UpstreamTransport interface {
	// Wrap shakes hands as the client of s and returns what stands in its place, which owns
	// s. It blocks, no longer than until the deadline (zero: none) or until cancel is closed
	// (nil: never). With an error s is the caller's still.
	Wrap(s Stream, o *TransportOptions, deadline time.Time, cancel <-chan struct{}) (Stream, error)
}

// TransportOptions is what one connection asks of its transport; the zero value asks for
// nothing.
type TransportOptions struct {
	Host       *Host
	ServerName string   // in place of the configured one; "": that
	ServerSANs []string // one of which the host's certificate must have; nil: as configured
	// Protocols are offered by ALPN in place of the configured ones; nil: those.
	Protocols []string
	// Fallback is offered where none is configured.
	Fallback []string
	Preface  string // of a Prefacer; "": the connection is nobody's
}

// A Prefacer is an UpstreamTransport that begins each connection with bytes that tell whose
// it is. Connections that begin otherwise do not serve each other's requests.
type Prefacer interface {
	UpstreamTransport
	// Preface returns what makes the first bytes of connections to a host of some metadata,
	// of who they are for.
	Preface(host *corev3.Metadata) func(i *Info) string
}

// TLS is what is known of a TLS connection. It does not change.
type TLS struct {
	Version, Cipher, Group string              // as BoringSSL names them; "": not known
	ServerName             string              // that the client asked for; "": it did not
	Protocol               string              // of ALPN; "": none
	SessionID              string              // hexadecimal; "": none
	Peer                   []*x509.Certificate // as they were sent; nil: none were
	Local                  *x509.Certificate   // nil: none was sent
	// Validated says that the peer's certificate was asked for and found to be in order.
	Validated bool
	Resumed   bool
	Took      time.Duration // from the beginning of the connection to the end of the handshake
	// Broken returns why the connection failed after the handshake, as a failure reason; "":
	// it did not. nil: nobody looks.
	Broken func() string
}

// Secure is a Stream under TLS.
type Secure interface{ TLS() *TLS }

// TLSOf returns what is known of the TLS of s; nil: it has none.
func TLSOf(s Stream) *TLS {
	if s, ok := s.(Secure); ok {
		return s.TLS()
	}
	return nil
}

// A Layer is a Stream that lies upon another one.
type Layer interface{ Below() Stream }
