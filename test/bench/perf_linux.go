package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// attach is what perf takes to begin.
const attach = time.Second

// record lets perf look at the proxy until stop, if the options say so. The
// recordings are for perf report; the figures of such a run are not for others.
func (r *runner) record(s *scenario, p *proxy, result *sample) (stop func()) {
	if r.o.perf == "" || len(p.pids) == 0 {
		return func() {}
	}
	file := filepath.Join(r.o.perf, fmt.Sprintf("%s.%s.perf", s.Name, result.Subject))
	cmd := exec.Command("perf", "record", "-q", "-e", "cpu-clock", "-F", "499", "-g", "-o", file, "-p", strings.Trim(strings.Join(strings.Fields(fmt.Sprint(p.pids)), ","), "[]"))
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, endWithParent()
	err := os.MkdirAll(r.o.perf, 0o755)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintf(r.o.out, "no recording: %v\n", err)
		return func() {}
	}
	time.Sleep(attach)
	return func() {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait() // a signal ends it: always an error
	}
}
