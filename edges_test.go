package ginnel

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/test/origin"
)

// patience is how long something may take that must not hang.
const patience = 10 * time.Second

func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s hangs", what)
	}
}

var nowhere = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}

// TestCloseEndsEverything: nothing that a connection is doing keeps a proxy from
// closing.
func TestCloseEndsEverything(t *testing.T) {
	onData := strings.Replace(chainYAML(0, nowhere), "stat_prefix: street",
		"stat_prefix: street\n          upstream_connect_mode: ON_DOWNSTREAM_DATA\n          max_early_data_bytes: 100", 1)
	for _, c := range []struct {
		name   string
		config string
		begin  func(t *testing.T, p *Proxy)
	}{
		{"never accepted by the program", "{}", func(t *testing.T, p *Proxy) {
			if _, err := p.Listen("internal", "x"); err != nil {
				t.Fatal(err)
			}
			dialInternal(t, p, "x")
		}},
		{"never accepted, the client gone, the listener closed", "{}", func(t *testing.T, p *Proxy) {
			l, err := p.Listen("internal", "x")
			if err != nil {
				t.Fatal(err)
			}
			dialInternal(t, p, "x").Close()
			l.Close()
		}},
		{"served by who did not call Own", "{}", func(t *testing.T, p *Proxy) {
			serving := make(chan struct{})
			if _, err := p.HandleConn("x", handler(func(c *filter.Conn) error {
				c.Accept()
				close(serving)
				io.Copy(io.Discard, c.Stream)
				c.Stream.Close()
				c.End()
				return nil
			})); err != nil {
				t.Fatal(err)
			}
			dialInternal(t, p, "x")
			<-serving
		}},
		{"waiting for the client's first byte", onData, func(t *testing.T, p *Proxy) {
			c := dial(t, p)
			t.Cleanup(func() { c.Close() })
			for len(p.app.Listeners()[0].Connections()) == 0 {
				time.Sleep(time.Millisecond)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := run(t, &Proxy{Bootstrap: parse(t, c.config)})
			c.begin(t, p)
			within(t, "Close", func() { p.Close() })
		})
	}
}

type handler func(*filter.Conn) error

func (h handler) ServeConn(c *filter.Conn) error { return h(c) }

func dialInternal(t *testing.T, p *Proxy, name string) net.Conn {
	t.Helper()
	c, err := p.Dial(t.Context(), "internal", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestRefusals: a handler that does not accept refuses, however it says so.
func TestRefusals(t *testing.T) {
	p := run(t, &Proxy{})
	for name, serve := range map[string]handler{
		"error": func(c *filter.Conn) error { c.End(); return errors.New("no") },
		"quiet": func(c *filter.Conn) error { c.Stream.Close(); c.End(); return nil },
	} {
		if _, err := p.HandleConn(name, serve); err != nil {
			t.Fatal(err)
		}
		within(t, "Dial", func() {
			if c, err := p.Dial(t.Context(), "internal", name); err == nil {
				c.Close()
				t.Errorf("%s: connected", name)
			}
		})
	}
	release := make(chan struct{})
	if _, err := p.HandleConn("slow", handler(func(c *filter.Conn) error {
		<-release
		c.Stream.Close()
		c.End()
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	within(t, "a canceled Dial", func() {
		if _, err := p.Dial(ctx, "internal", "slow"); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled dial: %v", err)
		}
	})
}

func TestBacklog(t *testing.T) {
	p := run(t, &Proxy{})
	if _, err := p.Listen("internal", "x"); err != nil {
		t.Fatal(err)
	}
	for i := range backlog + 5 {
		c, err := p.Dial(t.Context(), "internal", "x")
		if (err == nil) != (i < backlog) {
			t.Fatalf("dial %d: %v", i, err)
		}
		if err == nil {
			defer c.Close()
		}
	}
}

// TestConnectionLimit: a burst does not pass the limit.
func TestConnectionLimit(t *testing.T) {
	const limit = 5
	backend := origin.Listen(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	p := run(t, &Proxy{Bootstrap: parse(t, chainYAML(0, backend)+
		"layered_runtime: {layers: [{name: s, static_layer: {envoy.resource_limits.listener.street.connection_limit: 5}}]}\n")})
	var burst sync.WaitGroup
	served := make(chan bool, 60)
	for range cap(served) {
		burst.Go(func() {
			c := dial(t, p)
			defer c.Close()
			c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			var wait net.Error
			served <- errors.As(err, &wait) && wait.Timeout() // the others were closed
		})
	}
	burst.Wait()
	close(served)
	n := 0
	for ok := range served {
		if ok {
			n++
		}
	}
	if n > limit || n == 0 {
		t.Errorf("%d connections were served at once, the limit is %d", n, limit)
	}
}

// TestRemoveGivesBack: a removed name leaves no statistics behind.
func TestRemoveGivesBack(t *testing.T) {
	p := run(t, &Proxy{Bootstrap: parse(t, "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}")})
	for range 3 {
		remove, err := p.HandleConn("gone", handler(func(c *filter.Conn) error { c.End(); return errors.New("no") }))
		if err != nil {
			t.Fatal(err)
		}
		remove()
		remove()
	}
	r, err := http.Get("http://" + p.AdminAddr().String() + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	if strings.Contains(string(b), "envoy_internal_gone") {
		t.Error("the removed listener's statistics are still listed")
	}
	for _, want := range []string{"listener_manager.listener_removed: 3\n", "listener_manager.total_listeners_active: 0\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q", want)
		}
	}
	p.Close()
	if _, err := p.Listen("internal", "late"); err == nil {
		t.Error("a closed proxy takes a name")
	}
}

// TestPeriodicLogsWhileConnecting is for the race detector.
func TestPeriodicLogsWhileConnecting(t *testing.T) {
	backend := origin.Listen(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	p := run(t, &Proxy{Bootstrap: parse(t, strings.ReplaceAll(chainYAML(2, backend), "          cluster: ", `          access_log_options: {access_log_flush_interval: 0.001s}
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: `+t.TempDir()+`/log
          cluster: `))})
	for range 50 {
		c := dial(t, p)
		c.Write([]byte("x"))
		time.Sleep(2 * time.Millisecond)
		c.Close()
	}
}
