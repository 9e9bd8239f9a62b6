// Package clienthello reads the ClientHello that a TLS connection begins with, as
// BoringSSL does below Envoy's tls_inspector: what it takes for one, what it refuses,
// and where it waits for more.
package clienthello

import (
	"encoding/binary"
	"fmt"
)

const (
	recordHeader    = 5
	messageHeader   = 4
	maxMessage      = 16384
	maxRecord       = 16384 + 320 // with what encryption could add
	maxEmptyRecords = 32
	maxWarnings     = 4
)

const (
	typeAlert     = 21
	typeHandshake = 22
)

// An Error says why bytes are no ClientHello.
type Error struct {
	Code   int    // BoringSSL's
	Reason string // BoringSSL's name of it
}

// Error returns the text that BoringSSL has for it.
func (e *Error) Error() string {
	return fmt.Sprintf("error:%08x:SSL routines:OPENSSL_internal:%s", 16<<24|e.Code, e.Reason)
}

// What can be wrong.
var (
	errBadAlert            = &Error{102, "BAD_ALERT"}
	errParse               = &Error{131, "CLIENTHELLO_PARSE_FAILED"}
	errDecode              = &Error{137, "DECODE_ERROR"}
	errRecordSize          = &Error{146, "ENCRYPTED_LENGTH_TOO_LONG"}
	errExtension           = &Error{149, "ERROR_PARSING_EXTENSION"}
	errMessageSize         = &Error{150, "EXCESSIVE_MESSAGE_SIZE"}
	errProxyRequest        = &Error{155, "HTTPS_PROXY_REQUEST"}
	errRequest             = &Error{156, "HTTP_REQUEST"}
	errV2Length            = &Error{199, "RECORD_LENGTH_MISMATCH"}
	errV2Size              = &Error{200, "RECORD_TOO_LARGE"}
	errEmptyRecords        = &Error{219, "TOO_MANY_EMPTY_FRAGMENTS"}
	errWarnings            = &Error{220, "TOO_MANY_WARNING_ALERTS"}
	errMessage             = &Error{223, "UNEXPECTED_MESSAGE"}
	errRecord              = &Error{225, "UNEXPECTED_RECORD"}
	errAlertLevel          = &Error{227, "UNKNOWN_ALERT_TYPE"}
	errWrongVersion        = &Error{247, "WRONG_VERSION_NUMBER"}
	errExcess              = &Error{255, "EXCESS_HANDSHAKE_DATA"}
	errPlainRecordSize     = &Error{136, "DATA_LENGTH_TOO_LONG"}
	alertReasons       int = 1000 // the codes of alerts begin here
)

// ErrNotTLS is the Error of bytes in which even the header of a record cannot be.
var ErrNotTLS = errWrongVersion

// ErrVersion is the Error of a whole ClientHello whose version is none of TLS.
var ErrVersion = &Error{133, "CONNECTION_REJECTED"}

// ErrClosed is the Error of an end of TLS (close_notify) in place of a ClientHello;
// BoringSSL has no text for it.
var ErrClosed = &Error{}

// A Parser takes in the first bytes of a connection, as often as there are more of
// them, and looks at each once. The zero value is ready.
type Parser struct {
	at       int    // where what is not understood yet begins
	message  []byte // of the handshake, from records before at
	begun    bool   // the first bytes were no other protocol's
	empty    int    // records without a byte, one after the other
	warnings int
}

// Parse goes on with p, which begins with what earlier calls were given. It returns
// the ClientHello, or an error, always an *Error; ErrVersion comes with the ClientHello.
// With neither it needs more: p of at least need bytes. The ClientHello has parts of p.
func (x *Parser) Parse(p []byte) (h *Hello, need int, err error) {
	if !x.begun {
		if len(p) < recordHeader {
			return nil, recordHeader, nil
		}
		if err := otherProtocol(p); err != nil {
			x.at = recordHeader
			return nil, 0, err
		}
		if isV2(p) {
			return x.parseV2(p)
		}
		x.begun = true
	}
	for {
		r, need, err := x.record(p)
		if err != nil || need > 0 {
			return nil, need, err
		}
		m, err := x.add(r)
		if err != nil {
			return nil, 0, err
		}
		if m != nil {
			h, err := parse(m)
			return h, 0, err
		}
	}
}

// Seen returns how many bytes were understood; once Parse has come to an end, those that
// it took to find out.
func (x *Parser) Seen() int { return x.at }

// record returns the next bytes of the handshake: those of a record, with empty ones and
// warnings before it left out. need > 0: there are no more in p.
func (x *Parser) record(p []byte) (fragment []byte, need int, err error) {
	for {
		if len(p) < x.at+recordHeader {
			return nil, x.at + recordHeader, nil
		}
		kind, body := p[x.at], p[x.at+recordHeader:]
		n := int(binary.BigEndian.Uint16(p[x.at+3:]))
		switch {
		case p[x.at+1] != 3:
			err = errWrongVersion
		case n > maxRecord:
			err = errRecordSize
		}
		if err != nil {
			x.at += recordHeader
			return nil, 0, err
		}
		if len(body) < n {
			return nil, x.at + recordHeader + n, nil
		}
		x.at += recordHeader + n
		body = body[:n:n]
		if kind == typeAlert {
			if err := x.alert(body); err != nil {
				return nil, 0, err
			}
			continue
		}
		x.warnings = 0
		if kind != typeHandshake {
			return nil, 0, errRecord
		}
		if n > maxMessage {
			return nil, 0, errPlainRecordSize
		}
		if n > 0 {
			x.empty = 0
			return body, 0, nil
		}
		if x.empty++; x.empty > maxEmptyRecords {
			return nil, 0, errEmptyRecords
		}
	}
}

// alert returns the error that an alert is; nil: a warning.
func (x *Parser) alert(body []byte) error {
	if len(body) != 2 {
		return errBadAlert
	}
	switch level, what := body[0], int(body[1]); {
	case level == 1 && what == 0:
		return ErrClosed
	case level == 1:
		if x.warnings++; x.warnings > maxWarnings {
			return errWarnings
		}
		return nil
	case level == 2:
		return &Error{alertReasons + what, AlertName(what)}
	}
	return errAlertLevel
}

// add returns the message that is whole with the fragment; nil: it is not yet.
func (x *Parser) add(fragment []byte) ([]byte, error) {
	m := fragment
	if x.message != nil {
		x.message = append(x.message, fragment...)
		m = x.message
	}
	if len(m) >= messageHeader {
		n := int(m[1])<<16 | int(m[2])<<8 | int(m[3])
		switch {
		case n > maxMessage:
			return nil, errMessageSize
		case len(m) >= messageHeader+n:
			return m, nil
		}
	}
	if x.message == nil {
		x.message = append(make([]byte, 0, 2*len(fragment)), fragment...)
	}
	return nil, nil
}

// otherProtocol tells what clients say who do not know that this is TLS.
func otherProtocol(p []byte) error {
	switch string(p[:4]) {
	case "GET ", "POST", "HEAD", "PUT ":
		return errRequest
	}
	if string(p[:5]) == "CONNE" {
		return errProxyRequest
	}
	return nil
}
