// Package proxy builds ginnel, and runs it and its peers for tests that look at a whole
// process from outside. Scripts of testdata/script are told by package script; this is
// for tests that no story tells, such as those of thousands of connections.
package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	// The tests run a binary that they build themselves: so that go test knows what of,
	// and does not take an old result for a new program's.
	_ "github.com/ginnel/ginnel"
	_ "github.com/ginnel/ginnel/internal/cli"
)

const (
	startTimeout = 30 * time.Second
	exitTimeout  = 20 * time.Second
)

// Build compiles ginnel into a folder that lasts as long as t.
func Build(t testing.TB) (bin string) {
	t.Helper()
	bin = filepath.Join(t.TempDir(), "ginnel")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/ginnel/ginnel/cmd/ginnel").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// A Proxy is a running ginnel or Envoy, whose configuration gives it free ports.
type Proxy struct {
	admin     string
	pid       int
	listeners map[string]string
}

// Start runs bin, a ginnel or an Envoy, with a configuration until t ends: then it is
// asked to end, and must end in order. Listeners of port 0 get a free one.
func Start(t testing.TB, bin, yaml string, flags ...string) *Proxy {
	t.Helper()
	dir := t.TempDir()
	config, admin := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "admin")
	if err := os.WriteFile(config, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := Run(t, bin, append([]string{"-c", config, "--admin-address-path", admin, "--disable-hot-restart",
		"--concurrency", "2", "--config-yaml", "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}"}, flags...)...)
	p := &Proxy{pid: cmd.Process.Pid, listeners: make(map[string]string)}
	Poll(t, startTimeout, func() error {
		text, err := os.ReadFile(admin)
		if err != nil {
			return err
		}
		p.admin = "http://" + string(text)
		if _, err := p.get("/ready"); err != nil {
			return err
		}
		return p.readListeners()
	})
	return p
}

// Run starts a program until t ends: then it is asked to end, and must do so with the
// exit code 0.
func Run(t testing.TB, bin string, args ...string) *exec.Cmd {
	t.Helper()
	return run(t, bin, args, func(err error) {
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(bin), err)
		}
	})
}

// RunUntilKilled is Run for a program that has no exit code for who asks it to end.
func RunUntilKilled(t testing.TB, bin string, args ...string) *exec.Cmd {
	t.Helper()
	return run(t, bin, args, func(error) {})
}

func run(t testing.TB, bin string, args []string, ended func(error)) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(bin, args...)
	var said Output
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-done:
			ended(err)
		case <-time.After(exitTimeout):
			_ = cmd.Process.Kill()
			<-done
			t.Errorf("%s does not end", filepath.Base(bin))
		}
		if t.Failed() {
			all := said.String()
			t.Logf("%s said at last:\n%s", filepath.Base(bin), all[max(0, len(all)-4<<10):])
		}
	})
	return cmd
}

// readListeners notes the address of each listener.
func (p *Proxy) readListeners() error {
	body, err := p.get("/listeners?format=json")
	if err != nil {
		return err
	}
	var all struct {
		Statuses []struct {
			Name    string `json:"name"`
			Address struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return err
	}
	for _, l := range all.Statuses {
		p.listeners[l.Name] = fmt.Sprintf("%s:%d", l.Address.Socket.Address, l.Address.Socket.Port)
	}
	return nil
}

// Addr is where a listener listens.
func (p *Proxy) Addr(listener string) string { return p.listeners[listener] }

// Pid is that of the process.
func (p *Proxy) Pid() int { return p.pid }

// Stat is the value of a counter or gauge; 0: there is none.
func (p *Proxy) Stat(t testing.TB, name string) int {
	t.Helper()
	n, err := p.stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Await waits until a counter or gauge has a value.
func (p *Proxy) Await(t testing.TB, name string, want int) {
	t.Helper()
	Poll(t, exitTimeout, func() error {
		if n, err := p.stat(name); n != want || err != nil {
			return fmt.Errorf("%s is %d, not %d (%v)", name, n, want, err)
		}
		return nil
	})
}

func (p *Proxy) stat(name string) (int, error) {
	all, err := p.numbers("?filter=^" + name + "$")
	return all[name], err
}

// Stats returns all counters and gauges.
func (p *Proxy) Stats() (map[string]int, error) { return p.numbers("") }

func (p *Proxy) numbers(query string) (map[string]int, error) {
	body, err := p.get("/stats" + query)
	if err != nil {
		return nil, err
	}
	all := make(map[string]int)
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if n, err := strconv.Atoi(value); err == nil { // histograms and texts are left out
			all[name] = n
		}
	}
	return all, nil
}

// Admin returns the body of a page of the admin server.
func (p *Proxy) Admin(t testing.TB, path string) []byte {
	t.Helper()
	body, err := p.get(path)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// Post sends a body to a page of the admin server.
func (p *Proxy) Post(path, body string) error {
	resp, err := http.Post(p.admin+path, "text/plain", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, said)
	}
	return err
}

func (p *Proxy) get(path string) ([]byte, error) {
	resp, err := http.Get(p.admin + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return body, err
}

// Poll repeats f until it returns nil, and fails t when that takes longer than limit.
func Poll(t testing.TB, limit time.Duration, f func() error) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// An Output is what a program says; one goroutine writes while others look.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String is all that was said so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
