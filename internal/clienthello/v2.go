package clienthello

import "encoding/binary"

// isV2 tells a ClientHello in the frame of SSL 2, which clients of TLS sent to servers
// that might know nothing newer.
func isV2(p []byte) bool { return p[0]&0x80 != 0 && p[2] == typeClientHello && p[3] == 3 }

func (x *Parser) parseV2(p []byte) (*Hello, int, error) {
	n := int(p[0]&0x7f)<<8 | int(p[1])
	switch {
	case n > v2MaxLength:
		x.at = recordHeader
		return nil, 0, errV2Size
	case n < v2MinLength:
		x.at = recordHeader
		return nil, 0, errV2Length
	case len(p) < lengthOfV2Header+n:
		return nil, lengthOfV2Header + n, nil
	}
	x.at = lengthOfV2Header + n
	h, err := splitV2(p[lengthOfV2Header:x.at])
	if err == nil && (h.Version < versionTLS10 || h.Version > versionTLS13) {
		err = ErrVersion
	}
	return h, 0, err
}

// splitV2 reads type, version, three lengths (cipher suites, session, challenge), and
// what they are the lengths of.
func splitV2(b []byte) (*Hello, error) {
	const head = 9
	if len(b) < head {
		return nil, errDecode
	}
	suites := int(binary.BigEndian.Uint16(b[3:]))
	others := int(binary.BigEndian.Uint16(b[5:])) + int(binary.BigEndian.Uint16(b[7:]))
	if len(b) != head+suites+others || suites%3 != 0 {
		return nil, errDecode
	}
	h := &Hello{Version: binary.BigEndian.Uint16(b[1:])}
	for s := b[head : head+suites]; len(s) > 0; s = s[3:] {
		if s[0] == 0 { // the others are of SSL 2
			h.ciphers = append(h.ciphers, s[1], s[2])
		}
	}
	if len(h.ciphers) == 0 {
		return nil, errParse
	}
	return h, nil
}
