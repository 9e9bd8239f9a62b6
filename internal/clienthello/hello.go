package clienthello

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// A Hello is a ClientHello. Its bytes are parts of what was parsed.
type Hello struct {
	Version    uint16 // legacy_version
	ServerName string // as it was sent; "": there is none
	// Protocols are those of ALPN in the client's order; nil where the extension is
	// missing or malformed, which is left to the server to complain of.
	Protocols []string

	ciphers    []byte // 2 bytes each
	extensions []byte // well-formed
}

// The extensions that are read.
const (
	extServerName    = 0
	extGroups        = 10
	extPointFormats  = 11
	extSignatures    = 13
	extALPN          = 16
	extVersions      = 43
	extEncrypted     = 0xfe0d
	versionTLS10     = 0x0301
	versionTLS13     = 0x0304
	typeClientHello  = 1
	maxServerName    = 255
	maxSessionID     = 32
	lengthOfRandom   = 32
	v2MaxLength      = 4096
	v2MinLength      = recordHeader - 2
	lengthOfV2Header = 2
)

// parse reads the message of a handshake; m may go on behind it.
func parse(m []byte) (*Hello, error) {
	if m[0] != typeClientHello {
		return nil, errMessage
	}
	n := int(m[1])<<16 | int(m[2])<<8 | int(m[3])
	h, ok := split(m[messageHeader : messageHeader+n])
	switch {
	case !ok:
		return nil, errParse
	case len(m) > messageHeader+n:
		return nil, errExcess
	}
	if ext, ok := h.extension(extEncrypted); ok && !isEncrypted(ext) {
		return nil, errDecode
	}
	if ext, ok := h.extension(extServerName); ok {
		if h.ServerName, ok = serverName(ext); !ok {
			return nil, errExtension
		}
	}
	if ext, ok := h.extension(extALPN); ok {
		h.Protocols = protocols(ext)
	}
	if h.Version < versionTLS10 || h.Version > versionTLS13 {
		return h, ErrVersion
	}
	return h, nil
}

// split cuts a ClientHello at its lengths.
func split(b []byte) (*Hello, bool) {
	if len(b) < 2+lengthOfRandom {
		return nil, false
	}
	h := &Hello{Version: binary.BigEndian.Uint16(b)}
	b = b[2+lengthOfRandom:]
	id, b, ok := cut8(b)
	if !ok || len(id) > maxSessionID {
		return nil, false
	}
	if h.ciphers, b, ok = cut16(b); !ok || len(h.ciphers) < 2 || len(h.ciphers)%2 != 0 {
		return nil, false
	}
	compression, b, ok := cut8(b)
	if !ok || len(compression) == 0 {
		return nil, false
	}
	if len(b) == 0 {
		return h, true
	}
	if h.extensions, b, ok = cut16(b); !ok || len(b) > 0 {
		return nil, false
	}
	return h, wellFormed(h.extensions)
}

// wellFormed reports whether b is a list of extensions, each of another type.
func wellFormed(b []byte) bool {
	var few [32]uint16
	types := few[:0]
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		types = append(types, binary.BigEndian.Uint16(b))
		var ok bool
		if _, b, ok = cut16(b[2:]); !ok {
			return false
		}
	}
	slices.Sort(types)
	return len(slices.Compact(types)) == len(types)
}

// each calls f with every extension; the list is well-formed.
func (h *Hello) each(f func(kind uint16, body []byte)) {
	for b := h.extensions; len(b) > 0; {
		kind := binary.BigEndian.Uint16(b)
		var body []byte
		body, b, _ = cut16(b[2:])
		f(kind, body)
	}
}

func (h *Hello) extension(kind uint16) (body []byte, ok bool) {
	h.each(func(k uint16, b []byte) {
		if k == kind {
			body, ok = b, true
		}
	})
	return body, ok
}

// serverName reads a list of exactly one host name.
func serverName(ext []byte) (string, bool) {
	list, rest, ok := cut16(ext)
	if !ok || len(rest) > 0 || len(list) == 0 || list[0] != 0 {
		return "", false
	}
	name, rest, ok := cut16(list[1:])
	if !ok || len(rest) > 0 || len(name) == 0 || len(name) > maxServerName || bytes.IndexByte(name, 0) >= 0 {
		return "", false
	}
	return string(name), true
}

// isEncrypted reports whether an encrypted_client_hello is well-formed. Those that are not
// the outer one of two are not looked at (BoringSSL).
func isEncrypted(ext []byte) bool {
	const suiteAndConfig = 2 + 2 + 1
	switch {
	case len(ext) == 0:
		return false
	case ext[0] != 0:
		return true
	case len(ext) < 1+suiteAndConfig:
		return false
	}
	_, rest, ok := cut16(ext[1+suiteAndConfig:])
	if !ok {
		return false
	}
	_, rest, ok = cut16(rest)
	return ok && len(rest) == 0
}

// protocols reads the list of ALPN; nil: it is malformed.
func protocols(ext []byte) []string {
	list, rest, ok := cut16(ext)
	if !ok || len(rest) > 0 {
		return nil
	}
	var all []string
	for len(list) > 0 {
		var name []byte
		if name, list, ok = cut8(list); !ok || len(name) == 0 {
			return nil
		}
		all = append(all, string(name))
	}
	return all
}

// cut8 and cut16 return what follows a length of 8 or 16 bits, and the rest.
func cut8(b []byte) (head, rest []byte, ok bool) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}

func cut16(b []byte) (head, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return nil, nil, false
	}
	return b[2:n], b[n:], true
}
