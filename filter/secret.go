package filter

import (
	"crypto/x509"
	"time"

	"google.golang.org/protobuf/proto"
)

// A SecretRef names a secret that a source delivers while the proxy runs (SDS). It is
// comparable.
type SecretRef struct {
	Name string
	Kind SecretKind
	Path string // of the file that it is in
	Dir  string // folder that is watched in place of the file; "": the file is
}

// A SecretKind is what a secret is for.
type SecretKind uint8

// The kinds of envoy.extensions.transport_sockets.tls.v3.Secret.
const (
	CertificateSecret SecretKind = iota
	ValidationSecret
	TicketSecret
)

// Secrets are those that sources deliver. It is safe for concurrent use.
type Secrets interface {
	// Use has check called with the secret of a reference, before Use returns if it is there
	// already, and with each that is to take its place. Where check of one user returns an
	// error, the secret is rejected for all of them; else take of each is called. One
	// secret follows the other. end, which may be called twice, ends that; it must not be
	// called by check or take.
	Use(r SecretRef, check func(secret proto.Message) (take func(), err error)) (end func())
}

// A CertificateList is implemented by Secrets that show operators which certificates are in
// use. It is safe for concurrent use.
type CertificateList interface {
	// Show has in called, from any goroutine, whenever somebody asks. end, which may be called
	// twice, ends that.
	Show(in func() CertificatesInUse) (end func())
}

// A FileWatch is implemented by Secrets that tell of other files as well. It is safe for
// concurrent use.
type FileWatch interface {
	// Watch has changed called when it begins to look at a file, and whenever that has become
	// another one: one call after the other, from a goroutine of its own. What it returns is
	// logged. end, which may be called twice, ends that; a last call may still be under way.
	Watch(path string, changed func() error) (end func())
}

// CertificatesInUse are those of one transport socket.
type CertificatesInUse struct {
	Authorities, Own []CertificateInUse
}

// A CertificateInUse is a certificate that handshakes go by.
type CertificateInUse struct {
	*x509.Certificate
	Path                string    // of its file, or another source as Envoy names it
	OCSPFrom, OCSPUntil time.Time // of the response that it comes with; zero: none
}
