package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/test/oracle"
)

// bins are the proxies at hand; "" is one that is not.
type bins struct {
	ginnel, envoy, haproxy, nginx string
	nginxStream                   string // nginx's stream module, where it is a file
	versions                      map[string]string
}

// find builds or looks up every proxy. A peer that is missing is said, not an error.
func find(o *options, dir string) (*bins, error) {
	b := &bins{ginnel: o.ginnel, versions: map[string]string{}}
	if b.ginnel == "" {
		b.ginnel = filepath.Join(dir, "ginnel")
		if out, err := exec.Command("go", "build", "-o", b.ginnel, "github.com/ginnel/ginnel/cmd/ginnel").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build ginnel: %w\n%s", err, out)
		}
		b.versions["ginnel"] = revision()
	} else {
		b.versions["ginnel"] = b.ginnel
	}
	for _, peer := range []struct {
		name string
		find func() error
	}{
		{"envoy", func() error { return b.findEnvoy(o.envoy, dir) }},
		{"haproxy", b.findHAProxy},
		{"nginx", b.findNginx},
	} {
		if !slices.Contains(o.peers, peer.name) {
			continue
		}
		if err := peer.find(); err != nil {
			fmt.Fprintf(o.out, "without %s: %v\n", peer.name, err)
		}
	}
	return b, nil
}

// revision names the source that was built.
func revision() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown revision"
	}
	return strings.TrimSpace(string(out))
}

func (b *bins) findEnvoy(from, dir string) error {
	bin, err := oracle.Find(from, dir)
	if err != nil {
		return err
	}
	text, err := oracle.VersionOf(bin)
	if err != nil {
		return err
	}
	b.envoy, b.versions["envoy"] = bin, versionIn(text)
	return nil
}

func (b *bins) findHAProxy() error {
	bin, err := exec.LookPath("haproxy")
	if err != nil {
		return fmt.Errorf("%w (Debian: apt-get install haproxy)", err)
	}
	text, err := exec.Command(bin, "-v").Output()
	if err != nil {
		return fmt.Errorf("haproxy -v: %w", err)
	}
	b.haproxy, b.versions["haproxy"] = bin, versionIn(string(text))
	return nil
}

func (b *bins) findNginx() error {
	bin, err := exec.LookPath("nginx")
	if err != nil {
		return fmt.Errorf("%w (Debian: apt-get install nginx-light libnginx-mod-stream)", err)
	}
	text, err := exec.Command(bin, "-V").CombinedOutput()
	if err != nil {
		return fmt.Errorf("nginx -V: %w", err)
	}
	module, err := streamModule(string(text))
	if err != nil {
		return err
	}
	b.nginx, b.nginxStream, b.versions["nginx"] = bin, module, versionIn(string(text))
	return nil
}

var (
	versionNumber = regexp.MustCompile(`[0-9]+\.[0-9]+\.[0-9]+`)
	modulesPath   = regexp.MustCompile(`--modules-path=(\S+)`)
)

func versionIn(text string) string {
	if v := versionNumber.FindString(text); v != "" {
		return v
	}
	return "unknown version"
}

// streamModule finds nginx's stream module from what nginx -V says: "" if it is built in.
func streamModule(options string) (file string, err error) {
	if !strings.Contains(options, "--with-stream=dynamic") {
		if strings.Contains(options, "--with-stream") {
			return "", nil
		}
		return "", fmt.Errorf("built without its stream module")
	}
	m := modulesPath.FindStringSubmatch(options)
	if m == nil {
		return "", fmt.Errorf("its modules are nowhere")
	}
	file = filepath.Join(m[1], "ngx_stream_module.so")
	if found, _ := filepath.Glob(file); found == nil {
		return "", fmt.Errorf("no %s (Debian: apt-get install libnginx-mod-stream)", file)
	}
	return file, nil
}
