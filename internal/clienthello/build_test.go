package clienthello_test

import (
	"bytes"
	"encoding/binary"
)

// What the tests' hellos are made of.

func u16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }

func vec8(b ...byte) []byte { return append([]byte{byte(len(b))}, b...) }

func vec16(b ...byte) []byte { return append(u16(len(b)), b...) }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func list(values ...int) (b []byte) {
	for _, v := range values {
		b = append(b, u16(v)...)
	}
	return b
}

func ext(kind int, body ...byte) []byte { return append(u16(kind), vec16(body...)...) }

func sni(name string) []byte {
	return ext(0, vec16(append([]byte{0}, vec16([]byte(name)...)...)...)...)
}

func alpn(protocols ...string) []byte {
	var names []byte
	for _, p := range protocols {
		names = append(names, vec8([]byte(p)...)...)
	}
	return ext(16, vec16(names...)...)
}

func versions(v ...int) []byte { return ext(43, vec8(list(v...)...)...) }

// A draft is a ClientHello that can be made wrong in every part.
type draft struct {
	kind        byte // 0: 1
	version     int  // 0: TLS 1.2
	ciphers     []int
	session     int // bytes
	compression []byte
	extensions  []byte
	noList      bool   // of extensions
	tail        []byte // inside of the message
}

func (d draft) bytes() []byte {
	if d.version == 0 {
		d.version = 0x0303
	}
	if d.kind == 0 {
		d.kind = 1
	}
	if d.ciphers == nil {
		d.ciphers = []int{0x1301, 0x1302, 0x0a0a, 0xc02f}
	}
	if d.compression == nil {
		d.compression = []byte{0}
	}
	body := cat(u16(d.version), bytes.Repeat([]byte{'R'}, 32), vec8(bytes.Repeat([]byte{'s'}, d.session)...),
		vec16(list(d.ciphers...)...), vec8(d.compression...))
	if !d.noList {
		body = append(body, vec16(d.extensions...)...)
	}
	body = append(body, d.tail...)
	return cat([]byte{d.kind, byte(len(body) >> 16)}, u16(len(body)), body)
}

func hello(extensions ...[]byte) []byte { return draft{extensions: cat(extensions...)}.bytes() }

func frame(kind byte, version int, body []byte) []byte {
	return cat([]byte{kind}, u16(version), vec16(body...))
}

func rec(body []byte) []byte { return frame(22, 0x0301, body) }

func warning() []byte { return frame(21, 0x0301, []byte{1, 90}) }

// v2 is a ClientHello in the frame of SSL 2.
func v2(version int, ciphers string, session, challenge int, tail string) []byte {
	body := cat([]byte{1}, u16(version), u16(len(ciphers)), u16(session), u16(challenge), []byte(ciphers),
		bytes.Repeat([]byte{'S'}, session), bytes.Repeat([]byte{'C'}, challenge), []byte(tail))
	return append(u16(0x8000|len(body)), body...)
}
