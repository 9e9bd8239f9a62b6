package state

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
)

// A Typed object has a value of its own for %FILTER_STATE(key:TYPED)%, the default
// form. Objects that are not Typed print "-" there, as Envoy's without a protobuf do.
type Typed interface {
	// Value returns the value; the caller must not change it.
	Value() *structpb.Value
}

var (
	_ []filter.Object   = []filter.Object{Text(""), Bool(false), Uint32(0), Uint64(0), Name(""), ProxyInfo{}}
	_ []filter.Hashable = []filter.Hashable{HashableText(""), Address{}, IP{}, ServerName(""), ApplicationProtocols{}, SubjectAltNames{}}
	_ filter.Fielded    = Address{}
)

// A Text is a string that is not part of any hash (Envoy: StringAccessor).
type Text string

// Serialize implements filter.Object.
func (t Text) Serialize() (string, bool) { return string(t), true }

// Value implements Typed.
func (t Text) Value() *structpb.Value { return structpb.NewStringValue(string(t)) }

// A HashableText is a string that chooses hosts by its hash.
type HashableText string

// Serialize implements filter.Object.
func (t HashableText) Serialize() (string, bool) { return string(t), true }

// Value implements Typed.
func (t HashableText) Value() *structpb.Value { return structpb.NewStringValue(string(t)) }

// Hash implements filter.Hashable: xxHash64, as Envoy's.
func (t HashableText) Hash() (uint64, bool) { return xxhash.Sum64String(string(t)), true }

// A Bool is a truth value.
type Bool bool

// Serialize implements filter.Object.
func (b Bool) Serialize() (string, bool) { return strconv.FormatBool(bool(b)), true }

// Value implements Typed.
func (b Bool) Value() *structpb.Value { return structpb.NewBoolValue(bool(b)) }

// A Uint32 is a number.
type Uint32 uint32

// Serialize implements filter.Object.
func (n Uint32) Serialize() (string, bool) { return strconv.FormatUint(uint64(n), 10), true }

// Value implements Typed.
func (n Uint32) Value() *structpb.Value { return structpb.NewNumberValue(float64(n)) }

// A Uint64 is a number.
type Uint64 uint64

// Serialize implements filter.Object.
func (n Uint64) Serialize() (string, bool) { return strconv.FormatUint(uint64(n), 10), true }

// Value implements Typed: a string, as the protobuf JSON form of 64 bits is.
func (n Uint64) Value() *structpb.Value {
	return structpb.NewStringValue(strconv.FormatUint(uint64(n), 10))
}

// A Name is a cluster or a network namespace: text without a value of its own and
// without a hash.
type Name string

// Serialize implements filter.Object.
func (n Name) Serialize() (string, bool) { return string(n), true }

// An Address is an IP address with its port (Envoy: AddressObject).
type Address struct{ netip.AddrPort }

// Serialize implements filter.Object.
func (a Address) Serialize() (string, bool) { return a.AddrPort.String(), true }

// Hash implements filter.Hashable: xxHash64 of the text.
func (a Address) Hash() (uint64, bool) {
	return xxhash.Sum64String(a.AddrPort.String()), true
}

// Field implements filter.Fielded: ip and port.
func (a Address) Field(name string) (string, bool) {
	switch name {
	case "ip":
		return a.Addr().String(), true
	case "port":
		return strconv.Itoa(int(a.Port())), true
	}
	return "", false
}

// An IP is an address without a port. It prints one all the same, as in Envoy.
type IP struct{ netip.Addr }

// Serialize implements filter.Object.
func (a IP) Serialize() (string, bool) { return netip.AddrPortFrom(a.Addr, 0).String(), true }

// Hash implements filter.Hashable.
func (a IP) Hash() (uint64, bool) { return xxhash.Sum64String(a.String()), true }

// A ServerName overrides the SNI of upstream connections.
type ServerName string

// Serialize implements filter.Object.
func (n ServerName) Serialize() (string, bool) { return string(n), true }

// Hash implements filter.Hashable.
func (n ServerName) Hash() (uint64, bool) { return xxhash.Sum64String(string(n)), true }

// ApplicationProtocols override the ALPN list of upstream connections. They print
// nothing, as in Envoy.
type ApplicationProtocols struct{ names []string }

// Names returns the protocols; the caller must not change them.
func (p ApplicationProtocols) Names() []string { return p.names }

// Serialize implements filter.Object.
func (p ApplicationProtocols) Serialize() (string, bool) { return "", false }

// Hash implements filter.Hashable.
func (p ApplicationProtocols) Hash() (uint64, bool) { return hashList(p.names), true }

// SubjectAltNames are names of which the upstream peer's certificate must have one.
type SubjectAltNames struct{ text string }

// Names returns the alternative names.
func (n SubjectAltNames) Names() []string { return splitList(n.text) }

// Serialize implements filter.Object.
func (n SubjectAltNames) Serialize() (string, bool) { return n.text, true }

// Hash implements filter.Hashable.
func (n SubjectAltNames) Hash() (uint64, bool) { return hashList(n.Names()), true }

// hashList hashes each name with its length before it, so that no two lists share
// their bytes.
func hashList(names []string) uint64 {
	var d xxhash.Digest
	d.Reset()
	var length [8]byte
	for _, n := range names {
		binary.LittleEndian.PutUint64(length[:], uint64(len(n)))
		d.Write(length[:])
		d.WriteString(n)
	}
	return d.Sum64()
}

// A ProxyInfo makes an upstream connection pass an HTTP/1.1 proxy. It prints
// nothing, as in Envoy.
type ProxyInfo struct {
	Host  string
	Proxy netip.AddrPort
}

// Serialize implements filter.Object.
func (p ProxyInfo) Serialize() (string, bool) { return "", false }
