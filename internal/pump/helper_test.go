package pump

import (
	"runtime"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
)

// awaitAcked waits until all that was written to a socket has reached the other
// system: a reset would take it back else.
func awaitAcked(t testing.TB, s filter.Stream) {
	sock, ok := s.(*netconn.Socket)
	for ok {
		n, err := sock.Unsent()
		if e := sock.Poll(); n == 0 || err != nil || e.Dead || e.Failed {
			return
		}
		runtime.Gosched()
	}
}
