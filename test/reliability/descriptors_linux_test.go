package reliability

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ginnel/ginnel/test/origin"
	"github.com/ginnel/ginnel/test/proxy"
)

// fewDescriptors is how many files the proxy of a test may have open.
const fewDescriptors = 100

// TestDescriptors runs proxies that may open no more files.
func TestDescriptors(t *testing.T) {
	bin := limited(t, proxy.Build(t))
	t.Run("for clients", func(t *testing.T) { descriptorsForClients(t, bin) })
	t.Run("for hosts", func(t *testing.T) { descriptorsForHosts(t, bin) })
}

// descriptorsForClients: what is there is served, changes are refused as a whole, and
// others wait until there is room again.
func descriptorsForClients(t *testing.T, bin string) {
	config := func(listeners int) string {
		echo := fmt.Sprintf(`{name: echo, typed_config: {"@type": %sfilters.network.echo.v3.Echo}}`, extensions)
		text := "static_resources:\n  listeners:\n"
		for i := range listeners {
			text += fmt.Sprintf("  - {name: l%d, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, filter_chains: [{filters: [%s]}]}\n", i, echo)
		}
		return text
	}
	p := proxy.Start(t, bin, config(1))
	served := dialed(t, p.Addr("l0"))
	echoed(t, served)
	p.Admin(t, "/ready") // on a connection that is kept
	crowd := make([]net.Conn, fewDescriptors)
	for i := range crowd {
		crowd[i] = dialed(t, p.Addr("l0"))
	}
	proxy.Poll(t, answerWithin, func() error {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid()))
		if len(open) < fewDescriptors {
			err = fmt.Errorf("%d files are open (%w)", len(open), err)
		}
		return err
	})
	echoed(t, served)
	if err := p.Post("/config", config(3)); err == nil {
		t.Error("there is no room for two more listeners")
	}
	for i, c := range crowd { // each makes room for another one
		if err := echoOnce(c); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		c.Close()
	}
	echoed(t, served)
	if err := p.Post("/config", config(3)); err != nil {
		t.Error(err)
	}
	echoed(t, served)
	p.Await(t, "listener_manager.total_listeners_active", 3)
}

// descriptorsForHosts: where there is none left for the connection to the host, the
// client is told by the end of its own, and the next one is served when there is. Where
// pairs use up all there is, the next client is not even accepted, and waits.
func descriptorsForHosts(t *testing.T, bin string) {
	p := proxy.Start(t, bin, fmt.Sprintf(`
static_resources:
  listeners: [{name: l, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, filter_chains: [{filters: [%s]}]}]
  clusters: [{name: c, load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: %s}}]}]}}]`,
		tcpTo("t", "c"), socketAt(origin.Listen(t, origin.Echo).String())))
	served, ended, waits := 0, 0, false
	var crowd []net.Conn
	for len(crowd) < fewDescriptors && !waits {
		c := dialed(t, p.Addr("l"))
		crowd = append(crowd, c)
		_ = c.SetDeadline(time.Now().Add(answerWithin / 3))
		_, err := io.WriteString(c, "hello\n")
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 6))
		}
		switch {
		case err == nil:
			served++
		case errors.Is(err, os.ErrDeadlineExceeded):
			waits = true
		default:
			ended++
		}
	}
	if served < fewDescriptors/4 || ended == 0 && !waits {
		t.Errorf("%d connections were served and %d ended", served, ended)
	}
	for _, c := range crowd {
		c.Close()
	}
	p.Await(t, "tcp.t.downstream_cx_active", 0)
	echoed(t, dialed(t, p.Addr("l")))
	if n := p.Stat(t, "cluster.c.upstream_cx_connect_fail"); n != ended {
		t.Errorf("%d connections ended, and %d failed to connect", ended, n)
	}
}

// dialed is a connection that ends with t.
func dialed(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// limited is a program that runs bin with few descriptors.
func limited(t *testing.T, bin string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), filepath.Base(bin))
	text := fmt.Sprintf("#!/bin/sh\nulimit -n %d && exec '%s' \"$@\"\n", fewDescriptors, bin)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return script
}
