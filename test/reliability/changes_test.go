package reliability

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/test/origin"
	"github.com/ginnel/ginnel/test/proxy"
)

var full = flag.Bool("full", false, "TestChanges as long and with as many requests as the goal says: 60 s, 5,000 a second")

const (
	changesPerSecond = 10
	longLived        = 1000
	grownAtMost      = 4 << 20 // bytes of the heap, when all is over, of any number of changes
)

// The clients of TestChanges, and their parts of the requests. Those of "kept" keep their
// connections all the while.
var changesClients = []struct {
	listener string
	clients  int
	h2, anew bool // HTTP/2; a connection for each request
	percent  int
}{
	{"kept", 16, false, false, 65},
	{"kept", 2, true, false, 10},
	{"moved", 4, false, false, 5},
	{"moved", 2, true, false, 5},
	{"moved", 4, false, true, 5},
	{"wider", 4, false, false, 5},
	{"wider", 4, false, true, 5},
}

// TestChanges: while the configuration changes ten times a second, nothing on a filter
// chain that stays is closed, no request fails, and nothing is left of what is gone.
//
//	go test ./test/reliability -run TestChanges -full -v
func TestChanges(t *testing.T) {
	lasts, rate := 3*time.Second, 500
	if *full {
		lasts, rate = time.Minute, 5000
	}
	config := changing{echo: origin.Listen(t, origin.Echo).String()}
	for range 3 {
		config.hosts = append(config.hosts, fmt.Sprintf("127.0.0.1:%d", newHost(t).port()))
	}
	p := proxy.Start(t, proxy.Build(t), config.version(0), "--drain-time-s", "2")
	heapBefore, routinesBefore := heap(t, p), goroutines(t, p)
	long := make([]net.Conn, min(longLived, descriptors()/8))
	for i := range long {
		c, err := net.Dial("tcp", p.Addr("long"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		long[i] = c
		echoed(t, c)
	}

	over := make(chan struct{})
	var clients sync.WaitGroup
	var took latencies
	for _, c := range changesClients {
		tokens := pace(&clients, rate*c.percent/100, over)
		for range c.clients {
			clients.Go(func() { request(t, p.Addr(c.listener), transport(c.h2, c.anew), tokens, &took) })
		}
	}
	tokens := pace(&clients, len(long), over) // the long ones live all the while
	clients.Go(func() {
		i := 0
		for range tokens {
			if err := echoOnce(long[i]); err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			i = (i + 1) % len(long)
		}
	})
	changes, slowest := change(t, p, config, lasts)
	close(over)
	clients.Wait()
	for i, c := range long {
		if err := echoOnce(c); err != nil {
			t.Errorf("connection %d at the end: %v", i, err)
		}
	}
	t.Logf("%d changes in %v (the slowest took %v), %d long connections, requests: %s", changes, lasts, slowest, len(long), &took)
	keptAll(t, p, len(long), changes)

	for _, c := range long {
		c.Close()
	}
	p.Await(t, "tcp.long.downstream_cx_active", 0)
	p.Await(t, "listener_manager.total_filter_chains_draining", 0)
	p.Await(t, "listener_manager.total_listeners_draining", 0)
	routines, grown := 0, 0
	proxy.Poll(t, answerWithin, func() error {
		routines, grown = goroutines(t, p), heap(t, p)-heapBefore
		if routines > routinesBefore+10 || grown > grownAtMost {
			return fmt.Errorf("%d goroutines and %d KiB of the heap are left of %d changes, there were %d, and %d KiB", routines, grown>>10, changes, routinesBefore, heapBefore>>10)
		}
		return nil
	})
	t.Logf("afterwards: %d goroutines (%d before), the heap has grown by %d KiB from %d KiB", routines, routinesBefore, grown>>10, heapBefore>>10)
}

// change applies one version after the other, and returns how many, and how long the one
// took that took longest.
func change(t *testing.T, p *proxy.Proxy, config changing, lasts time.Duration) (n int, slowest time.Duration) {
	tick := time.NewTicker(time.Second / changesPerSecond)
	defer tick.Stop()
	for end := time.Now().Add(lasts); time.Now().Before(end) && !t.Failed(); <-tick.C {
		n++
		begin := time.Now()
		if err := p.Post("/config", config.version(n)); err != nil {
			t.Errorf("change %d: %v", n, err)
		}
		slowest = max(slowest, time.Since(begin))
	}
	return n, slowest
}

// keptAll requires that what stayed was not touched, and that all changes were made.
func keptAll(t *testing.T, p *proxy.Proxy, long, changes int) {
	all, err := p.Stats()
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, c := range changesClients {
		if c.listener == "kept" {
			kept += c.clients
		}
	}
	for name, want := range map[string]int{
		"tcp.long.downstream_cx_total": long, "http.kept.downstream_cx_total": kept, "http.kept.downstream_cx_destroy_local": 0,
		"http.kept.downstream_rq_5xx": 0, "http.moved.downstream_rq_5xx": 0, "http.wider.downstream_rq_5xx": 0,
		"listener_manager.listener_create_failure": 0,
		"listener_manager.listener_added":          changingAlways + changes, "listener_manager.listener_removed": changes,
	} {
		if all[name] != want {
			t.Errorf("%s is %d, not %d", name, all[name], want)
		}
	}
}

// pace gives so many tokens a second, until it is over and the channel is closed.
func pace(wg *sync.WaitGroup, perSecond int, over <-chan struct{}) <-chan struct{} {
	tokens := make(chan struct{})
	wg.Go(func() {
		defer close(tokens)
		begin := time.Now()
		for n := 0; ; n++ {
			if early := time.Until(begin.Add(time.Duration(n) * time.Second / time.Duration(perSecond))); early > 0 {
				select {
				case <-over:
					return
				case <-time.After(early):
				}
			}
			select {
			case <-over:
				return
			case tokens <- struct{}{}:
			}
		}
	})
	return tokens
}

// latencies are how long requests took.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(all []time.Duration) {
	l.mu.Lock()
	l.all = append(l.all, all...)
	l.mu.Unlock()
}

// String implements fmt.Stringer.
func (l *latencies) String() string {
	slices.Sort(l.all)
	n := len(l.all)
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%d, of which half took at most %v, 99 %% %v, all %v", n, l.all[n/2], l.all[n*99/100], l.all[n-1])
}

// request asks once for each token.
func request(t *testing.T, addr string, tr *http.Transport, tokens <-chan struct{}, took *latencies) {
	defer tr.CloseIdleConnections()
	client := http.Client{Transport: tr, Timeout: answerWithin}
	var mine []time.Duration
	defer func() { took.add(mine) }()
	for range tokens {
		begin := time.Now()
		if err := get(&client, addr); err != nil {
			t.Errorf("%s after %d requests: %v", addr, len(mine), err)
			return
		}
		mine = append(mine, time.Since(begin))
	}
}

func transport(h2, anew bool) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(!h2)
	protocols.SetUnencryptedHTTP2(h2)
	return &http.Transport{Protocols: &protocols, DisableKeepAlives: anew}
}

func get(client *http.Client, addr string) error {
	r, err := http.NewRequest("GET", "http://"+addr+"/", nil)
	if err != nil {
		return err
	}
	return send(client, r)
}

// send sends a request, to which the answer is to be whole.
func send(client *http.Client, r *http.Request) error {
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "hello" || err != nil {
		return fmt.Errorf("%s: %q, %w", resp.Status, body, errors.Join(err, io.ErrUnexpectedEOF))
	}
	return nil
}

// goroutines is how many the proxy has.
func goroutines(t *testing.T, p *proxy.Proxy) (n int) {
	t.Helper()
	first, _, _ := bytes.Cut(p.Admin(t, "/debug/pprof/goroutine?debug=1"), []byte("\n"))
	if _, err := fmt.Sscanf(string(first), "goroutine profile: total %d", &n); err != nil {
		t.Fatalf("%q: %v", first, err)
	}
	return n
}

func echoed(t *testing.T, c net.Conn) {
	t.Helper()
	if err := echoOnce(c); err != nil {
		t.Fatal(err)
	}
}

func echoOnce(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(answerWithin))
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if line != "hello\n" {
		return fmt.Errorf("%q, %w", line, err)
	}
	return nil
}
