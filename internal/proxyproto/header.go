// Package proxyproto reads and writes the header of the PROXY protocol, versions 1 and 2
// (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt), as Envoy 1.40.0 does.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"

	headLen  = len(signature2) + 4 // of version 2, before the addresses
	maxLine  = 108                 // of version 1, with its end
	addrLen4 = 2*4 + 2*2
	addrLen6 = 2*16 + 2*2
)

// A Header is what stands before the bytes of a connection.
type Header struct {
	Version int // 1 or 2; 0: not known yet, or there is no header
	Len     int // bytes of the header
	// Local tells that the connection is the sender's own (LOCAL), or that it does not know
	// whose (UNKNOWN): there are no addresses, and the real ones stay.
	Local               bool
	Source, Destination netip.AddrPort
	TLVs                []TLV
}

// A TLV is an extension of version 2.
type TLV struct {
	Type  byte
	Value []byte
}

// Why bytes are not a header.
var (
	ErrNotFound    = errors.New("the bytes do not begin with a PROXY protocol header")
	ErrLong        = errors.New("the line of PROXY protocol version 1 is too long")
	errLine        = errors.New("the line of PROXY protocol version 1 is malformed")
	errVersion     = errors.New("unknown version of the PROXY protocol")
	errUnsupported = errors.New("unsupported command, address family or transport of the PROXY protocol")
	errShort       = errors.New("the PROXY protocol header is shorter than its addresses")
	errTLV         = errors.New("an extension of the PROXY protocol header is cut off")
	errUnicast     = errors.New("an address of the PROXY protocol header is not one of a host")
)

// MayBe1 reports whether b can be the beginning of a header of version 1.
func MayBe1(b []byte) bool { return mayBe(b, signature1) }

// MayBe2 reports whether b can be the beginning of a header of version 2.
func MayBe2(b []byte) bool { return mayBe(b, signature2) }

func mayBe(b []byte, signature string) bool {
	n := min(len(b), len(signature))
	return string(b[:n]) == signature[:n]
}

// Parse reads the header that b begins with. While more is not zero, that many bytes are
// needed before anything else can be said, though the version may be known already. The
// values of TLVs point into b.
func Parse(b []byte) (h Header, more int, err error) {
	if len(b) >= headLen {
		switch {
		case string(b[:len(signature2)]) == signature2:
			return parse2(b)
		case !MayBe1(b):
			return h, 0, ErrNotFound
		}
	}
	return parse1(b)
}

func parse1(b []byte) (h Header, more int, err error) {
	end := bytes.Index(b, []byte("\r\n"))
	switch {
	case end == 0: // perhaps version 2
		return h, headLen, nil
	case end < 0 && len(b) > maxLine:
		return h, 0, ErrNotFound
	case end < 0:
		return h, len(b) + 1, nil
	}
	h.Version, h.Len = 1, end+2
	if h.Len > maxLine {
		return h, 0, ErrLong
	}
	return h, 0, h.line(strings.TrimRight(string(b[:end]), " \t\r\n\v\f"))
}

// line reads a line of version 1.
func (h *Header) line(s string) error {
	f := strings.Split(s, " ")
	if len(f) < 2 || f[0] != "PROXY" {
		return errLine
	}
	if f[1] == "UNKNOWN" {
		h.Local = true
		return nil
	}
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return errLine
	}
	var ok1, ok2 bool
	h.Source, ok1 = addrPort(f[2], f[4])
	h.Destination, ok2 = addrPort(f[3], f[5])
	is4 := f[1] == "TCP4"
	if !ok1 || !ok2 || h.Source.Addr().Is4() != is4 || h.Destination.Addr().Is4() != is4 {
		return errLine
	}
	return h.unicast()
}

func addrPort(host, port string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(host)
	n, perr := strconv.ParseUint(strings.TrimPrefix(port, "+"), 10, 16)
	return netip.AddrPortFrom(a, uint16(n)), err == nil && perr == nil
}

func parse2(b []byte) (h Header, more int, err error) {
	h.Version = 2
	command, kind := b[len(signature2)], b[len(signature2)+1]
	h.Len = headLen + int(binary.BigEndian.Uint16(b[headLen-2:]))
	if command>>4 != 2 {
		return h, 0, errVersion
	}
	if command&0xf == 0 {
		h.Local = true
		return h, missing(b, h.Len), nil
	}
	size := map[byte]int{1: addrLen4, 2: addrLen6}[kind>>4]
	switch {
	case size == 0:
		return h, 0, errUnsupported
	case h.Len < headLen+size:
		return h, 0, errShort
	}
	if more := missing(b, headLen+size); more > 0 {
		return h, more, nil
	}
	if transport := kind & 0xf; command&0xf != 1 || transport != 1 && transport != 2 {
		return h, 0, errUnsupported
	}
	if more := missing(b, h.Len); more > 0 {
		return h, more, nil
	}
	h.addresses(b[headLen : headLen+size])
	if h.TLVs, err = tlvs(b[headLen+size : h.Len]); err != nil {
		return h, 0, err
	}
	return h, 0, h.unicast()
}

// missing returns n if b is shorter.
func missing(b []byte, n int) int {
	if len(b) < n {
		return n
	}
	return 0
}

// addresses reads two addresses, then two ports.
func (h *Header) addresses(b []byte) {
	n := (len(b) - 4) / 2
	source, _ := netip.AddrFromSlice(b[:n])
	destination, _ := netip.AddrFromSlice(b[n : 2*n])
	h.Source = netip.AddrPortFrom(source, binary.BigEndian.Uint16(b[2*n:]))
	h.Destination = netip.AddrPortFrom(destination, binary.BigEndian.Uint16(b[2*n+2:]))
}

func tlvs(b []byte) ([]TLV, error) {
	var out []TLV
	for len(b) > 0 {
		if len(b) < 3 {
			return nil, errTLV
		}
		n := 3 + int(binary.BigEndian.Uint16(b[1:]))
		if len(b) < n {
			return nil, errTLV
		}
		out = append(out, TLV{b[0], b[3:n]})
		b = b[n:]
	}
	return out, nil
}

func (h *Header) unicast() error {
	for _, a := range []netip.Addr{h.Source.Addr(), h.Destination.Addr()} {
		if a.IsUnspecified() || a.IsMulticast() && !a.Is4In6() || a == broadcast {
			return errUnicast
		}
	}
	return nil
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
