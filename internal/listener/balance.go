package listener

import "github.com/ginnel/ginnel/internal/netconn"

// A balance is how many open connections of a listener each worker has, where each new one
// is for whoever has fewest (exact_balance). A worker is an event loop, which moves the bytes
// of its connections between sockets; what goroutines serve is spread by their scheduler, and
// only counts for its worker. nil: nothing is balanced. The listener's mu guards it.
type balance []int

func newBalance(workers int) balance { return make(balance, max(workers, 1)) }

// join returns the worker of one more connection.
func (b balance) join() uint16 {
	least := 0
	for i, n := range b {
		if n < b[least] {
			least = i
		}
	}
	b[least]++
	return uint16(least)
}

func (b balance) leave(worker uint16) { b[worker]-- }

// assign makes the loop of a balanced connection's worker the one that moves its bytes. The
// connection has entered, and nobody but the caller knows it.
func (l *Listener) assign(c *conn) {
	if s, ok := c.Stream.(*netconn.Socket); ok && l.balance != nil {
		s.Assign(int(c.Info.Worker))
	}
}
