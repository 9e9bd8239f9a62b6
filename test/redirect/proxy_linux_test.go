package redirect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel"
)

const (
	admin    = "127.0.0.1:15000"
	patience = 10 * time.Second
)

// A proxy is ginnel, or the real Envoy, under test.
type proxy struct {
	t     *testing.T
	envoy bool
	log   string   // path of its access log
	want  []string // its lines
}

// subjects runs f with ginnel, and with the real Envoy if there is one. In the
// configuration LOG stands for an access log that has a line of this format.
func subjects(t *testing.T, config, format string, f func(*proxy)) {
	t.Helper()
	t.Run("ginnel", func(t *testing.T) {
		p := &proxy{t: t}
		file := p.write(config, format)
		b, err := ginnel.ReadBootstrap(file)
		if err != nil {
			t.Fatal(err)
		}
		g := &ginnel.Proxy{Bootstrap: b}
		if err := g.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		f(p)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		p.logged()
	})
	bin := os.Getenv("ENVOY_BIN")
	if bin == "" {
		return
	}
	t.Run("envoy", func(t *testing.T) {
		p := &proxy{t: t, envoy: true}
		cmd := exec.Command(bin, "-c", p.write(config, format), "--disable-hot-restart", "--concurrency", "1", "-l", "error")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		p.eventually("ready", func() error {
			r, err := http.Get("http://" + admin + "/ready")
			if err == nil {
				r.Body.Close()
				if r.StatusCode != http.StatusOK {
					err = errors.New(r.Status)
				}
			}
			return err
		})
		f(p)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		p.logged()
	})
}

func (p *proxy) write(config, format string) string {
	p.t.Helper()
	dir := p.t.TempDir()
	p.log = filepath.Join(dir, "access.log")
	const log = `access_log: [{name: f, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: %q, log_format: {text_format_source: {inline_string: %q}}}}]`
	config = strings.ReplaceAll(config, "LOG", fmt.Sprintf(log, p.log, format+"\n"))
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return file
}

// eventually waits until f has no objection any more.
func (p *proxy) eventually(what string, f func() error) {
	p.t.Helper()
	end := time.Now().Add(patience)
	for err := f(); err != nil; err = f() {
		if time.Now().After(end) {
			p.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// logged compares the access log, which is written when the proxy has ended. A client may
// see its end before the connection is logged, and the next one's line come first.
func (p *proxy) logged() {
	p.t.Helper()
	b, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	got, want := strings.Split(strings.TrimSpace(string(b)), "\n"), slices.Sorted(slices.Values(p.want))
	if slices.Sort(got); !slices.Equal(got, want) {
		p.t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// stat waits for the value of a statistic.
func (p *proxy) stat(name string, want int) {
	p.t.Helper()
	p.eventually(name, func() error {
		r, err := http.Get("http://" + admin + "/stats")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s: %d\n", name, want)
		if !strings.Contains("\n"+string(b), "\n"+line) {
			return fmt.Errorf("not %d", want)
		}
		return nil
	})
}

// ask connects from an address ("": any) and returns what comes until the other side
// ends, or why not.
func ask(from, to string) string {
	d := net.Dialer{Timeout: patience}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", to)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c)
	if err != nil {
		return fmt.Sprintf("%s (%v)", b, err)
	}
	return string(b)
}

// answers is the filter that says one thing.
func answers(text string) string {
	return fmt.Sprintf(`{name: d, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config, response: {inline_string: %q}}}`, text)
}

// proxies is the filter that leads to a cluster.
func proxies(cluster string) string {
	return fmt.Sprintf(`{name: t, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: %s}}`, cluster)
}

// at is the address of a listener or host.
func at(ip string, port int) string {
	return fmt.Sprintf(`address: {socket_address: {address: %q, port_value: %d}}`, ip, port)
}

// listenerFilter is one of Envoy's.
func listenerFilter(message, fields string) string {
	return fmt.Sprintf(`{name: f, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.%s%s}}`, message, fields)
}
