package app_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/ginnel/ginnel/internal/app"
)

// A thousand listeners: their addresses are taken when the proxy is made, connections are
// let in when it starts, and each of them serves.
func TestThousandListeners(t *testing.T) {
	const n = 1000
	var yaml strings.Builder
	yaml.WriteString("static_resources:\n  listeners:\n")
	for i := range n {
		fmt.Fprintf(&yaml, "  - {name: l%d, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, filter_chains: [{filters: [%s]}]}\n",
			i, says(fmt.Sprintf("number %d", i)))
	}
	a, err := app.New(compiled(t, yaml.String()), app.Options{})
	if errors.Is(err, syscall.EMFILE) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	all := a.Listeners()
	for _, l := range all {
		if c, err := net.Dial("tcp", l.Addrs()[0].String()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("before the start: %v, %v", c, err)
		}
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	for i, l := range all {
		c, err := net.Dial("tcp", l.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if want := fmt.Sprintf("number %d", i); err != nil || string(got) != want {
			t.Fatalf("listener %d: %q, %v", i, got, err)
		}
		c.Close()
	}
}
