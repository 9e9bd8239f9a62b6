package ginnel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"
)

// inNamespace tells the child of TestOrionSample that the network is its own.
const inNamespace = "GINNEL_TEST_NAMESPACE"

// TestOrionSample runs the sample of the Orion proposal as it is published, where its
// backend's address is: in a network namespace.
func TestOrionSample(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		serveSample(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestOrionSample$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skipf("no network namespaces: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.Bytes())
	}
	if bytes.Contains(out.Bytes(), []byte("--- SKIP")) {
		t.Skipf("network namespaces can do nothing:\n%s", out.Bytes())
	}
}

func serveSample(t *testing.T) {
	for label, ip := range map[string]net.IP{"lo": net.IPv4(127, 0, 0, 1), "lo:1": net.IPv4(10, 0, 0, 5)} {
		err := address(label, ip)
		if errors.Is(err, unix.EPERM) {
			t.Skipf("%s: %v", ip, err)
		}
		if err != nil {
			t.Fatalf("%s: %v", ip, err)
		}
	}
	l, err := net.Listen("tcp", "10.0.0.5:8080")
	if err != nil {
		t.Fatal(err)
	}
	backend := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %s!", r.URL.Path[1:])
	})}
	go backend.Serve(l)
	defer backend.Close()
	sample, err := txtar.ParseFile("testdata/script/sample_orion_proposal.txtar")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sample.yaml")
	if err := os.WriteFile(file, sample.Files[0].Data, 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := ReadBootstrap(file)
	if err != nil {
		t.Fatal(err)
	}
	run(t, &Proxy{Bootstrap: config})
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get("http://127.0.0.1:15001/world")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(b) != "Hello, world!" {
		t.Errorf("%s, %q, %v", resp.Status, b, err)
	}
}

// address gives an interface, or an alias of one, an address and brings it up.
func address(label string, ip net.IP) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(label)
	if err != nil {
		return err
	}
	if err := r.SetInet4Addr(ip.To4()); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, r); err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}
