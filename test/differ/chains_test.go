package differ

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/test/hello"
	"github.com/ginnel/ginnel/test/oracle"
	"github.com/ginnel/ginnel/test/origin"
	"github.com/ginnel/ginnel/test/proxy"
)

var (
	chainConns = flag.Int("chain-connections", 10_000, "connections of TestChains")
	chainSeed  = flag.Uint64("chain-seed", 6, "of TestChains")
)

const genListeners = 120

// TestChains has ginnel and Envoy choose filter chains for the same connections of the same
// listeners, made up or an istiod's: there is no difference between the two.
//
//	ENVOY_BIN=... go test ./test/differ -run TestChains -chain-seed 7
func TestChains(t *testing.T) {
	bin, err := oracle.Find(*from, t.TempDir())
	if errors.Is(err, oracle.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	g := generator{rand.New(rand.NewPCG(*chainSeed, 0))}
	listeners := istioListeners(t)
	for n := range genListeners {
		listeners = append(listeners, g.listener(n))
	}
	var conns []genConn
	for range *chainConns {
		conns = append(conns, g.conn(pick(g, listeners)))
	}
	yaml := chainConfig(t, listeners, answerers(t))
	var got [2][]string
	var wg sync.WaitGroup
	for i, bin := range []string{bin, proxy.Build(t)} {
		p := proxy.Start(t, bin, yaml)
		wg.Go(func() { got[i] = ask(p, conns) })
	}
	wg.Wait()
	compare(t, conns, got[0], got[1])
}

// compare says where the answers differ, and that they can.
func compare(t *testing.T, conns []genConn, envoy, ginnel []string) {
	differ, answers := 0, make(map[string]int)
	for i, c := range conns {
		answers[envoy[i]]++
		if envoy[i] == ginnel[i] {
			continue
		}
		if differ++; differ <= 5 {
			config, err := json.Marshal(c.listener.config)
			t.Errorf("Envoy: %q, ginnel: %q\n%s\n%s %v", envoy[i], ginnel[i], c, config, err)
		}
	}
	t.Logf("%d of %d connections differ; what Envoy answered: %v", differ, len(conns), answers)
	if len(answers) < 8 || answers[""] == 0 || answers[""] > len(conns)*2/3 {
		t.Errorf("the answers are too much alike to show anything")
	}
}

// chainConfig is a configuration of the listeners, and of what leads to inner ones.
func chainConfig(t *testing.T, listeners []genListener, answerers []string) string {
	var all, clusters list
	for _, l := range listeners {
		all = append(all, l.config)
		if !l.inner {
			continue
		}
		all = append(all, obj{"name": "to-" + l.name, "address": socket("0.0.0.0", 0), "filter_chains": list{obj{"filters": list{
			typed("f", extensions+"filters.network.tcp_proxy.v3.TcpProxy", obj{"stat_prefix": "to", "cluster": "to-" + l.name})}}}})
		clusters = append(clusters, genCluster("to-"+l.name, obj{"envoy_internal_address": obj{"server_listener_name": l.name}}))
	}
	for i, at := range answerers {
		host, port, _ := net.SplitHostPort(at)
		var n int
		_, _ = fmt.Sscan(port, &n)
		clusters = append(clusters, genCluster(chainName(i), socket(host, n)))
	}
	b, err := json.Marshal(obj{
		"static_resources":     obj{"listeners": all, "clusters": clusters},
		"bootstrap_extensions": list{typed("internal", extensions+"bootstrap.internal_listener.v3.InternalListener", nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func genCluster(name string, address obj) obj {
	return obj{"name": name, "load_assignment": obj{"cluster_name": name, "endpoints": list{obj{"lb_endpoints": list{obj{"endpoint": obj{"address": address}}}}}}}
}

// answerers are backends that answer the name of a chain, and go on until the client leaves.
func answerers(t *testing.T) (addrs []string) {
	for i := range 11 {
		addrs = append(addrs, origin.Listen(t, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, chainName(i)+"\n")
			_, _ = io.Copy(io.Discard, c)
		}).String())
	}
	return addrs
}

// A genConn is what a client does.
type genConn struct {
	listener genListener
	from, to string // addresses of the connection itself
	header   string // of the PROXY protocol
	about    string
	first    []byte
	cut      int // how much of the header is sent before the rest
}

func (c genConn) String() string {
	return fmt.Sprintf("%s -> %s of %s, %q, then %s", c.from, c.to, c.listener.name, c.header, c.about)
}

func (g generator) conn(l genListener) genConn {
	c := genConn{listener: l, from: fmt.Sprintf("127.0.0.%d", 1+g.IntN(3)), to: "127.0.0.1"}
	if l.wide {
		c.to = fmt.Sprintf("127.0.0.%d", 1+g.IntN(3))
	}
	if l.proxy {
		c.header = g.header(l.mentioned)
	}
	c.about, c.first = g.first(l.mentioned)
	if g.one(10) {
		c.damage(g)
	}
	if c.header != "" && g.one(2) {
		c.cut = g.IntN(len(c.header))
	}
	return c
}

// damage changes bits of the first bytes: they may be nothing, or begin something that does
// not come.
func (c *genConn) damage(g generator) {
	c.first = slices.Clone(c.first)
	for range 1 + g.IntN(2) {
		c.first[g.IntN(min(len(c.first), 200))] ^= 1 << g.IntN(8)
	}
	c.about += fmt.Sprintf(", damaged: %x", c.first)
}

// header says where a connection came from, and was going to: often what the listener
// mentions.
func (g generator) header(m mentioned) string {
	if g.one(10) {
		return "PROXY UNKNOWN\r\n"
	}
	src, dst := pick(g, genIPs), pick(g, genIPs)
	for strings.Contains(src, ":") != strings.Contains(dst, ":") {
		dst = pick(g, genIPs)
	}
	if len(m.ips) > 0 && !g.one(3) {
		src, dst = "10.0.0.1", pick(g, m.ips)
		if strings.Contains(dst, ":") {
			src = "::1"
		}
	}
	family := "TCP4"
	if strings.Contains(src, ":") {
		family = "TCP6"
	}
	port := func(all []int) int { return pick(g, append([]int{1}, all...)) }
	to := genPorts
	if len(m.ports) > 0 && !g.one(3) {
		to = m.ports
	}
	return fmt.Sprintf("PROXY %s %s %s %d %d\r\n", family, src, dst, port(genPorts), port(to))
}

// first are the first bytes, of what chains and matchers can tell apart.
func (g generator) first(m mentioned) (about string, b []byte) {
	switch g.IntN(6) {
	case 0:
		about = pick(g, []string{"GET / HTTP/1.1\r\n", "POST /a HTTP/1.0\r\n"})
		return about, []byte(about + "Host: a\r\n\r\n")
	case 1:
		return "HTTP/2", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	case 2:
		about = "what is no protocol\r\n\r\n"
		return about, []byte(about)
	}
	name := ""
	if !g.one(5) {
		name = pick(g, slices.Concat(m.names, genHosts))
	}
	var protocols []string
	for _, p := range several(g, slices.Concat(m.protocols, genALPN[:3]), 3) {
		protocols = append(protocols, p.(string))
	}
	if g.one(2) {
		protocols = nil
	}
	return fmt.Sprintf("TLS %q %q", name, protocols), hello.TLS(name, protocols...)
}

// ask makes the connections, some at a time, and returns what answered each.
func ask(p *proxy.Proxy, conns []genConn) []string {
	answers := make([]string, len(conns))
	next := make(chan int)
	var wg sync.WaitGroup
	for range 64 { // some wait for the listener filters' time to be over
		wg.Go(func() {
			for i := range next {
				answers[i] = conns[i].answer(p)
			}
		})
	}
	for i := range conns {
		next <- i
	}
	close(next)
	wg.Wait()
	return answers
}

// answer is the name of the chain that takes the connection; "": none does.
func (c genConn) answer(p *proxy.Proxy) string {
	name := c.listener.name
	if c.listener.inner {
		name = "to-" + name
	}
	_, port, err := net.SplitHostPort(p.Addr(name))
	if err != nil {
		return err.Error()
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}, Timeout: 10 * time.Second}
	conn, err := d.Dial("tcp", net.JoinHostPort(c.to, port))
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	all := append([]byte(c.header), c.first...)
	for _, piece := range [][]byte{all[:c.cut], all[c.cut:]} {
		if _, err := conn.Write(piece); err != nil {
			return err.Error()
		}
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		return "nothing within 20 s"
	}
	return strings.TrimSuffix(line, "\n")
}
