package grpcstats

import "testing"

// TestMessages: messages count when they begin, wherever the bytes are cut.
func TestMessages(t *testing.T) {
	for _, c := range []struct {
		bytes string
		want  uint64
	}{
		{"", 0},
		{"\x00", 1},
		{"\x00\x00\x00\x00\x01a", 1},
		{"\x01\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02bc", 3},
		{"\x00\x00\x00\x00\x00\x02\x00\x00\x00\x02{}", 1}, // the end of a Connect stream is no message
		{"\x00\xff\xff\xff\xff" + "\x00\x00\x00\x00\x00\x00", 1},
	} {
		for size := 1; size <= len(c.bytes)+1; size++ {
			var m messages
			for rest := c.bytes; rest != ""; {
				n := min(size, len(rest))
				m.add([]byte(rest[:n]))
				rest = rest[n:]
			}
			if m.count != c.want {
				t.Errorf("%q in pieces of %d: %d messages, want %d", c.bytes, size, m.count, c.want)
			}
		}
	}
}

// TestCalled: which statistics a call has of its own.
func TestCalled(t *testing.T) {
	listed := map[call]bool{{"pkg.S", "M"}: true}
	for _, c := range []struct {
		config
		path string
		want call
		ok   bool
	}{
		{config{all: true}, "/pkg.S/M", call{"pkg.S", "M"}, true},
		{config{all: true}, "/pkg.S/M/?q=/x", call{"pkg.S", "M"}, true},
		{config{all: true, dots: true}, "/pkg.S/M.N", call{"pkg_S", "M.N"}, true},
		{config{all: true}, "/pkg.S", call{}, false},
		{config{all: true}, "/pkg.S/M/N", call{}, false},
		{config{}, "/pkg.S", call{}, true},
		{config{}, "/pkg.S/M", call{}, true},
		{config{listed: listed}, "/pkg.S/M", call{"pkg.S", "M"}, true},
		{config{listed: listed}, "/pkg.S/N", call{}, true},
		{config{listed: map[call]bool{}}, "/pkg.S/M", call{}, true},
	} {
		f := &grpcStats{config: &c.config}
		if got, ok := f.called(c.path); got != c.want || ok != c.ok {
			t.Errorf("%+v of %s: %v %v", c.config, c.path, got, ok)
		}
	}
}
