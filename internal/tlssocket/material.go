package tlssocket

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

// material is the secrets that handshakes go by. It does not change.
type material struct {
	certificates []*certificate
	validation   *validation       // nil: nothing is asked of peers
	tickets      [][32]byte        // nil: random ones
	id           [sha256.Size]byte // of all that a session depends on
}

// A supply keeps the material of one socket, some of which sources deliver.
type supply[T any] struct {
	common *common
	use    func(*material) T // makes what handshakes go by
	stats  *stats
	now    atomic.Pointer[T] // nil: a secret is missing
	used   atomic.Pointer[material]

	mu   sync.Mutex
	have material
	ends []func() // tells the sources that nothing is asked of them any more
	lack int      // secrets that have not come yet
	file following
}

func newSupply[T any](c *common, st *stats, use func(*material) T) *supply[T] {
	return &supply[T]{common: c, use: use, stats: st, have: material{
		certificates: c.certificates, validation: c.validation, tickets: c.tickets,
	}}
}

// begin asks the sources.
func (s *supply[T]) begin(from filter.Secrets) {
	refs := s.common.fetched
	s.show(from)
	s.file.from, _ = from.(filter.FileWatch)
	s.lack = len(refs)
	s.have.certificates = append(s.have.certificates[:len(s.have.certificates):len(s.have.certificates)], make([]*certificate, s.common.fetchedCerts())...)
	for i := range refs {
		if from == nil { // nothing ever comes
			break
		}
		s.ends = append(s.ends, from.Use(refs[i].SecretRef, s.check(&refs[i])))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(refs) == 0 {
		s.renew()
	}
}

// check returns what looks at deliveries of one secret.
func (s *supply[T]) check(f *fetched) func(proto.Message) (take func(), err error) {
	came := false
	return func(m proto.Message) (func(), error) {
		put, err := s.common.read(f, m.(*tlsv3.Secret))
		if err != nil {
			return nil, err
		}
		return func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !came {
				came = true
				s.lack--
			}
			put(&s.have)
			s.stats.updated.Add(1)
			s.renew()
		}, nil
	}
}

// renew puts what there is into use, if it is all there. The caller holds mu.
func (s *supply[T]) renew() {
	if s.lack > 0 {
		return
	}
	m := s.have
	m.certificates = append([]*certificate(nil), m.certificates...)
	m.id = s.common.identity(&m)
	s.stats.show(&m)
	t := s.use(&m)
	s.used.Store(&m)
	s.now.Store(&t)
	if v := m.validation; v != nil {
		s.file.follow(v.bundleFile, s.reread)
	}
}

// reread puts into use what the file of trust bundles holds now. Whatever is wrong with it,
// what there was stays.
func (s *supply[T]) reread() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.have.validation
	if s.file.closed || v == nil || v.bundleFile == "" {
		return nil // this was the last call for a file that is followed no more
	}
	next, err := v.again()
	if err != nil {
		return fmt.Errorf("SPIFFE trust bundles of %s are not taken: %w", v.bundleFile, err)
	}
	if next.digest != v.digest {
		s.have.validation = next
		s.renew()
	}
	return nil
}

// close ends what begin has asked for.
func (s *supply[T]) close() {
	for _, end := range s.ends {
		end()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.close()
}

// A fetched secret comes from a source.
type fetched struct {
	filter.SecretRef
	at       int                                 // its place among the certificates
	defaults *tlsv3.CertificateValidationContext // it is merged with; nil: nothing
}

// fetchedCerts is how many certificates come from sources: all, or none.
func (c *common) fetchedCerts() (n int) {
	for i := range c.fetched {
		if c.fetched[i].Kind == filter.CertificateSecret {
			n++
		}
	}
	return n
}

// read compiles a secret that was delivered. put adds it to the material.
func (c *common) read(f *fetched, m *tlsv3.Secret) (put func(*material), err error) {
	var r extension.Report
	at := extension.NewScope(&r, nil, nil)
	switch f.Kind {
	case filter.CertificateSecret:
		if k := c.certificate(at, m.GetTlsCertificate(), f.Name); k != nil {
			put = func(to *material) {
				to.certificates = append([]*certificate(nil), to.certificates...)
				to.certificates[f.at] = k
			}
		}
	case filter.ValidationSecret:
		v := compileValidation(at, merged(f.defaults, m.GetValidationContext()), f.Name)
		if c.needsAuthority && v.authorities == nil {
			at.Errorf("'auto_sni_san_validation' was configured without a validation context with a trusted CA")
		}
		put = func(to *material) { to.validation = v }
	case filter.TicketSecret:
		keys := ticketKeys(at, m.GetSessionTicketKeys().GetKeys())
		put = func(to *material) { to.tickets = keys }
	}
	if err := firstError(&r); err != nil {
		return nil, err
	}
	return put, nil
}

func firstError(r *extension.Report) error {
	for _, i := range r.Issues {
		if i.Severity == extension.Error {
			return errors.New(i.Message)
		}
	}
	return nil
}

// merged is a validation context with another one over it, as Envoy does it: lists are
// added, values replaced.
func merged(defaults, over *tlsv3.CertificateValidationContext) *tlsv3.CertificateValidationContext {
	if defaults == nil {
		return over
	}
	both := proto.CloneOf(defaults)
	proto.Merge(both, over)
	return both
}

// fetchesTrust reports whether a source delivers what is asked of peers.
func (c *common) fetchesTrust() bool {
	return slices.ContainsFunc(c.fetched, func(f fetched) bool { return f.Kind == filter.ValidationSecret })
}

// asksPeers reports whether something is, or will be, asked of peers.
func (c *common) asksPeers() bool { return c.fetchesTrust() || c.validation.asks() }
