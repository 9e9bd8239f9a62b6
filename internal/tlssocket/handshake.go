package tlssocket

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// shake performs the handshake. Afterwards there is no deadline.
func shake(c *Conn, deadline time.Time, cancel <-chan struct{}) error {
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	stop := cutOff(c, cancel)
	deepen(0)
	err := c.tls.Handshake()
	stop()
	select {
	case <-cancel: // never of nil
		return filter.ErrCanceled
	default:
	}
	if err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}

// cutOff ends what c waits for when cancel is closed, until stop, which waits for it.
func cutOff(c *Conn, cancel <-chan struct{}) (stop func()) {
	if cancel == nil {
		return func() {}
	}
	done, left := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		select {
		case <-cancel:
			_ = c.SetDeadline(time.Unix(1, 0))
		case <-done:
		}
	}()
	return func() { close(done); <-left }
}

// describe says what was agreed on.
func describe(s *tls.ConnectionState) filter.TLS {
	return filter.TLS{
		Version: versionName(s.Version), Cipher: cipherName(s.CipherSuite), Group: curveName(s.CurveID),
		ServerName: s.ServerName, Protocol: s.NegotiatedProtocol, Peer: s.PeerCertificates, Resumed: s.DidResume,
	}
}

// deepen makes room on the goroutine's stack for what a handshake takes: grown at once
// while there is little on it, a stack is cheaper than in steps that copy all the frames
// there are by then. Nobody needs the result.
//
//go:noinline
func deepen(at int) byte {
	var room [stackBytes]byte
	return room[at%len(room)]
}

// stackBytes are a bit more than half of what the goroutine then has.
const stackBytes = 9 << 10

// keyUsage asks of a certificate that it is for signing, as all handshakes want it that
// agree on a key by ECDHE.
func keyUsage(c *x509.Certificate) error {
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return &flaw{flawKeyUsage, "KEY_USAGE_BIT_INCORRECT", nil}
	}
	return nil
}
