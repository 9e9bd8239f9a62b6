package script

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/ginnel/ginnel/test/proxy"
)

const (
	startTimeout = 30 * time.Second
	exitTimeout  = 20 * time.Second
)

// A process is one run of the subject's binary.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr proxy.Output
	done           chan struct{} // closed after the process has ended
}

func launch(bin, dir string, args []string) (*process, error) {
	p := &process{cmd: exec.Command(bin, args...), done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait() // its error is the exit code, which await reads
		close(p.done)
	}()
	return p, nil
}

// await waits for the end of the process and returns its exit code; a process
// that does not end is killed, which is an error.
func (p *process) await(limit time.Duration) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
	}
	p.cmd.Process.Kill()
	<-p.done
	return -1, fmt.Errorf("still running after %v: killed", limit)
}

// lastWords is the end of what p has written, without the pages of information
// that Envoy begins with.
func (p *process) lastWords() string {
	var said []string
	for line := range strings.Lines(p.stdout.String() + p.stderr.String()) {
		if !strings.Contains(line, "[info]") {
			said = append(said, line[:min(len(line), 400)])
		}
	}
	return strings.Join(said[max(0, len(said)-30):], "")
}

// A crash is what the Go runtime or the race detector writes, or ginnel of a filter.
var crash = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: |unexpected fault address|SIG[A-Z]+: ).*|a filter panicked`)

// crashed returns how the process said that it did not end, or go on, as it should have: no
// second attempt makes that undone.
func (p *process) crashed() string {
	all := p.stderr.String()
	if at := crash.FindStringIndex(all); at != nil {
		return all[at[0]:]
	}
	return ""
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) signal(sig os.Signal) error {
	if !p.running() {
		return errors.New("the proxy has ended by itself")
	}
	return p.cmd.Process.Signal(sig)
}
