package conformance

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ginnel/ginnel/test/proxy"
)

var fetch = flag.Bool("fetch", false, "build h2spec and the tests of gRPC with the go command")

// modes are the ways to cross an internal hop: handed over where that can be, and always
// through a pipe.
var modes = map[string][]string{"handover": nil, "pipes": {"--force-pipes"}}

// install builds commands in a scratch directory, outside of this module. Where they
// cannot be fetched, as without a network, the test says so and is not run.
func install(t *testing.T, packages ...string) (dir string) {
	if !*fetch {
		t.Skip("not run: neither given by the environment nor asked for with -fetch")
	}
	dir = t.TempDir()
	cmd := exec.Command("go", append([]string{"install"}, packages...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("not run: go install: %v\n%s", err, out)
	}
	return dir
}

func TestH2spec(t *testing.T) {
	h2spec := os.Getenv("H2SPEC")
	if h2spec == "" {
		h2spec = filepath.Join(install(t, "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"), "h2spec")
	}
	var c config
	c.cluster("up", "socket_address: {address: 127.0.0.1, port_value: "+backend(t)+"}", http2)
	c.internal("served", managerOf("AUTO", "up"), "")
	c.internal("served2", manager("up"), http2)
	c.socket("direct", manager("up"))
	c.socket("hop-http1", manager("served"))
	c.socket("hop-http2", manager("served2"))
	c.socket("hop-tcp", tcpProxy("served2"))
	bin := proxy.Build(t)
	for mode, flags := range modes {
		p := proxy.Start(t, bin, c.String(), flags...)
		for _, l := range []string{"direct", "hop-http1", "hop-http2", "hop-tcp"} {
			t.Run(mode+"/"+l, func(t *testing.T) {
				_, port, err := net.SplitHostPort(p.Addr(l))
				if err != nil {
					t.Fatal(err)
				}
				out, err := exec.Command(h2spec, "-h", "127.0.0.1", "-p", port, "-o", "5").CombinedOutput()
				_, failures, _ := bytes.Cut(out, []byte("Failures:"))
				if err != nil || !bytes.Contains(out, []byte("145 tests, 145 passed, 0 skipped, 0 failed")) {
					t.Errorf("%v\n%s", err, failures)
				}
			})
		}
	}
}

// backend is a host of HTTP/2 that reads requests and answers a few bytes.
func backend(t *testing.T) (port string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: &protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			_, _ = io.WriteString(w, "hello")
		}
	})}
	done := make(chan error)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

// interop are the cases that need nothing but a server.
var interop = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
	"timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
	"special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service",
}

func TestGRPC(t *testing.T) {
	dir := os.Getenv("GRPC_INTEROP")
	if dir == "" {
		const at = "google.golang.org/grpc/interop/%s@v1.85.0"
		dir = install(t, fmt.Sprintf(at, "client"), fmt.Sprintf(at, "server"))
	}
	stats := `{name: stats, typed_config: {"@type": ` + extensions + `filters.http.grpc_stats.v3.FilterConfig, stats_for_all_methods: true, enable_upstream_stats: true}}`
	var c config
	c.cluster("up", "socket_address: {address: 127.0.0.1, port_value: "+grpcServer(t, filepath.Join(dir, "server"))+"}", http2)
	c.internal("third", manager("up"), http2)
	c.internal("second", manager("third", stats), http2)
	c.internal("first", manager("second"), http2)
	c.socket("hops0", manager("up"))
	c.socket("hops1", manager("third"))
	c.socket("hops3", manager("first"))
	c.socket("stats", manager("up", stats))
	c.socket("tcp", tcpProxy("third"))
	bin := proxy.Build(t)
	for mode, flags := range modes {
		p := proxy.Start(t, bin, c.String(), flags...)
		for _, l := range []string{"hops0", "hops1", "hops3", "stats", "tcp"} {
			t.Run(mode+"/"+l, func(t *testing.T) {
				host, port, err := net.SplitHostPort(p.Addr(l))
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range interop {
					cmd := exec.Command(filepath.Join(dir, "client"), "-server_host", host, "-server_port", port, "-test_case", name)
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%s: %v\n%s", name, err, out)
					}
				}
			})
		}
		if n := p.Stat(t, "cluster.up.grpc.grpc.testing.TestService.UnaryCall.total"); n == 0 {
			t.Error("grpc_stats has counted no calls")
		}
	}
}

// grpcServer runs the server on a free port; the port that was found to be free may be
// taken by then, and another one is.
func grpcServer(t *testing.T, bin string) (port string) {
	for range 5 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port = strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
		ln.Close()
		cmd := exec.Command(bin, "-port", port)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(ended)
		}()
		if reached("127.0.0.1:"+port, ended) {
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				<-ended
			})
			return port
		}
	}
	t.Fatal("the server of gRPC does not start")
	return ""
}

// reached waits until somebody listens; false: ended.
func reached(addr string, ended <-chan struct{}) bool {
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}
