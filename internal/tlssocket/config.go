// Package tlssocket is the TLS transport sockets, of filter chains and of clusters, by
// crypto/tls.
//
// What crypto/tls cannot do is refused by name when a configuration is compiled. Peers'
// certificates are verified here, not by crypto/tls, for Envoy's rules are others:
// partial chains, pins, names of all kinds, CRLs.
package tlssocket

import (
	"crypto/sha256"
	"crypto/tls"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/certtext"
)

// common is what both sides of a connection are configured with.
type common struct {
	params
	protocols    []string       // of ALPN
	certificates []*certificate // those that are there when the configuration is compiled
	validation   *validation    // nil: nothing is asked of peers, or a source delivers it
	tickets      [][32]byte     // nil: random ones, or a source delivers them
	fetched      []fetched      // secrets that sources deliver
	keys         *keyLog        // nil: keys go nowhere
	message      *tlsv3.CommonTlsContext

	stapling       stapling
	needsAuthority bool // a validation must have authorities
}

// Register adds the sockets of this package.
func Register(r *extension.Registry) {
	extension.Register(r, extension.DownstreamSocket, compileDownstream)
	extension.Register(r, extension.UpstreamSocket, compileUpstream)
}

func compileCommon(s *extension.Scope, m *tlsv3.CommonTlsContext, client bool, staple stapling) common {
	commonFields.Check(s, m)
	c := common{params: params{tls.VersionTLS12, tls.VersionTLS13, defaultCiphers, defaultCurves}, message: m, stapling: staple}
	if client {
		c.max = tls.VersionTLS12
	}
	c.override(s.Field("tls_params"), m.GetTlsParams())
	if c.min > c.max {
		s.Field("tls_params").Errorf("the minimum protocol version is above the maximum")
	}
	c.keys = compileKeyLog(s.Field("key_log"), m.GetKeyLog())
	c.protocols = m.GetAlpnProtocols()
	for i, p := range c.protocols {
		if p == "" || len(p) > 255 {
			s.Field("alpn_protocols").Index(i).Errorf("Invalid ALPN protocol string")
		}
	}
	for i, x := range m.GetTlsCertificates() {
		if k := c.certificate(s.Field("tls_certificates").Index(i), x, ""); k != nil {
			c.certificates = append(c.certificates, k)
		}
	}
	c.secrets(s, m)
	c.trust(s, m)
	return c
}

// identity binds sessions to what was asked of the peer when they began, and to who this
// side is: a certificate that is renewed for the same names, by the same authority, leaves
// them as they are (Envoy).
func (c *common) identity(m *material) (id [sha256.Size]byte) {
	h := sha256.New()
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(c.message)
	h.Write(b)
	for _, k := range m.certificates {
		h.Write(k.Leaf.RawSubject)
		h.Write(k.Leaf.RawIssuer)
		for _, e := range k.Leaf.Extensions {
			if e.Id.Equal(certtext.SubjectAltName) {
				h.Write(e.Value)
			}
		}
	}
	if m.validation != nil {
		h.Write(m.validation.digest[:])
	}
	h.Sum(id[:0])
	return id
}

// base is the configuration that connections share.
func (c *common) base() *tls.Config {
	cfg := &tls.Config{
		NextProtos: c.protocols,
		// Records are as large as they may be: who sends little sends it at once anyway.
		DynamicRecordSizingDisabled: true,
	}
	c.params.apply(cfg)
	return cfg
}

// ticketKeys are those of Envoy's files: 80 bytes each, of which the first one is used
// for new tickets.
func ticketKeys(s *extension.Scope, list []*corev3.DataSource) (keys [][32]byte) {
	for i, d := range list {
		text, ok := read(s.Index(i), d)
		if !ok {
			continue
		}
		if len(text) != 80 {
			s.Index(i).Errorf("Incorrect TLS session ticket key length. Length %d, expected length 80.", len(text))
			continue
		}
		keys = append(keys, sha256.Sum256([]byte(text)))
	}
	return keys
}

// sessionStamp is what a session carries of the context that it began in.
func sessionStamp(id [sha256.Size]byte, now time.Time) []byte {
	b := make([]byte, 0, len(id)+8)
	b = append(b, id[:]...)
	for n, t := 0, uint64(now.Unix()); n < 8; n++ {
		b = append(b, byte(t>>(8*n)))
	}
	return b
}

// stampHolds reports whether a session may be resumed in a context; limit 0: at any age.
func stampHolds(stamps [][]byte, id [sha256.Size]byte, limit time.Duration, now time.Time) bool {
	for _, b := range stamps {
		if len(b) != len(id)+8 || [sha256.Size]byte(b) != id {
			continue
		}
		var t uint64
		for n := range 8 {
			t |= uint64(b[len(id)+n]) << (8 * n)
		}
		age := now.Sub(time.Unix(int64(t), 0))
		return limit == 0 || age <= limit
	}
	return false
}
