package listener

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats/teststats"
)

// defaults is a runtime without values.
type defaults struct{}

func (defaults) Enabled(string, uint32) bool            { return false }
func (defaults) Uint(_ string, otherwise uint64) uint64 { return otherwise }

// What was accepted just when a listener stopped is its heir's, else still its own, and
// nobody's once its connections are ended.
func TestAcceptedWhenStopped(t *testing.T) {
	build := func(name string) *Listener {
		told := func(string, *filter.Conn) {}
		l, err := New(&plan.Listener{Info: filter.ListenerInfo{Name: name}, StatPrefix: name, Chains: []*plan.Chain{{Terminal: serving{name, told}}}},
			&filter.Env{Stats: teststats.New(), Log: slog.New(slog.DiscardHandler), Runtime: defaults{}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	from, err := netconn.Listen(filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}, netconn.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	takenBy := func(l *Listener) *Listener {
		t.Helper()
		client, err := netconn.Dial(from.Addr(), time.Time{}, nil, netconn.DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		s, err := from.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c := l.take(s)
		if c == nil {
			return nil
		}
		at := c.listener()
		c.drop()
		return at
	}

	l, heir := build("l"), build("heir")
	l.Stop()
	if at := takenBy(l); at != l {
		t.Errorf("without an heir it is served by %v", at)
	}
	l.CloseConns("removed")
	if at := takenBy(l); at != nil {
		t.Errorf("of a listener whose connections are ended it is served by %v", at)
	}
	l = build("l")
	l.StopFor(heir)
	if at := takenBy(l); at != heir {
		t.Errorf("with an heir it is served by %v", at)
	}
	if l.Open()+heir.Open() != 0 {
		t.Errorf("%d and %d connections are left", l.Open(), heir.Open())
	}
}
