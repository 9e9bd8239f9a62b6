package ginnel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/load"
	"github.com/ginnel/ginnel/test/origin"
)

// chainYAML is a configuration of a socket listener and n internal listeners behind
// it, the last of which leads to backend.
func chainYAML(n int, backend net.Addr) string {
	var y strings.Builder
	y.WriteString("static_resources:\n  listeners:\n")
	proxy := func(name, cluster string) {
		fmt.Fprintf(&y, `    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: %s
          cluster: %s
`, name, cluster)
	}
	y.WriteString("  - name: street\n    address: {socket_address: {address: 127.0.0.1, port_value: 0}}\n")
	proxy("street", "to_1")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&y, "  - name: hop_%d\n    internal_listener: {}\n", i)
		proxy(fmt.Sprintf("hop_%d", i), fmt.Sprintf("to_%d", i+1))
	}
	y.WriteString("  clusters:\n")
	for i := 1; i <= n+1; i++ {
		address := fmt.Sprintf("envoy_internal_address: {server_listener_name: hop_%d}", i)
		if i > n {
			host, port, _ := net.SplitHostPort(backend.String())
			address = fmt.Sprintf("socket_address: {address: %s, port_value: %s}", host, port)
		}
		fmt.Fprintf(&y, `  - name: to_%d
    circuit_breakers: {thresholds: [{max_connections: 100000, max_pending_requests: 100000}]}
    load_assignment:
      cluster_name: to_%d
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {%s}}
`, i, i, address)
	}
	y.WriteString(`bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener
`)
	return y.String()
}

func parse(t testing.TB, yaml string) *bootstrapv3.Bootstrap {
	t.Helper()
	r, err := load.Load(load.Source{Override: yaml}, builtin.Registry())
	if err == nil {
		err = r.Err(false)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.Bootstrap
}

// run starts a proxy that ends with the test.
func run(t testing.TB, p *Proxy) *Proxy {
	t.Helper()
	if err := p.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func dial(t testing.TB, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr("street").String())
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// left is what may be left over when all connections have ended.
type left struct {
	goroutines, descriptors int
	kernelPipes             int // ends of them, among the descriptors
	chunks                  int64
}

func leftovers() left {
	const dir = "/proc/self/fd/"
	fds, _ := os.ReadDir(dir)
	pipes := 0
	for _, fd := range fds {
		if to, _ := os.Readlink(dir + fd.Name()); strings.HasPrefix(to, "pipe:") {
			pipes++
		}
	}
	return left{runtime.NumGoroutine(), len(fds), pipes, pipe.ChunksInUse()}
}

// settling is far more than it takes, and less than any timer that would end what was
// forgotten.
const settling = 4 * time.Second

// backTo waits until nothing is left over that was not there before.
func backTo(t *testing.T, before left) {
	t.Helper()
	var now left
	for deadline := time.Now().Add(settling); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		now = leftovers()
		if now.goroutines <= before.goroutines && now.descriptors <= before.descriptors && now.kernelPipes <= before.kernelPipes && now.chunks <= before.chunks {
			return
		}
	}
	buf := make([]byte, 1<<16)
	t.Errorf("left over after %v: %+v, before %+v\n%s", settling, now, before, buf[:runtime.Stack(buf, true)])
}

// A way is how a proxy crosses hops and moves bytes; none of them may show.
type way struct{ pipes, goroutines bool }

// use makes p go that way.
func (w way) use(p *Proxy) *Proxy {
	p.forcePipes, p.goroutinePumps = w.pipes, w.goroutines
	return p
}

// everyWay runs a test by hand-over, with event loops and without, and over pipes.
func everyWay(t *testing.T, f func(t *testing.T, w way)) {
	for name, w := range map[string]way{
		"handover":           {},
		"handoverGoroutines": {goroutines: true},
		"pipes":              {pipes: true},
		"pipesGoroutines":    {pipes: true, goroutines: true},
	} {
		t.Run(name, func(t *testing.T) { f(t, w) })
	}
}

// TestTransfer sends random bytes both ways at once in random pieces.
func TestTransfer(t *testing.T) {
	size := 64 << 20
	if testing.Short() {
		size = 4 << 20
	}
	everyWay(t, func(t *testing.T, w way) {
		for _, hops := range []int{1, 4, 8} {
			t.Run(fmt.Sprint(hops), func(t *testing.T) { transfer(t, hops, size, w) })
		}
	})
}

func transfer(t *testing.T, hops, size int, w way) {
	up := make(chan [32]byte, 1)
	downSeed := rand.Uint64()
	backend := origin.Listen(t, func(c *net.TCPConn) {
		var wg sync.WaitGroup
		wg.Go(func() { sendRandom(c, downSeed, size) })
		up <- sum(c)
		wg.Wait()
	})
	p := run(t, w.use(&Proxy{Bootstrap: parse(t, chainYAML(hops, backend))}))
	before := leftovers()
	c := dial(t, p)
	upSeed := rand.Uint64()
	var wg sync.WaitGroup
	var sent [32]byte
	wg.Go(func() { sent = sendRandom(c, upSeed, size) })
	got := sum(c)
	wg.Wait()
	c.Close()
	if want := sumOf(downSeed, size); got != want {
		t.Error("the client received other bytes than the backend sent")
	}
	if <-up != sent {
		t.Error("the backend received other bytes than the client sent")
	}
	backTo(t, before)
}

// sendRandom writes size bytes in random pieces, then ends its direction.
func sendRandom(c *net.TCPConn, seed uint64, size int) [32]byte {
	h := sha256.New()
	src := random(seed)
	pieces := rand.New(rand.NewPCG(seed, 2))
	buf := make([]byte, 256<<10)
	for size > 0 {
		b := buf[:min(size, 1+pieces.IntN(len(buf)))]
		src.Read(b)
		h.Write(b)
		if _, err := c.Write(b); err != nil {
			break
		}
		size -= len(b)
	}
	c.CloseWrite()
	return [32]byte(h.Sum(nil))
}

func random(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

func sum(r io.Reader) [32]byte {
	h := sha256.New()
	io.Copy(h, r)
	return [32]byte(h.Sum(nil))
}

func sumOf(seed uint64, size int) [32]byte {
	return sum(io.LimitReader(random(seed), int64(size)))
}

// TestRandomEnds opens and ends connections at random points, and in all ways, and
// looks for what is left over.
func TestRandomEnds(t *testing.T) {
	n := 100_000 / 8 // each way and length
	if testing.Short() {
		n = 1000
	}
	everyWay(t, func(t *testing.T, w way) {
		for _, hops := range []int{1, 8} {
			t.Run(fmt.Sprint(hops), func(t *testing.T) { randomEnds(t, hops, n, w) })
		}
	})
}

func randomEnds(t *testing.T, hops, n int, w way) {
	manyLives(t, run(t, w.use(&Proxy{Bootstrap: parse(t, chainYAML(hops, origin.Listen(t, anyEnd)))})), n, 0)
}

// manyLives has n clients come and go, and looks what is left of them, but for the
// connections of a pool, of which each client may leave one that waits for the next.
func manyLives(t *testing.T, p *Proxy, n, pooled int) {
	before := leftovers()
	before.goroutines += pooled
	before.descriptors += 2 * pooled
	lives(t, p, n)
	backTo(t, before)
}

// lives has n clients come and go, eight at a time.
func lives(t *testing.T, p *Proxy, n int) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range n / 8 {
				oneLife(t, p)
			}
		})
	}
	wg.Wait()
}

// anyEnd answers a byte with many, and ends as the byte says.
func anyEnd(c *net.TCPConn) {
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return
	}
	c.Write(bytes.Repeat(b[:], answerBytes(b[0])))
	switch b[0] % 4 {
	case 0: // full close
	case 1:
		c.SetLinger(0) // reset
	case 2:
		c.CloseWrite()
		io.Copy(io.Discard, c)
	case 3:
		// Without package net's splice, whose pipes stay in a pool.
		io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
	}
}

// answerBytes is what the backend answers to a byte: sometimes so much that it moves
// as a stream.
func answerBytes(b byte) int {
	if b >= 250 {
		return 2 << 20
	}
	return int(b)
}

func oneLife(t *testing.T, p *Proxy) {
	c, err := net.Dial("tcp", p.Addr("street").String())
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	tcp := c.(*net.TCPConn)
	// Ended by a reset of ours, ports do not stay behind in TIME_WAIT.
	defer tcp.SetLinger(0)
	if rand.IntN(8) == 0 {
		return
	}
	b := byte(rand.IntN(256))
	c.Write([]byte{b})
	if rand.IntN(4) == 0 {
		return
	}
	if rand.IntN(2) == 0 {
		tcp.CloseWrite()
	} else if b%4 >= 2 {
		tcp.CloseWrite() // this backend waits for it
	}
	if rand.IntN(8) == 0 {
		io.CopyN(io.Discard, struct{ io.Reader }{c}, rand.Int64N(int64(1+answerBytes(b))))
		return
	}
	got, err := io.ReadAll(c)
	if b%4 == 1 {
		return // a reset may overtake nothing, but the kernel may drop what it finds
	}
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	if err == nil && len(got) != answerBytes(b) {
		t.Errorf("asked for %d bytes, got %d", answerBytes(b), len(got))
	}
}
