package upstream

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/filter"
)

// A PoolKey tells connections apart that must not serve each other's requests. Equal
// keys (==) may share a pool. TCP connections are never shared; this is for HTTP.
//
// Beside the host and the options of the transport socket, *every* shared
// filter-state object is part of the key. Envoy leaves out those that are not
// hashable, and so serves the requests of one user over connections that carry the
// identity of another (envoy#35711).
type PoolKey struct {
	Host    *filter.Host
	Options string // of the transport socket: server name, ALPN and the like

	state   string // of the objects that have a text
	objects any    // the others themselves: a list of cells
	unique  bool   // an object can be equal to nothing: no other request will have this key
}

// A cell is a list of objects that can be compared.
type cell struct {
	name string
	obj  any
	next any
}

// NewPoolKey returns the key of a request. shared is what State.Shared returns.
//
// Objects of one type and text are equal; an object without a text only to itself.
// Hashes are not enough: whoever chooses the text could make two of them meet.
func NewPoolKey(h *filter.Host, options string, shared []filter.Entry) PoolKey {
	k := PoolKey{Host: h, Options: options}
	if len(shared) == 0 {
		return k
	}
	var b strings.Builder
	for _, e := range shared {
		if text, ok := e.Object.Serialize(); ok {
			fmt.Fprintf(&b, "%d:%s%d:%T:%d:%s", len(e.Name), e.Name, e.Sharing, e.Object, len(text), text)
			continue
		}
		obj := any(e.Object)
		if !reflect.ValueOf(obj).Comparable() {
			obj, k.unique = new(byte), true
		}
		k.objects = cell{fmt.Sprintf("%d%s", e.Sharing, e.Name), obj, k.objects}
	}
	k.state = b.String()
	return k
}

// appendText appends a text so that what follows cannot be taken for a part of it.
func appendText(b []byte, s string) []byte {
	return append(append(strconv.AppendInt(b, int64(len(s)), 10), ':'), s...)
}
