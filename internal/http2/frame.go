package http2

import (
	"encoding/binary"

	xhttp2 "golang.org/x/net/http2"
)

const (
	frameHeaderSize = 9
	maxFrameSize    = 1 << 14 // of a payload that this side takes
	clientPreface   = xhttp2.ClientPreface
)

// A frameHeader precedes every frame: RFC 9113 section 4.1.
type frameHeader struct {
	length uint32
	kind   xhttp2.FrameType
	flags  xhttp2.Flags
	stream uint32
}

func parseFrameHeader(p []byte) frameHeader {
	_ = p[frameHeaderSize-1]
	return frameHeader{
		length: uint32(p[0])<<16 | uint32(p[1])<<8 | uint32(p[2]),
		kind:   xhttp2.FrameType(p[3]),
		flags:  xhttp2.Flags(p[4]),
		stream: binary.BigEndian.Uint32(p[5:]) & maxStreamID,
	}
}

func appendFrameHeader(p []byte, kind xhttp2.FrameType, flags xhttp2.Flags, stream uint32, length int) []byte {
	return append(p, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags),
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// appendShort appends a frame whose payload is one number.
func appendShort(p []byte, kind xhttp2.FrameType, stream, value uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHeader(p, kind, 0, stream, 4), value)
}

func appendSettings(p []byte, settings []Setting) []byte {
	p = appendFrameHeader(p, xhttp2.FrameSettings, 0, 0, 6*len(settings))
	for _, s := range settings {
		p = binary.BigEndian.AppendUint16(p, s.ID)
		p = binary.BigEndian.AppendUint32(p, s.Value)
	}
	return p
}

func appendPing(p []byte, flags xhttp2.Flags, data [8]byte) []byte {
	return append(appendFrameHeader(p, xhttp2.FramePing, flags, 0, 8), data[:]...)
}

func appendGoAway(p []byte, last uint32, code xhttp2.ErrCode, debug string) []byte {
	p = appendFrameHeader(p, xhttp2.FrameGoAway, 0, 0, 8+len(debug))
	p = binary.BigEndian.AppendUint32(p, last)
	p = binary.BigEndian.AppendUint32(p, uint32(code))
	return append(p, debug...)
}

// unpad returns the payload of a frame without its padding.
func unpad(h frameHeader, p []byte) ([]byte, bool) {
	if h.flags&xhttp2.FlagDataPadded == 0 {
		return p, true
	}
	if len(p) == 0 || int(p[0]) >= len(p) {
		return nil, false
	}
	return p[1 : len(p)-int(p[0])], true
}
