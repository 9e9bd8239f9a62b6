package tlssocket

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/clienthello"
)

// A failure is a handshake that failed. Its text is Envoy's failure reason.
type failure struct {
	reason string
	kind   failureKind
	code   int // BoringSSL's; 0: none is known
	err    error
}

// A failureKind says which statistic it belongs to.
type failureKind uint8

const (
	failedElsewhere failureKind = iota // the end of the connection, or a timeout: not TLS's fault
	failedTLS                          // ssl.connection_error
	failedMissing
	failedChain
	failedSAN
	failedHash
	failedKeyUsage
)

// notSupplied is of connections that came before the secrets of their socket.
var notSupplied = &failure{reason: "TLS error: Secret is not supplied by SDS"}

func (f *failure) Error() string { return f.reason }
func (f *failure) Unwrap() error { return f.err }

// BoringSSL's numbers of what can go wrong: 16 << 24 is the library.
const (
	libSSL = 16 << 24
	alerts = 1000 // reasons of alerts begin here
)

// A fault is a failure as BoringSSL has it.
type fault struct {
	code   int
	reason string
}

// sent are the faults that crypto/tls tells by no more than the alert that it sends.
var sent = map[int]fault{
	10: {223, "UNEXPECTED_MESSAGE"},
	20: {139, "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"},
	22: {136, "DATA_LENGTH_TOO_LONG"},
	50: {137, "DECODE_ERROR"},
	51: {123, "BAD_SIGNATURE"},
}

// local are the faults that crypto/tls tells by a text alone (TestCryptoTLS holds on to
// them).
var local = []struct {
	part   string
	code   int
	reason string
}{
	{"client didn't provide a certificate", 192, "PEER_DID_NOT_RETURN_A_CERTIFICATE:peer did not provide required client certificate"},
	{"client offered only unsupported versions", 240, "UNSUPPORTED_PROTOCOL"},
	{"server selected unsupported protocol version", 240, "UNSUPPORTED_PROTOCOL"},
	{"no cipher suite supported by both", 184, "NO_SHARED_CIPHER"},
	{"no key exchanges supported by both", 266, "NO_SHARED_GROUP"},
	{"peer doesn't support any of the certificate's signature algorithms", 253, "NO_COMMON_SIGNATURE_ALGORITHMS"},
	{"certificate used with invalid signature algorithm", 245, "WRONG_SIGNATURE_TYPE"},
	{"invalid signature by the", 123, "BAD_SIGNATURE"},
	{"received unexpected handshake message", 223, "UNEXPECTED_MESSAGE"},
	{"handshake message of length", 150, "EXCESSIVE_MESSAGE_SIZE"},
}

// explain says of an error of a handshake what Envoy would.
func explain(err error) *failure {
	var (
		f      *flaw
		alert  *net.OpError
		record tls.RecordHeaderError
		errno  syscall.Errno
	)
	switch {
	case errors.As(err, &f):
		return flawed(f)
	case errors.Is(err, errStaple):
		return coded(133, "CONNECTION_REJECTED", err)
	case errors.As(err, &alert) && isAlert(alert): // a socket's errors are of the same type
		return alerted(alert, err)
	case errors.As(err, &record):
		return header(record, err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, filter.ErrCanceled):
		return &failure{err: err}
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
		return &failure{err: io.EOF}
	case errors.As(err, &errno):
		return &failure{err: err, reason: fmt.Sprintf("TLS_error:|%d:system library:OPENSSL_internal:%s:TLS_error_end", 2<<24|int(errno), upperFirst(errno.Error()))}
	}
	for _, l := range local {
		if strings.Contains(err.Error(), l.part) {
			return coded(l.code, l.reason, err)
		}
	}
	return &failure{kind: failedTLS, err: err, reason: "TLS_error:|" + strings.TrimPrefix(err.Error(), "tls: ") + ":TLS_error_end"}
}

// isAlert reports that an error is an alert: crypto/tls has a type of its own for them.
func isAlert(e *net.OpError) bool { return reflect.ValueOf(e.Err).Kind() == reflect.Uint8 }

// alerted tells which alert the peer has sent, or this side.
func alerted(e *net.OpError, err error) *failure {
	n := int(reflect.ValueOf(e.Err).Uint())
	if f, ok := sent[n]; ok && e.Op == "local error" {
		return coded(f.code, f.reason, err)
	}
	return coded(alerts+n, clienthello.AlertName(n), err)
}

// explainHello is explain for what a client sent first: a hello that cannot be read has a
// reason of its own.
func explainHello(err error) *failure {
	f := explain(err)
	if f.code == 137 {
		return coded(131, "CLIENTHELLO_PARSE_FAILED", err)
	}
	return f
}

func coded(code int, reason string, err error) *failure {
	f := &failure{kind: failedTLS, code: code, err: err, reason: fmt.Sprintf("TLS_error:|%d:SSL routines:OPENSSL_internal:%s:TLS_error_end", libSSL|code, reason)}
	if code == 192 {
		f.kind = failedMissing
	}
	return f
}

func flawed(f *flaw) *failure {
	out := &failure{err: f, reason: fmt.Sprintf("TLS_error:|%d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:%s:TLS_error_end", libSSL|125, f.detail)}
	switch f.kind {
	case flawSAN:
		out.kind = failedSAN
	case flawHash:
		out.kind = failedHash
	case flawKeyUsage:
		return &failure{kind: failedKeyUsage, err: f, reason: fmt.Sprintf("TLS_error:|%d:SSL routines:OPENSSL_internal:KEY_USAGE_BIT_INCORRECT:TLS_error_end", libSSL|302)}
	default:
		out.kind = failedChain
	}
	return out
}

// header tells what came in place of a record.
func header(r tls.RecordHeaderError, err error) *failure {
	switch h := string(r.RecordHeader[:]); {
	case strings.HasPrefix(h, "GET "), strings.HasPrefix(h, "POST "), strings.HasPrefix(h, "HEAD "), strings.HasPrefix(h, "PUT "):
		return coded(156, "HTTP_REQUEST", err)
	case strings.HasPrefix(h, "CONNE"):
		return coded(155, "HTTPS_PROXY_REQUEST", err)
	}
	if h := r.RecordHeader; h[1] == 3 { // a version of TLS
		switch typ, length := h[0], int(h[3])<<8|int(h[4]); {
		case length > maxRecord+2048:
			return coded(146, "ENCRYPTED_LENGTH_TOO_LONG", err)
		case typ == 20, typ == 23: // change_cipher_spec, application_data
			return coded(225, "UNEXPECTED_RECORD", err)
		}
	}
	return coded(247, "WRONG_VERSION_NUMBER", err)
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
