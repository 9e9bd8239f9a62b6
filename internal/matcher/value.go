package matcher

import (
	"net/netip"
	"strconv"

	"google.golang.org/protobuf/types/known/structpb"
)

// An Input reads one thing of a D.
type Input[D any] func(D) Value

// A Value is what an input reads. The zero value is nothing: that the D has no such
// thing. All but metadata has a text, which is made only where it is asked for.
type Value struct {
	kind   kind
	later  later
	number uint16
	text   string
	addr   netip.Addr
	list   []string
	meta   *structpb.Value
}

type kind uint8

const (
	nothing kind = iota
	byText
	byNumber
	byAddr
	byList
	byMeta
)

type later uint8

const (
	final later = iota
	growing
	pending
)

// Text is the value of a text, also of an empty one.
func Text(s string) Value { return Value{kind: byText, text: s} }

// Port is the value of a port, written in decimal.
func Port(n uint16) Value { return Value{kind: byNumber, number: n} }

// Address is the value of an IP address.
func Address(a netip.Addr) Value { return Value{kind: byAddr, addr: a} }

// Quoted is the value of a list of texts, written in single quotes with commas between.
func Quoted(list []string) Value { return Value{kind: byList, list: list} }

// Metadata is a value that has no text: only matchers of metadata look at it.
func Metadata(v *structpb.Value) Value { return Value{kind: byMeta, meta: v} }

// Pending is the value of what is not known yet.
func Pending() Value { return Value{later: pending} }

// Growing returns v as what is known so far: where it leads nowhere, nothing is decided.
func (v Value) Growing() Value {
	v.later = growing
	return v
}

// String returns the text; "" for what has none.
func (v *Value) String() string {
	if v.kind == byText {
		return v.text
	}
	var buf [textBytes]byte
	return string(v.append(buf[:0]))
}

const textBytes = 64 // that most texts fit into: an address with its zone, a few protocols

// append adds the text to b.
func (v *Value) append(b []byte) []byte {
	switch v.kind {
	case byText:
		return append(b, v.text...)
	case byNumber:
		return strconv.AppendUint(b, uint64(v.number), 10)
	case byAddr:
		return v.addr.AppendTo(b)
	case byList:
		for i, s := range v.list {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(append(b, '\''), s...), '\'')
		}
	}
	return b
}

// ip returns the address that the value is, or that its text is. One of IPv4 that is
// written as one of IPv6 stays that (Envoy).
func (v *Value) ip() (netip.Addr, bool) {
	switch v.kind {
	case byAddr:
		return v.addr, v.addr.IsValid()
	case byText:
		a, err := netip.ParseAddr(v.text)
		return a.WithZone(""), err == nil
	}
	return netip.Addr{}, false
}
