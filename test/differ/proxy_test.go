package differ

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
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
)

// buildGinnel compiles ginnel once for a test.
func buildGinnel(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "ginnel")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/ginnel/ginnel/cmd/ginnel").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// A proxy is a running ginnel or Envoy, whose ports it has chosen itself.
type proxy struct {
	admin string // its URL, without a last slash
	said  *words
}

type words struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// start runs bin with a configuration until the test ends.
func start(t *testing.T, bin, yaml string) *proxy {
	t.Helper()
	dir := t.TempDir()
	config, adminFile := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "admin")
	yaml += "\nadmin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &proxy{said: &words{}}
	cmd := exec.Command(bin, "-c", config, "--admin-address-path", adminFile, "--concurrency", "1", "--disable-hot-restart", "-l", "warning")
	cmd.Stdout, cmd.Stderr = p.said, p.said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said at last:\n%s", filepath.Base(bin), p.said)
		}
	})
	within(t, 30*time.Second, func() error {
		addr, err := os.ReadFile(adminFile)
		if err != nil || len(addr) == 0 {
			return fmt.Errorf("no admin address yet: %v", err)
		}
		p.admin = "http://" + string(addr)
		resp, err := http.Get(p.admin + "/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			return fmt.Errorf("/ready: %s", resp.Status)
		}
		return nil
	})
	return p
}

// within repeats f until it returns nil, and fails the test when that takes longer than d.
func within(t *testing.T, d time.Duration, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("after %v: %v", d, err)
}

func (p *proxy) ask(path string) (string, error) {
	resp, err := http.Get(p.admin + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// addr is where a listener listens.
func (p *proxy) addr(t *testing.T, listener string) string {
	t.Helper()
	var all struct {
		Listeners []struct {
			Name  string
			Local struct {
				Socket struct {
					Address string
					Port    int `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	found := ""
	within(t, 10*time.Second, func() error {
		text, err := p.ask("/listeners?format=json")
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			return err
		}
		for _, l := range all.Listeners {
			if l.Name == listener && l.Local.Socket.Port != 0 {
				found = net.JoinHostPort(l.Local.Socket.Address, strconv.Itoa(l.Local.Socket.Port))
				return nil
			}
		}
		return fmt.Errorf("no listener %s in %s", listener, text)
	})
	return found
}

// stats returns the numbers of all statistics.
func (p *proxy) stats() (map[string]int, error) {
	text, err := p.ask("/stats")
	if err != nil {
		return nil, err
	}
	all := make(map[string]int)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			if n, err := strconv.Atoi(value); err == nil {
				all[name] = n
			}
		}
	}
	return all, nil
}
