package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/ginnel/ginnel/internal/app"
)

// A second copy of a configuration splits the connections with the first one; that it
// is there is said.
func TestSecondCopyIsSaid(t *testing.T) {
	l := start(t, app.Options{}, listeners(listener("l", 0, "", chain("", echoes))))
	config := listeners(listener("l", port(l.addr("l")), "", chain("", echoes)))
	l.mustApply(config) // of which nothing is said, for it is the same socket
	for _, x := range []struct {
		yaml string
		said bool
	}{{config, true}, {strings.Replace(config, "name: l,", "name: l, stat_prefix: a,", 1), true}} {
		var said bytes.Buffer
		second, err := app.New(compiled(t, x.yaml), app.Options{Log: slog.New(slog.NewTextHandler(&said, nil))})
		if err != nil {
			t.Fatal(err)
		}
		second.Close()
		if got := strings.Contains(said.String(), "somebody listens on '"+l.addr("l")+"' already"); got != x.said {
			t.Errorf("%s", &said)
		}
	}
	alone := strings.Replace(config, "name: l,", "name: l, enable_reuse_port: false,", 1)
	if _, err := app.New(compiled(t, alone), app.Options{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
}

// The order of a start: addresses are bound at first, and refuse; the admin server
// answers that it is initializing; hosts are checked; and only then is anything accepted.
func TestStartOrder(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	host, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		c, err := host.Accept()
		if err == nil {
			close(asked)
			<-answer
			_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
			c.Close()
		}
		served <- err
	}()
	yaml := "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n" +
		listeners(listener("l", 0, "", chain("", says("hello")))) + fmt.Sprintf(`
  clusters:
  - {name: c, type: STATIC, health_checks: [{timeout: 30s, interval: 3600s, no_traffic_interval: 3600s, unhealthy_threshold: 1, healthy_threshold: 1, http_health_check: {path: /}}], load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]}}
`, port(host.Addr().String()))
	a, err := app.New(compiled(t, yaml), app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	addr := a.Listeners()[0].Addrs()[0].String()
	refused := func() {
		t.Helper()
		if c, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v, %v", c, err)
		}
	}
	refused()
	if a.State() != app.PreInitializing {
		t.Error(a.State())
	}
	begun := make(chan error, 1)
	go func() { begun <- a.Start() }()
	<-asked
	refused()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + a.AdminAddr().String() + "/ready")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "PRE_INITIALIZING\n" || resp.StatusCode != 503 {
		t.Errorf("%s %q", resp.Status, body)
	}
	close(answer)
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	if got := said(t, addr); got != "hello" || a.State() != app.Live {
		t.Errorf("%q, %v", got, a.State())
	}
	host.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
