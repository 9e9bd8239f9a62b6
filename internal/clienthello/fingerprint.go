package clienthello

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
)

// isGrease tells the values that clients make up so that servers get used to unknown
// ones (RFC 8701): 0x0a0a, 0x1a1a, ... 0xfafa.
func isGrease(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// numbers returns the 16-bit numbers in b; half a one at the end is left out.
func numbers(b []byte) []uint16 {
	all := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		all = append(all, binary.BigEndian.Uint16(b))
	}
	return all
}

func withoutGrease(all []uint16) []uint16 { return slices.DeleteFunc(all, isGrease) }

// types returns the types of the extensions in their order, those of GREASE left out.
func (h *Hello) types() (all []uint16) {
	h.each(func(kind uint16, _ []byte) { all = append(all, kind) })
	return withoutGrease(all)
}

// list returns the numbers of an extension that is a list behind its length, which
// nobody checks.
func (h *Hello) list(kind uint16) []uint16 {
	ext, _ := h.extension(kind)
	if len(ext) < 2 {
		return nil
	}
	return numbers(ext[2:])
}

// JA3 returns the fingerprint of https://github.com/salesforce/ja3: the MD5 of version,
// cipher suites, extensions, groups and point formats, all without GREASE.
func (h *Hello) JA3() string {
	var formats []uint16
	if ext, _ := h.extension(extPointFormats); len(ext) > 1 {
		for _, f := range ext[1:] {
			formats = append(formats, uint16(f))
		}
	}
	b := strconv.AppendUint(nil, uint64(h.Version), 10)
	for _, list := range [][]uint16{withoutGrease(numbers(h.ciphers)), h.types(), withoutGrease(h.list(extGroups)), formats} {
		b = append(b, ',')
		for i, v := range list {
			if i > 0 {
				b = append(b, '-')
			}
			b = strconv.AppendUint(b, uint64(v), 10)
		}
	}
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// JA4 returns the fingerprint of https://github.com/FoxIO-LLC/ja4: what can be read, and
// two hashes of what is sorted.
func (h *Hello) JA4() string {
	ciphers, types := withoutGrease(numbers(h.ciphers)), h.types()
	sni := byte('i')
	if _, ok := h.extension(extServerName); ok {
		sni = 'd'
	}
	readable := fmt.Sprintf("t%s%c%02d%02d%s", h.ja4Version(), sni, min(len(ciphers), 99), min(len(types), 99), h.ja4ALPN())
	slices.Sort(ciphers)
	types = slices.DeleteFunc(types, func(t uint16) bool { return t == extServerName || t == extALPN })
	slices.Sort(types)
	return readable + "_" + ja4Hash(ciphers, nil) + "_" + ja4Hash(types, h.list(extSignatures))
}

// ja4Version is the highest version that is offered.
func (h *Hello) ja4Version() string {
	v := h.Version
	if ext, ok := h.extension(extVersions); ok {
		list, _, ok := cut8(ext)
		if !ok {
			return "00"
		}
		if all := withoutGrease(numbers(list)); len(all) > 0 {
			v = slices.Max(all)
		}
	}
	if v < versionTLS10 || v > versionTLS13 {
		return "00"
	}
	return "1" + string(rune('0'+v-versionTLS10))
}

// ja4ALPN is the first and the last character of the first protocol, or what is left of
// their hexadecimal numbers.
func (h *Hello) ja4ALPN() string {
	ext, _ := h.extension(extALPN)
	if len(ext) < 3 || ext[2] == 0 || len(ext) < 3+int(ext[2]) {
		return "00"
	}
	name := ext[3 : 3+int(ext[2])]
	first, last := name[0], name[len(name)-1]
	if !isAlphanumeric(first) || !isAlphanumeric(last) {
		return fmt.Sprintf("%x%x", first>>4, last&15)
	}
	return string([]byte{first, last})
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// ja4Hash is the beginning of the SHA-256 of a list, and of one behind it; without the
// first it is all zero.
func ja4Hash(list, more []uint16) string {
	if len(list) == 0 {
		return "000000000000"
	}
	var b []byte
	add := func(list []uint16) {
		for i, v := range list {
			if i > 0 {
				b = append(b, ',')
			}
			b = fmt.Appendf(b, "%04x", v)
		}
	}
	add(list)
	if len(more) > 0 {
		b = append(b, '_')
		add(more)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}
