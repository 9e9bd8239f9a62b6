package proxyproto

import (
	"encoding/binary"
	"errors"
	"strconv"
)

// ErrTooLong is the error of a header that does not fit the protocol's 16 bits.
var ErrTooLong = errors.New("the extensions of the PROXY protocol header are too long")

// Append1 appends a header of version 1. Without two addresses of one family it says
// UNKNOWN.
func (h *Header) Append1(b []byte) []byte {
	if h.Local || !h.sameFamily() {
		return append(b, "PROXY UNKNOWN\r\n"...)
	}
	b = append(b, "PROXY TCP6 "...)
	if h.Source.Addr().Is4() {
		b[len(b)-2] = '4'
	}
	b = append(h.Source.Addr().WithZone("").AppendTo(b), ' ')
	b = append(h.Destination.Addr().WithZone("").AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(h.Source.Port()), 10), ' ')
	return append(strconv.AppendUint(b, uint64(h.Destination.Port()), 10), "\r\n"...)
}

// Append2 appends a header of version 2. A Local one has neither addresses nor TLVs.
func (h *Header) Append2(b []byte) ([]byte, error) {
	b = append(b, signature2...)
	if h.Local || !h.sameFamily() {
		return append(b, 0x20, 0, 0, 0), nil
	}
	kind := byte(0x21)
	if h.Source.Addr().Is4() {
		kind = 0x11
	}
	b = append(b, 0x21, kind, 0, 0)
	at := len(b)
	b = append(b, h.Source.Addr().AsSlice()...)
	b = append(b, h.Destination.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, h.Source.Port())
	b = binary.BigEndian.AppendUint16(b, h.Destination.Port())
	for _, t := range h.TLVs {
		if len(t.Value) > 0xffff {
			return nil, ErrTooLong
		}
		b = append(b, t.Type)
		b = binary.BigEndian.AppendUint16(b, uint16(len(t.Value)))
		b = append(b, t.Value...)
	}
	if len(b)-at > 0xffff {
		return nil, ErrTooLong
	}
	binary.BigEndian.PutUint16(b[at-2:], uint16(len(b)-at))
	return b, nil
}

func (h *Header) sameFamily() bool {
	return h.Source.IsValid() && h.Destination.IsValid() && h.Source.Addr().Is4() == h.Destination.Addr().Is4()
}
