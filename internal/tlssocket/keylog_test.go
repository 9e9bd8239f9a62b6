package tlssocket

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/ginnel/ginnel/filter"
)

// files are log files of which each write fails, as with a disk that is full.
type files struct{ bytes.Buffer }

func (f *files) Open(string) (filter.LogFile, error) { return f, nil }

func (f *files) Write(p []byte) (int, error) {
	f.Buffer.Write(p)
	return 0, errors.New("no space left on device")
}

func TestKeyLogRanges(t *testing.T) {
	four, six := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fe80::/16")
	here := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}
	there := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}
	link := &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}
	for _, c := range []struct {
		local, remote []netip.Prefix
		at, peer      net.Addr
		want          bool
	}{
		{nil, nil, here, there, true},
		{nil, nil, filter.InternalAddr{Listener: "x"}, nil, true},
		{[]netip.Prefix{six, four}, nil, here, there, true},
		{[]netip.Prefix{four}, nil, there, here, false},
		{nil, []netip.Prefix{four}, there, here, true},
		{nil, []netip.Prefix{four}, here, there, false},
		{[]netip.Prefix{four}, []netip.Prefix{four}, here, there, false},
		{[]netip.Prefix{six}, nil, link, there, true},
		{[]netip.Prefix{four}, nil, filter.InternalAddr{Listener: "x"}, here, false},
	} {
		w, err := (&keyLog{path: "x", local: c.local, remote: c.remote}).open(new(files))
		if err != nil {
			t.Fatal(err)
		}
		if got := w.of(c.at, c.peer) != nil; got != c.want {
			t.Errorf("local %v of %v, remote %v of %v: %v", c.at, c.local, c.peer, c.remote, got)
		}
	}
}

// A handshake goes on when its keys cannot be written.
func TestKeyLogOfAFullDisk(t *testing.T) {
	f := new(files)
	w, err := (&keyLog{path: "x"}).open(f)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.of(nil, nil).Write([]byte("line\n")); n != 5 || err != nil || f.String() != "line\n" {
		t.Error(n, err, f.String())
	}
}

func TestKeyLogWithoutFiles(t *testing.T) {
	if _, err := (&keyLog{path: "keys"}).open(nil); err == nil {
		t.Error("a key log without files is taken")
	}
	w, err := (*keyLog)(nil).open(nil)
	if err != nil || w.of(nil, nil) != nil {
		t.Error("keys go somewhere without a key log", err)
	}
}
