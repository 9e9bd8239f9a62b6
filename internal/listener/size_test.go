package listener

import (
	"reflect"
	"testing"
)

// An idle connection keeps a conn for each hop, and Go rounds it up to the next of its
// size classes: 320, 352, 384. Beyond 352 every connection and every hop costs 32 bytes
// more, and the targets of docs/performance.md for idle ones are missed. What few
// connections need belongs in filter.Extra, what all have in common in
// filter.ListenerInfo.
func TestConnFitsItsSizeClass(t *testing.T) {
	if n := reflect.TypeFor[conn]().Size(); n > 352 {
		t.Errorf("a conn has %d bytes, at most 352 were promised", n)
	}
}
