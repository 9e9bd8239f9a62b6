package tlssocket

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/certtext"
)

// A validation is what a peer's certificate has to fulfil. Its trust bundle never
// changes, so what it found once of a chain holds until something in it expires.
type validation struct {
	authorities []*x509.Certificate // nil: chains are not verified
	domains     []trustDomain       // of SPIFFE, whose authorities they are; nil: not by SPIFFE
	roots       *x509.CertPool
	crls        []*x509.RevocationList
	leafCRL     bool   // only the peer's own certificate is looked up in CRLs
	expired     bool   // certificates and CRLs out of their time are good
	untrusted   bool   // what fails is noted, and the connection goes on
	hideCAs     bool   // the client is not told of the authorities
	maxDepth    int    // most certificates between the peer's and the authority's
	name        string // of the secret, for statistics
	source      string // of the authorities, as Envoy names where they are from
	bundleFile  string // that domains were read from; "": they were not
	message     *tlsv3.CertificateValidationContext
	digest      [sha256.Size]byte // of the message, and of what it names
	sans        []sanMatcher
	hashes      [][sha256.Size]byte // of certificates
	spkis       [][sha256.Size]byte // of keys
	cache       chainCache
}

// compileValidation compiles what is asked of peers. name is that of the secret that it is;
// "": it is none.
func compileValidation(s *extension.Scope, m *tlsv3.CertificateValidationContext, name string) *validation {
	validationFields.Check(s, m)
	v := &validation{
		expired: m.GetAllowExpiredCertificate(), leafCRL: m.GetOnlyVerifyLeafCertCrl(), hideCAs: m.GetSuppressClientCaList(),
		untrusted: m.GetTrustChainVerification() == tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED,
		maxDepth:  100, name: name, message: m,
	}
	if d := m.GetMaxVerifyDepth(); d != nil {
		v.maxDepth = int(d.Value)
	}
	if isSPIFFE(m) {
		v.spiffe(s, m)
	} else {
		v.trust(s, m)
		v.pins(s, m)
	}
	for i, x := range m.GetMatchTypedSubjectAltNames() {
		v.sans = append(v.sans, compileSAN(s.Field("match_typed_subject_alt_names").Index(i), x))
	}
	//nolint:staticcheck // deprecated, and still obeyed by Envoy
	for i, x := range m.GetMatchSubjectAltNames() {
		if len(m.GetMatchTypedSubjectAltNames()) == 0 {
			v.sans = append(v.sans, olderSAN(s.Field("match_subject_alt_names").Index(i), x))
		}
	}
	if len(v.sans) > 0 && v.authorities == nil && !isSPIFFE(m) {
		s.Errorf("SAN-based verification of peer certificates without trusted CA is insecure and not allowed")
	}
	if v.expired && v.authorities == nil {
		s.Field("allow_expired_certificate").Errorf("Certificate validity period is always ignored without trusted CA")
	}
	v.digest = v.digestOf(m)
	return v
}

// again compiles what v was compiled from, with what files hold now.
func (v *validation) again() (*validation, error) {
	var r extension.Report
	next := compileValidation(extension.NewScope(&r, nil, nil), v.message, v.name)
	return next, firstError(&r)
}

// digestOf is what tells validations apart that ask for other things.
func (v *validation) digestOf(m *tlsv3.CertificateValidationContext) (sum [sha256.Size]byte) {
	h := sha256.New()
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	h.Write(b)
	for _, a := range v.authorities {
		h.Write(a.Raw)
	}
	for _, d := range v.domains { // whose they are
		fmt.Fprintf(h, "%q %d ", d.name, len(d.authorities))
	}
	h.Sum(sum[:0])
	return sum
}

// trust reads the bundle and the CRLs.
func (v *validation) trust(s *extension.Scope, m *tlsv3.CertificateValidationContext) {
	if d := m.GetTrustedCa(); d != nil {
		v.bundle(s.Field("trusted_ca"), d)
	}
	if m.GetSystemRootCerts() != nil {
		v.systemRoots(s, m)
	}
	if d := m.GetCrl(); d != nil {
		v.revocations(s.Field("crl"), d)
		if m.GetTrustedCa() == nil {
			s.Field("crl").Errorf("Failed to load CRL from %s without trusted CA", where(d))
		}
	}
}

// bundle reads authorities, and CRLs beside them.
func (v *validation) bundle(s *extension.Scope, d *corev3.DataSource) {
	text, ok := read(s, d)
	if !ok {
		return
	}
	certs, crls, err := parseCertificates(text)
	if err != nil || len(certs) == 0 {
		s.Errorf("Failed to load trusted CA certificates from %s%s", where(d), because(err))
	}
	v.authorities, v.crls, v.source = certs, crls, where(d)
	v.roots = v.pool(certs)
}

// systemRoots trusts whom the system trusts, unless there is a bundle, which then counts alone
// (the API says so). Envoy does not look at it at all, and verifies nobody.
func (v *validation) systemRoots(s *extension.Scope, m *tlsv3.CertificateValidationContext) {
	if m.GetTrustedCa() != nil {
		s.Field("system_root_certs").Warnf("trusted_ca takes their place")
		return
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		s.Field("system_root_certs").Errorf("%v", err)
		return
	}
	v.roots, v.authorities = roots, []*x509.Certificate{}
	if v.expired {
		s.Field("allow_expired_certificate").Errorf("not supported with system_root_certs")
	}
}

// revocations reads CRLs.
func (v *validation) revocations(s *extension.Scope, d *corev3.DataSource) {
	text, ok := read(s, d)
	if !ok {
		return
	}
	_, crls, err := parseCertificates(text)
	if err != nil || len(crls) == 0 {
		s.Errorf("Failed to load CRL from %s%s", where(d), because(err))
	}
	v.crls = append(v.crls, crls...)
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

func (v *validation) pins(s *extension.Scope, m *tlsv3.CertificateValidationContext) {
	for i, text := range m.GetVerifyCertificateHash() {
		b, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
		if err != nil || len(b) != sha256.Size {
			s.Field("verify_certificate_hash").Index(i).Errorf("Invalid hex-encoded SHA-256 %s", text)
			continue
		}
		v.hashes = append(v.hashes, [sha256.Size]byte(b))
	}
	for i, text := range m.GetVerifyCertificateSpki() {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(b) != sha256.Size {
			s.Field("verify_certificate_spki").Index(i).Errorf("Invalid base64-encoded SHA-256 %s", text)
			continue
		}
		v.spkis = append(v.spkis, [sha256.Size]byte(b))
	}
}

// demands reports whether a client that shows no certificate is refused for that.
func (v *validation) demands() bool {
	return v != nil && len(v.sans)+len(v.hashes)+len(v.spkis)+len(v.domains) > 0
}

// asks reports whether a peer has to fulfil anything.
func (v *validation) asks() bool {
	return v != nil && (v.authorities != nil || len(v.hashes)+len(v.spkis) > 0)
}

// pool returns certificates as a pool.
func (v *validation) pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(v.timeless(c))
	}
	return p
}

// timeless returns a certificate that is good at any time, if all are to be.
func (v *validation) timeless(c *x509.Certificate) *x509.Certificate {
	if !v.expired {
		return c
	}
	x := *c
	x.NotBefore, x.NotAfter = time.Time{}, time.Unix(1<<40, 0)
	return &x
}

// A flaw is why a peer's certificate was not accepted, in the words of Envoy.
type flaw struct {
	kind   flawKind
	detail string
	err    error // nil: the detail says it all
}

type flawKind uint8

const (
	flawChain flawKind = iota + 1
	flawSAN
	flawHash
	flawMissing
	flawKeyUsage
)

func (f *flaw) Error() string { return f.detail }
func (f *flaw) Unwrap() error { return f.err }

// askedNames are the names that a connection asks of its peer beside the configured ones.
// The zero value asks for none.
type askedNames struct {
	list  []string
	bySNI bool // it is the name that the host was asked for
}

// verify looks at a peer's chain, which it knows from before if it was good. validated
// says that it was asked for something and fulfils it.
func (v *validation) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, names askedNames) (validated bool, err error) {
	if !v.asks() {
		return false, nil
	}
	now := time.Now()
	key := cacheKey(chain, names.list)
	if v.cache.has(key, now) {
		return true, nil
	}
	until, err := v.examine(chain, usage, names, now)
	switch {
	case err != nil && v.untrusted && v.domains == nil:
		return false, nil
	case err != nil:
		return false, err
	}
	v.cache.put(key, until, now)
	return true, nil
}

// examine returns until when a good chain stays one.
func (v *validation) examine(chain []*x509.Certificate, usage x509.ExtKeyUsage, names askedNames, now time.Time) (time.Time, error) {
	until := now.Add(cacheTime)
	if v.domains != nil {
		return v.examineSVID(chain, names, now, until)
	}
	if v.authorities != nil {
		path, err := v.path(v.roots, chain, usage, now)
		if err != nil {
			return until, &flaw{flawChain, "verify cert failed: X509_verify_cert: " + chainDetail(chain, err), err}
		}
		if err := v.revoked(path, now, &until); err != nil {
			return until, &flaw{flawChain, "verify cert failed: X509_verify_cert: " + err.Error(), nil}
		}
		until = v.goodUntil(path, until)
	}
	return until, v.identify(chain[0], names)
}

// goodUntil is when the first certificate of a path expires, or until.
func (v *validation) goodUntil(path []*x509.Certificate, until time.Time) time.Time {
	for _, c := range path {
		if !v.expired && c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return until
}

// path builds a chain to an authority.
func (v *validation) path(roots *x509.CertPool, chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) ([]*x509.Certificate, error) {
	paths, err := v.timeless(chain[0]).Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: v.pool(chain[1:]), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		if len(p)-2 <= v.maxDepth {
			return p, nil
		}
	}
	return nil, errDepth
}

var errDepth = errors.New("certificate chain too long")

// identify asks who the peer is.
func (v *validation) identify(leaf *x509.Certificate, names askedNames) error {
	var have *certtext.Names
	if len(v.sans)+len(names.list) > 0 {
		have = certtext.NamesOf(leaf)
	}
	if len(names.list) > 0 && !names.bySNI && !named(names.list)(have) {
		return &flaw{flawSAN, "verify cert failed: verify SAN list, expected SANs: [" + strings.Join(names.list, ", ") +
			"], certificate SANs: [" + strings.Join(have.All(), ", ") + "]", nil}
	}
	if len(v.sans) > 0 && !oneOf(v.sans, have) || names.bySNI && !named(names.list)(have) {
		return &flaw{flawSAN, "verify cert failed: SAN matcher, certificate SANs are [" + strings.Join(have.All(), ", ") + "]", nil}
	}
	if len(v.hashes)+len(v.spkis) > 0 &&
		!pinned(v.hashes, leaf.Raw) && !pinned(v.spkis, leaf.RawSubjectPublicKeyInfo) {
		return &flaw{flawHash, "verify cert failed: cert hash and spki", nil}
	}
	return nil
}

func oneOf(list []sanMatcher, have *certtext.Names) bool {
	for _, f := range list {
		if f(have) {
			return true
		}
	}
	return false
}

func pinned(list [][sha256.Size]byte, b []byte) bool {
	sum := sha256.Sum256(b)
	for i := range list {
		if subtle.ConstantTimeCompare(sum[:], list[i][:]) == 1 {
			return true
		}
	}
	return false
}

// chainDetail says why no chain could be built, as BoringSSL does.
func chainDetail(chain []*x509.Certificate, err error) string {
	var invalid x509.CertificateInvalidError
	depth, text := len(chain)-1, "unable to get local issuer certificate"
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, errDepth):
		text = err.Error()
	case errors.As(err, &invalid):
		depth, text = invalidDetail(chain, &invalid)
	case errors.As(err, &unknown):
	default:
		text = err.Error()
	}
	return fmt.Sprintf("certificate verification error at depth %d: %s", depth, text)
}

func invalidDetail(chain []*x509.Certificate, e *x509.CertificateInvalidError) (depth int, text string) {
	for i, c := range chain {
		if e.Cert != nil && c.Equal(e.Cert) {
			depth = i
		}
	}
	switch e.Reason {
	case x509.Expired:
		if e.Cert != nil && time.Now().Before(e.Cert.NotBefore) {
			return depth, "certificate is not yet valid"
		}
		return depth, "certificate has expired"
	case x509.IncompatibleUsage:
		return depth, "unsupported certificate purpose"
	case x509.TooManyIntermediates:
		return depth, "path length constraint exceeded"
	case x509.NotAuthorizedToSign:
		return depth, "invalid CA certificate"
	case x509.CANotAuthorizedForThisName:
		return depth, "permitted subtree violation"
	}
	return depth, e.Error()
}

// revoked looks the certificates of a path up in the CRLs, of which there must be one for
// each that is looked up (Envoy).
func (v *validation) revoked(path []*x509.Certificate, now time.Time, until *time.Time) error {
	if len(v.crls) == 0 {
		return nil
	}
	for depth, c := range path {
		if depth > 0 && v.leafCRL {
			return nil
		}
		issuer := path[min(depth+1, len(path)-1)]
		if why := v.lookUp(c, issuer, now, until); why != "" {
			return fmt.Errorf("certificate verification error at depth %d: certificate revocation check against provided CRLs failed: %s", depth, why)
		}
	}
	return nil
}

func (v *validation) lookUp(c, issuer *x509.Certificate, now time.Time, until *time.Time) (why string) {
	why = "unable to get certificate CRL"
	for _, l := range v.crls {
		if string(l.RawIssuer) != string(c.RawIssuer) || l.CheckSignatureFrom(issuer) != nil {
			continue
		}
		switch {
		case !v.expired && now.Before(l.ThisUpdate):
			why = "CRL is not yet valid"
			continue
		case !v.expired && !l.NextUpdate.IsZero() && now.After(l.NextUpdate):
			why = "CRL has expired"
			continue
		}
		for i := range l.RevokedCertificateEntries {
			if l.RevokedCertificateEntries[i].SerialNumber.Cmp(c.SerialNumber) == 0 {
				return "certificate revoked"
			}
		}
		if !v.expired && !l.NextUpdate.IsZero() && l.NextUpdate.Before(*until) {
			*until = l.NextUpdate
		}
		return ""
	}
	return why
}
