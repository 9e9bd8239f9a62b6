package netconn

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ip(s string) filter.IPAddr { return filter.IPAddr{AddrPort: netip.MustParseAddrPort(s)} }

func listen(t *testing.T, a net.Addr, o ListenOptions) *Listener {
	t.Helper()
	l, err := Listen(a, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// pair returns a connected pair; both ends are closed with the test.
func pair(t *testing.T, a net.Addr) (client, server *Socket) {
	t.Helper()
	l := listen(t, a, ListenOptions{})
	client, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// families are the addresses that most tests run over.
func families(t *testing.T) map[string]net.Addr {
	return map[string]net.Addr{
		"tcp4": ip("127.0.0.1:0"),
		"tcp6": ip("[::1]:0"),
		"unix": filter.UnixAddr{Path: t.TempDir() + "/s"},
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(d)
}
