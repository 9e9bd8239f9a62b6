package script

import (
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
	"sync"
)

// Ports below the usual ephemeral ranges: neither an outgoing connection nor
// somebody's port 0 can take one between its choice and its use.
const (
	firstPort = 12000
	lastPort  = 29999
)

// ports hands out TCP ports by name. A port stays taken until release: the UDP
// port of the same number is its lock, which every run of this engine on the
// machine respects and the kernel drops with the process.
type ports struct {
	mu     sync.Mutex
	byName map[string]int
	locks  []net.PacketConn
}

// said are numbers that answers and statistics have for other reasons, such as the timeout of
// a request and X25519: of a port of that number the name would be put in their place.
var said = [...]int{12031, 15000, 15001, 16384, 19000, 19001, 20000, 20200, 25519}

func (p *ports) get(name string) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if port, ok := p.byName[name]; ok {
		return port, nil
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if slices.Contains(said[:], port) {
			continue
		}
		lock, ok := take(port)
		if !ok {
			continue
		}
		if p.byName == nil {
			p.byName = make(map[string]int)
		}
		p.byName[name] = port
		p.locks = append(p.locks, lock)
		return port, nil
	}
	return 0, fmt.Errorf("no free port between %d and %d", firstPort, lastPort)
}

// take locks a port if nobody listens on it, on any address of either family.
func take(port int) (net.PacketConn, bool) {
	at := ":" + strconv.Itoa(port)
	lock, err := net.ListenPacket("udp4", "127.0.0.1"+at)
	if err != nil {
		return nil, false
	}
	for _, host := range []string{"", "127.0.0.1", "[::1]"} {
		l, err := net.Listen("tcp", host+at)
		if err != nil && host == "[::1]" && !haveIPv6() {
			continue
		}
		if err != nil {
			lock.Close()
			return nil, false
		}
		l.Close()
	}
	return lock, true
}

var haveIPv6 = sync.OnceValue(func() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
})

func (p *ports) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.locks {
		l.Close()
	}
	p.locks = nil
}

var digits = regexp.MustCompile(`[0-9]+`)

// hide writes the names of the ports in place of their numbers.
func (p *ports) hide(text string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make(map[string]string, len(p.byName))
	for name, port := range p.byName {
		names[strconv.Itoa(port)] = "PORT_" + name
	}
	return digits.ReplaceAllStringFunc(text, func(n string) string {
		if name, ok := names[n]; ok {
			return name
		}
		return n
	})
}
