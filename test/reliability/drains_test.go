package reliability

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ginnel/ginnel/test/origin"
	"github.com/ginnel/ginnel/test/proxy"
)

// TestDrains has listeners drain in every form that the admin server can ask for, under load:
// no request fails, connections of TCP live on, who comes when a listener has stopped is
// refused, and other listeners notice nothing (LT-54, 55).
func TestDrains(t *testing.T) {
	config := drained{echo: origin.Listen(t, origin.Echo).String(), host: newHost(t).ln.Addr().String()}
	p := proxy.Start(t, proxy.Build(t), config.version([]string{"in", "out"}, ""), "--drain-time-s", "2")
	in, out := loadOf(t, p, "in"), loadOf(t, p, "out")
	in.flows(t)
	out.flows(t)

	in.stops(t, p, "/drain_listeners?inboundonly&graceful")
	in.echoes(t)
	out.flows(t)
	if n := p.Stat(t, "http.out.downstream_cx_drain_close"); n > 0 {
		t.Errorf("%d connections of another listener were told to go", n)
	}

	post(t, p, "/drain_listeners?graceful&skip_exit")
	proxy.Poll(t, answerWithin, func() error { // whoever is told comes back
		if n := p.Stat(t, "http.out.downstream_cx_http2_total"); n < 2*keepAlive2 {
			return fmt.Errorf("%d connections of HTTP/2", n)
		}
		return nil
	})
	out.flows(t)

	out.stops(t, p, "/drain_listeners")
	out.echoes(t)
	in.echoes(t)
	in.end()
	out.end()
	p.Await(t, "http.out.downstream_cx_active", 0)
	p.Await(t, "tcp.in.downstream_cx_active", 0)
}

// TestRemoved takes away a listener under load, and puts another one in the place of a second.
func TestRemoved(t *testing.T) {
	config := drained{echo: origin.Listen(t, origin.Echo).String(), host: newHost(t).ln.Addr().String()}
	p := proxy.Start(t, proxy.Build(t), config.version([]string{"stays", "changes", "goes"}, ""),
		"--drain-time-s", "600", "--drain-strategy", "immediate")
	stays, changes, goes := loadOf(t, p, "stays"), loadOf(t, p, "changes"), loadOf(t, p, "goes")
	for _, l := range []*load{stays, changes, goes} {
		l.flows(t)
	}

	goes.leaving.Store(true)
	if err := p.Post("/config", config.version([]string{"stays", "changes"}, "changes")); err != nil {
		t.Fatal(err)
	}
	goes.refuses(t)
	proxy.Poll(t, answerWithin, func() error { // those that stay open have gone to the new one
		if n := p.Stat(t, "listener.changed.downstream_cx_total"); n < keepAlive+keepAlive2 {
			return fmt.Errorf("%d connections of the listener that came in another one's place", n)
		}
		return nil
	})
	stays.flows(t)
	changes.flows(t)
	goes.echoes(t)
	if n := p.Stat(t, "http.stays.downstream_cx_drain_close"); n > 0 {
		t.Errorf("%d connections of a listener that stays were told to go", n)
	}
	for _, l := range []*load{stays, changes, goes} {
		l.end()
	}
	p.Await(t, "listener_manager.total_listeners_draining", 0)
}

// drained makes configurations of listeners that come in pairs, for HTTP and for TCP.
type drained struct{ echo, host string }

// version has pairs of listeners of some names, of which "in" is inbound; the HTTP one of
// changed is another than before.
func (d drained) version(names []string, changed string) string {
	var b strings.Builder
	b.WriteString("static_resources:\n  listeners:\n")
	for _, name := range names {
		more := ""
		if name == "in" {
			more = " traffic_direction: INBOUND,"
		}
		listen(&b, name+"-tcp", more, filterChain("", anybody, tcpTo(name, "echo")))
		if name == changed {
			more += " stat_prefix: changed,"
		}
		listen(&b, name, more, filterChain("", anybody, httpTo(name, "host")))
	}
	b.WriteString("  clusters:\n")
	cluster(&b, "echo", "", socketAt(d.echo))
	cluster(&b, "host", "", socketAt(d.host))
	return b.String()
}

// The clients of a load.
const (
	keepAlive  = 4 // of HTTP/1
	keepAlive2 = 2 // of HTTP/2
	anew       = 2 // of HTTP/1, with a connection for each request
	longTCP    = 10
	perSecond  = 100 // requests, and as many echoes
)

// A load is the clients of a pair of listeners.
type load struct {
	http, tcp string // addresses

	leaving        atomic.Bool  // the listeners may refuse from now on
	answered, said atomic.Int64 // requests and echoes
	refused        atomic.Int32 // clients of HTTP that have ended for that

	long    []net.Conn
	over    chan struct{}
	clients sync.WaitGroup
	once    sync.Once
}

// loadOf starts the clients of a pair of listeners.
func loadOf(t *testing.T, p *proxy.Proxy, name string) *load {
	l := &load{http: p.Addr(name), tcp: p.Addr(name + "-tcp"), over: make(chan struct{})}
	t.Cleanup(l.end)
	for range longTCP {
		c, err := net.Dial("tcp", l.tcp)
		if err != nil {
			t.Fatal(err)
		}
		l.long = append(l.long, c)
	}
	requests := pace(&l.clients, perSecond, l.over)
	for i := range keepAlive + keepAlive2 + anew {
		tr := transport(i >= keepAlive && i < keepAlive+keepAlive2, i >= keepAlive+keepAlive2)
		l.clients.Go(func() { l.request(t, tr, requests) })
	}
	echoes := pace(&l.clients, perSecond, l.over)
	l.clients.Go(func() { l.echo(t, echoes) })
	return l
}

// end ends the clients and waits for them.
func (l *load) end() {
	l.once.Do(func() {
		close(l.over)
		l.clients.Wait()
		for _, c := range l.long {
			c.Close()
		}
	})
}

// request asks once for each token until the listener refuses.
func (l *load) request(t *testing.T, tr *http.Transport, tokens <-chan struct{}) {
	defer tr.CloseIdleConnections()
	client := http.Client{Transport: tr, Timeout: answerWithin}
	for range tokens {
		refused, err := l.ask(&client)
		switch {
		case err == nil:
			l.answered.Add(1)
		case refused && l.leaving.Load():
			l.refused.Add(1)
			return
		default:
			t.Errorf("%s: %v", l.http, err)
			return
		}
	}
}

// ask sends a request. A connection that nobody has accepted when the socket is closed is
// reset by the system, and so was refused as well.
func (l *load) ask(client *http.Client) (refused bool, err error) {
	var reused atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused.Store(i.Reused) }}
	r, err := http.NewRequest("GET", "http://"+l.http+"/", nil)
	if err != nil {
		return false, err
	}
	err = send(client, r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	reset := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	return errors.Is(err, syscall.ECONNREFUSED) || reset && !reused.Load(), err
}

// echo has one connection after the other echo something.
func (l *load) echo(t *testing.T, tokens <-chan struct{}) {
	i := 0
	for range tokens {
		if err := echoOnce(l.long[i]); err != nil {
			t.Errorf("%s: connection %d: %v", l.tcp, i, err)
			return
		}
		l.said.Add(1)
		i = (i + 1) % len(l.long)
	}
}

// flows waits until both kinds of clients have been served some more.
func (l *load) flows(t *testing.T) {
	t.Helper()
	was := l.answered.Load()
	l.echoes(t)
	proxy.Poll(t, answerWithin, func() error {
		if n := l.answered.Load() - was; n < perSecond/2 && !t.Failed() {
			return fmt.Errorf("%s: %d more requests were answered", l.http, n)
		}
		return nil
	})
}

// echoes waits until each connection of TCP has been served some more.
func (l *load) echoes(t *testing.T) {
	t.Helper()
	was := l.said.Load()
	proxy.Poll(t, answerWithin, func() error {
		if n := l.said.Load() - was; n < 2*longTCP && !t.Failed() {
			return fmt.Errorf("%s: %d more echoes", l.tcp, n)
		}
		return nil
	})
}

// stops asks for a drain that ends with listeners that refuse.
func (l *load) stops(t *testing.T, p *proxy.Proxy, path string) {
	t.Helper()
	l.leaving.Store(true)
	post(t, p, path)
	l.refuses(t)
}

// refuses waits until all clients of HTTP have been refused, and sees for itself.
func (l *load) refuses(t *testing.T) {
	t.Helper()
	proxy.Poll(t, answerWithin, func() error {
		if n := l.refused.Load(); n < keepAlive+keepAlive2+anew && !t.Failed() {
			return fmt.Errorf("%s: %d clients have been refused", l.http, n)
		}
		return nil
	})
	for _, addr := range []string{l.http, l.tcp} {
		if c, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, %v in place of a refusal", addr, c, err)
		}
	}
}

func post(t *testing.T, p *proxy.Proxy, path string) {
	t.Helper()
	if err := p.Post(path, ""); err != nil {
		t.Fatal(err)
	}
}
