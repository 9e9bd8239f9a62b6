package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/internal/load"
)

// TestChains: ginnel itself finds nothing to say about the configurations.
func TestChains(t *testing.T) {
	for _, c := range []struct {
		chain
		internal int
	}{
		{chain{form: tcpForm}, 0},
		{chain{form: tcpForm, hops: 1}, 1},
		{chain{form: tcpForm, hops: 8}, 8},
		{chain{form: tcpForm, listeners: 300, clusters: 2}, 0},
		{chain{form: webForm}, 0},
		{chain{form: webForm, hops: 3}, 3},
		{chain{form: webForm, encap: true}, 2},
	} {
		text, err := c.yaml(place{dir: "d", listen: 1, admin: 2, backend: 3, conns: 4})
		if err != nil {
			t.Fatal(err)
		}
		r, err := load.Load(load.Source{Override: text}, builtin.Registry())
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Issues) > 0 {
			t.Errorf("%s, %d hops: %v", c.form.Name(), c.hops, r.Issues)
		}
		if got := strings.Count(text, "internal_listener: {}"); got != c.internal {
			t.Errorf("%s: %d internal listeners for %d hops", c.form.Name(), got, c.hops)
		}
	}
}

func TestPeerFiles(t *testing.T) {
	p := place{dir: t.TempDir(), listen: 1001, backend: 1003, conns: 77}
	for _, c := range []struct {
		command func(place) ([]string, error)
		file    string
		has     []string
		hasNot  string
	}{
		{haproxy("h", false), "haproxy.conf", []string{"bind 127.0.0.1:1001", "server backend 127.0.0.1:1003", "maxconn 77"}, "splice"},
		{haproxy("h", true), "haproxy.conf", []string{"splice-request", "splice-response"}, "splice-auto"},
		{nginx("n", ""), "nginx.conf", []string{"listen 127.0.0.1:1001", "proxy_pass 127.0.0.1:1003", "worker_connections 218"}, "load_module"},
		{nginx("n", "m.so"), "nginx.conf", []string{"load_module m.so;"}, "{{"},
	} {
		if _, err := c.command(p); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(p.dir, c.file))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.has {
			if !strings.Contains(string(text), want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
		if strings.Contains(string(text), c.hasNot) {
			t.Errorf("%q in\n%s", c.hasNot, text)
		}
	}
}

func TestStreamModule(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ngx_stream_module.so")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for options, want := range map[string]string{
		"--with-stream --prefix=/x":                                 "",
		"--modules-path=" + dir + " --with-stream=dynamic --with-y": file,
	} {
		if got, err := streamModule(options); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", options, got, err, want)
		}
	}
	for _, options := range []string{"--with-http", "--with-stream=dynamic", "--modules-path=/nowhere --with-stream=dynamic"} {
		if got, err := streamModule(options); err == nil {
			t.Errorf("%s: %q", options, got)
		}
	}
}
