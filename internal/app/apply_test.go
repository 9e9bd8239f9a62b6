package app_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/internal/app"
	"github.com/ginnel/ginnel/internal/load"
	"github.com/ginnel/ginnel/internal/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answers is a listener whose chain says something and closes; echoes one that sends back.
const answers = `{name: envoy.filters.network.direct_response, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config, response: {inline_string: "%s"}}}`
const echoes = `{name: envoy.filters.network.echo, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}`

func says(text string) string { return fmt.Sprintf(answers, text) }

func compiled(t *testing.T, yaml string) *plan.Server {
	t.Helper()
	r, err := load.Load(load.Source{Path: "test.yaml", Data: []byte(yaml)}, builtin.Registry())
	if err == nil {
		err = r.Err(false)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.Plan
}

// A lab is a running proxy whose configuration changes.
type lab struct {
	*app.App
	t *testing.T
}

func start(t *testing.T, o app.Options, yaml string) *lab {
	t.Helper()
	if o.DrainTime == 0 {
		o.DrainTime = time.Minute
	}
	a, err := app.New(compiled(t, yaml), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	return &lab{a, t}
}

func (l *lab) apply(yaml string) error {
	l.t.Helper()
	return l.Apply(context.Background(), compiled(l.t, yaml))
}

func (l *lab) mustApply(yaml string) {
	l.t.Helper()
	if err := l.apply(yaml); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) addr(name string) string {
	l.t.Helper()
	for _, x := range l.Listeners() {
		if x.Info().Name == name {
			return x.Addrs()[0].String()
		}
	}
	l.t.Fatalf("no listener %s", name)
	return ""
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func said(t *testing.T, addr string) string {
	t.Helper()
	b, err := io.ReadAll(dial(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// echoed sends a line over a connection and requires it back.
func echoed(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "hello\n" {
		t.Fatalf("%q, %v", line, err)
	}
}

func ended(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		t.Errorf("%d, %v in place of the end", n, err)
	}
}

// one is a configuration of listeners on 127.0.0.1; each is name, port, more fields, and
// chains.
func listeners(all ...string) string {
	return "static_resources:\n  listeners:\n" + strings.Join(all, "")
}

func listener(name string, port int, more string, chains ...string) string {
	s := fmt.Sprintf("  - {name: %s, address: {socket_address: {address: 127.0.0.1, port_value: %d}}, %s filter_chains: [", name, port, more)
	for _, c := range chains {
		s += c + ", "
	}
	return s + "]}\n"
}

func chain(match, filter string) string {
	return fmt.Sprintf("{filter_chain_match: {%s}, filters: [%s]}", match, filter)
}

func port(addr string) (p int) {
	_, text, _ := net.SplitHostPort(addr)
	fmt.Sscan(text, &p)
	return p
}

// A chain that stays keeps its connections, and others find what is new at once.
func TestChainsChangeInPlace(t *testing.T) {
	local, other := "source_prefix_ranges: [{address_prefix: 127.0.0.1, prefix_len: 32}]", ""
	l := start(t, app.Options{}, listeners(listener("l", 0, "", chain(local, echoes), chain(other, says("a")))))
	addr := l.addr("l")
	kept := dial(t, addr)
	echoed(t, kept)
	before := l.Listeners()[0]
	for _, text := range []string{"b", "c", "d"} {
		l.mustApply(listeners(listener("l", 0, "", chain(other, says(text)), chain(local, echoes))))
		echoed(t, kept)
		echoed(t, dial(t, addr))
	}
	if l.Listeners()[0] != before {
		t.Error("the listener was made anew")
	}
	l.mustApply(listeners(listener("l", 0, "", chain(other, says("e")))))
	if got := said(t, addr); got != "e" {
		t.Errorf("%q of the chain that is left", got)
	}
	echoed(t, kept) // it drains
}

// At the end of the drain time connections of a removed chain, and of a removed or
// replaced listener, are closed.
func TestDrainEnds(t *testing.T) {
	for name, after := range map[string]string{
		"chain":    listeners(listener("l", 0, "", chain("", says("x")))),
		"listener": listeners(),
		"replaced": listeners(listener("l", 0, "tcp_backlog_size: 7,", chain("", echoes))),
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, app.Options{DrainTime: 10 * time.Millisecond}, listeners(listener("l", 0, "", chain("", echoes))))
			c := dial(t, l.addr("l"))
			echoed(t, c)
			if name == "listener" {
				after = listeners(listener("other", 0, "", chain("", echoes)))
			}
			l.mustApply(after)
			ended(t, c)
		})
	}
}

// A listener that changes in more than its chains is another one on the same socket:
// nobody is refused, and port 0 stays the port that it was.
func TestReplaceOnTheSameAddress(t *testing.T) {
	for _, reuse := range []bool{true, false} {
		t.Run(fmt.Sprint("reuse_port ", reuse), func(t *testing.T) {
			more := fmt.Sprintf("enable_reuse_port: %v, ", reuse)
			l := start(t, app.Options{}, listeners(listener("l", 0, more, chain("", says("0")))))
			addr := l.addr("l")
			stop, done := make(chan struct{}), make(chan error, 1)
			go func() {
				for {
					select {
					case <-stop:
						done <- nil
						return
					default:
					}
					c, err := net.Dial("tcp", addr)
					if err != nil {
						done <- err
						return
					}
					b, err := io.ReadAll(c)
					c.Close()
					if err != nil || len(b) != 1 {
						done <- fmt.Errorf("%q, %w", b, errors.Join(err, io.ErrUnexpectedEOF))
						return
					}
				}
			}()
			for i := range 30 {
				l.mustApply(listeners(listener("l", 0, more+fmt.Sprintf("tcp_backlog_size: %d, stat_prefix: p%d, ", 100+i%2, i%3), chain("", says(fmt.Sprint(i%10))))))
				if got := said(t, addr); got != fmt.Sprint(i%10) {
					t.Fatalf("%q after change %d", got, i)
				}
			}
			close(stop)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// A name may change while the address stays, and two listeners may swap theirs.
func TestAddressesMoveBetweenListeners(t *testing.T) {
	l := start(t, app.Options{}, listeners(listener("a", 0, "", chain("", says("a"))), listener("b", 0, "", chain("", says("b")))))
	x, y := l.addr("a"), l.addr("b")
	l.mustApply(listeners(listener("a", port(y), "", chain("", says("a"))), listener("c", port(x), "", chain("", says("c")))))
	if a, c := said(t, y), said(t, x); a != "a" || c != "c" {
		t.Errorf("%q, %q", a, c)
	}
	l.mustApply(listeners(listener("a", port(x), "", chain("", says("a"))), listener("c", port(y), "", chain("", says("c")))))
	if a, c := said(t, x), said(t, y); a != "a" || c != "c" {
		t.Errorf("%q, %q", a, c)
	}
}

// An address that is taken, last in a long change, leaves everything as it was.
func TestFailureChangesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l := start(t, app.Options{}, listeners(listener("l", 0, "", chain("", says("old"))), listener("gone", 0, "", chain("", says("gone")))))
	addr, gone := l.addr("l"), l.addr("gone")
	for range 3 {
		err = l.apply(listeners(
			listener("l", 0, "", chain("", says("new"))),
			listener("more", 0, "", chain("", says("more"))),
			listener("bad", port(taken.Addr().String()), "", chain("", says("bad")))))
		if err == nil || !strings.Contains(err.Error(), "Address already in use") || !strings.Contains(err.Error(), `"bad"`) {
			t.Fatalf("%v", err)
		}
		if a, b := said(t, addr), said(t, gone); a != "old" || b != "gone" || len(l.Listeners()) != 2 {
			t.Fatalf("%q, %q, %d listeners", a, b, len(l.Listeners()))
		}
	}
	l.mustApply(listeners(listener("l", 0, "", chain("", says("new")))))
	if got := said(t, addr); got != "new" {
		t.Errorf("%q", got)
	}
}

// What is read once cannot change.
func TestFixedParts(t *testing.T) {
	l := start(t, app.Options{}, "node: {id: a}\n"+listeners(listener("l", 0, "", chain("", echoes))))
	err := l.apply("node: {id: b}\n" + "layered_runtime: {layers: [{name: x, static_layer: {a: 1}}]}\n" + listeners(listener("l", 0, "", chain("", echoes))))
	if err == nil || err.Error() != "node, layered_runtime: cannot change while the proxy runs" {
		t.Error(err)
	}
}

// Every form of /drain_listeners has HTTP connections end within the drain time.
func TestDrainListenersTellsHTTP(t *testing.T) {
	const hcm = `{name: hcm, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: h, drain_timeout: 0.01s, route_config: {virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200}}]}]}, http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}`
	for _, query := range []string{"", "?graceful", "?skip_exit"} {
		t.Run(query, func(t *testing.T) {
			l := start(t, app.Options{DrainTime: 20 * time.Millisecond},
				"admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"+listeners(listener("l", 0, "", chain("", hcm))))
			c := dial(t, l.addr("l"))
			io.WriteString(c, "GET / HTTP/1.1\r\nhost: h\r\n\r\n")
			r := bufio.NewReader(c)
			if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			resp, err := client.Post("http://"+l.AdminAddr().String()+"/drain_listeners"+query, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
			if b, err := r.ReadByte(); err != io.EOF {
				t.Errorf("%q, %v in place of the end", b, err)
			}
		})
	}
}

// enable_reuse_port is that of the first socket.
func TestReusePortStays(t *testing.T) {
	l := start(t, app.Options{}, listeners(listener("l", 0, "", chain("", says("old")))))
	err := l.apply(listeners(listener("l", 0, "enable_reuse_port: false,", chain("", says("new")))))
	if err == nil || err.Error() != `listener "l": reuse port cannot be changed during an update` || said(t, l.addr("l")) != "old" {
		t.Error(err)
	}
}

func TestApplyAfterTheEnd(t *testing.T) {
	l := start(t, app.Options{}, listeners(listener("l", 0, "", chain("", echoes))))
	l.Close()
	if err := l.apply(listeners(listener("l", 0, "", chain("", says("x"))))); !errors.Is(err, app.ErrStopped) {
		t.Error(err)
	}
}
