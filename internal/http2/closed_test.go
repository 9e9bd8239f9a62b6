package http2

import (
	"testing"

	"github.com/ginnel/ginnel/httpmsg"
)

// The last streams are remembered, as they ended last, and with them one that ends long
// after its neighbours.
func TestClosedStreams(t *testing.T) {
	var l closedStreams
	kind := func(id uint32) closeKind { return closeKind(1 + id/2%3) }
	const n = 5000
	for id := uint32(3); id < n; id += 2 {
		l.add(id, kind(id))
		for _, back := range []uint32{0, 2, 200, 2 * (4*maxClosedSets - 1)} {
			if old := id - back; old >= 3 && old <= id && l.how(old) != kind(old) {
				t.Fatalf("%d after %d: %d", old, id, l.how(old))
			}
		}
	}
	if l.how(3) != closedUnknown || l.how(n+1) != closedUnknown {
		t.Error("too much is remembered")
	}
	l.add(1, closedByUs)
	l.add(1, closedByPeer)
	if l.how(1) != closedByPeer || l.how(n-1) != kind(n-1) {
		t.Error("a stream that ended late")
	}
}

func BenchmarkClosedStreams(b *testing.B) {
	var l closedStreams
	for id := uint32(1); id < 4096; id += 2 {
		l.add(id, closedDone)
	}
	for b.Loop() {
		l.how(1)
	}
}

// TestStrayData: a client may send on a stream that was reset what its window allows, which
// can be on its way, and no more.
func TestStrayData(t *testing.T) {
	p := dialServer(t, &ServerOptions{Options: Options{StreamWindow: 1 << 16}}, &handler{answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
		w.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	}})
	p.post(1)
	p.expect("RST 1 INTERNAL_ERROR")
	for range 4 {
		_ = p.fr.WriteData(1, false, make([]byte, 1<<14))
	}
	p.post(3)
	p.expect("RST 3 INTERNAL_ERROR")
	for range 4 {
		_ = p.fr.WriteData(3, false, make([]byte, 1<<14))
	}
	_ = p.fr.WriteData(1, false, []byte("x"))
	if got := p.next(); got != "GOAWAY 3 FLOW_CONTROL_ERROR" {
		t.Errorf("%q", got)
	}
}
