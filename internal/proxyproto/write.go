package proxyproto

import (
	"encoding/binary"
	"strconv"
)

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

// most is how long what follows the fixed part of version 2 may be.
const most = 0xffff

// Append2 appends a header of version 2. A Local one has neither addresses nor TLVs. It
// reports whether all TLVs fit; each one that does not is left out.
func (h *Header) Append2(b []byte) (_ []byte, all bool) {
	b = append(b, signature2...)
	if h.Local || !h.sameFamily() {
		return append(b, 0x20, 0, 0, 0), true
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
	all = true
	for _, t := range h.TLVs {
		if len(b)-at+3+len(t.Value) > most {
			all = false
			continue
		}
		b = append(b, t.Type)
		b = binary.BigEndian.AppendUint16(b, uint16(len(t.Value)))
		b = append(b, t.Value...)
	}
	binary.BigEndian.PutUint16(b[at-2:], uint16(len(b)-at))
	return b, all
}

func (h *Header) sameFamily() bool {
	return h.Source.IsValid() && h.Destination.IsValid() && h.Source.Addr().Is4() == h.Destination.Addr().Is4()
}
