package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	roleBackend = "backend"
	roleLoad    = "load"
	counterEnv  = "GINNEL_BENCH_COUNTER"
)

// child is the main function of this program's children.
func child(role string) error {
	// See loop: none of its goroutines may have to stop for the others.
	runtime.GOMAXPROCS(8)
	debug.SetGCPercent(-1)
	switch role {
	case roleBackend:
		return serveBackend(os.Stdin, os.Stdout, os.Getenv(counterEnv))
	case roleLoad:
		return serveLoad(os.Stdin, os.Stdout, os.Getenv(counterEnv))
	}
	return fmt.Errorf("no such role: %q", role)
}

// shared maps a file of one number, which processes count with together. The mapping
// ends with the process.
func shared(file string) (*atomic.Int64, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(8); err != nil {
		return nil, err
	}
	page, err := unix.Mmap(int(f.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap %s: %w", file, err)
	}
	return (*atomic.Int64)(unsafe.Pointer(&page[0])), nil
}

// A helper is a child of this program, which answers each line with a line.
type helper struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
}

// startHelper runs this program again in another role. Close it.
func startHelper(role, counter string) (*helper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, counterEnv+"="+counter, "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = endWithParent()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &helper{cmd, in, bufio.NewReader(out)}, nil
}

// ask sends a value and decodes the answer.
func (h *helper) ask(question, answer any) error {
	if err := json.NewEncoder(h.in).Encode(question); err != nil {
		return err
	}
	line, err := h.lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the %s ended: %w", h.cmd.Env[len(h.cmd.Env)-3], err)
	}
	return json.Unmarshal(line, answer)
}

func (h *helper) pid() int { return h.cmd.Process.Pid }

// close ends the child and waits for it; one that does not end is killed.
func (h *helper) close() error {
	h.in.Close()
	timer := time.AfterFunc(5*time.Second, func() { h.cmd.Process.Kill() })
	defer timer.Stop()
	return h.cmd.Wait()
}
