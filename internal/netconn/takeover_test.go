package netconn

import (
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// What waits in the queue of a socket outlives the listener it waited for, where there is
// a duplicate; and is found there by who looks.
func TestDuplicateKeepsTheQueue(t *testing.T) {
	for name, addr := range families(t) {
		t.Run(name, func(t *testing.T) {
			l := listen(t, addr, ListenOptions{})
			c, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			d, err := l.Duplicate(7)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if err := d.Listen(); err != nil {
				t.Fatal(err)
			}
			l.Rest(func(*Socket) { t.Error("taken from the duplicate") })
			l.Close()
			taken := 0
			d.Rest(func(s *Socket) {
				taken++
				s.Close()
			})
			if taken != 1 {
				t.Errorf("%d connections", taken)
			}
			if d.Addr() != l.Addr() {
				t.Errorf("%v, was %v", d.Addr(), l.Addr())
			}
		})
	}
}

func TestInUse(t *testing.T) {
	for _, addr := range []filter.IPAddr{ip("127.0.0.1:0"), ip("[::1]:0")} {
		l, err := Bind(addr, ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if InUse(l.Addr()) {
			t.Errorf("%v is only bound", l.Addr())
		}
		if err := l.Listen(); err != nil {
			t.Fatal(err)
		}
		if !InUse(l.Addr()) {
			t.Errorf("%v is in use", l.Addr())
		}
		at := l.Addr()
		l.Close()
		if InUse(at) || InUse(addr) {
			t.Errorf("%v is free", at)
		}
	}
}
