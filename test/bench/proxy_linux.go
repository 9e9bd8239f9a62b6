package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"syscall"
	"time"
)

// A proxy is a running subject.
type proxy struct {
	subject
	addr   string
	cmd    *exec.Cmd
	output bytes.Buffer
	done   chan struct{} // closed after the process has ended
	served time.Duration // from the start to the first answer
	pids   []int
}

const (
	startLimit = 30 * time.Second
	stopLimit  = 5 * time.Second
)

// endWithParent makes the kernel end a child whose parent has died.
func endWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }

// launch starts a subject and waits for its first answer. Stop it.
func launch(s subject, p place) (*proxy, error) {
	x := &proxy{subject: s, addr: fmt.Sprintf("127.0.0.1:%d", p.listen), done: make(chan struct{})}
	if s.command == nil {
		x.addr = fmt.Sprintf("127.0.0.1:%d", p.backend)
		return x, nil
	}
	line, err := s.command(p)
	if err != nil {
		return nil, err
	}
	x.cmd = exec.Command(line[0], line[1:]...)
	x.cmd.Dir, x.cmd.Stdout, x.cmd.Stderr = p.dir, &x.output, &x.output
	x.cmd.SysProcAttr = endWithParent()
	begin := time.Now()
	if err := x.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		x.cmd.Wait()
		close(x.done)
	}()
	if err := x.awaitFirst(p.certs); err != nil {
		x.stop()
		return nil, fmt.Errorf("%s: %w\n%s", s.name, err, x.lastWords())
	}
	x.served = time.Since(begin)
	x.pids, err = family(x.cmd.Process.Pid)
	return x, err
}

// awaitFirst connects until a byte comes back. certs is where the certificates are.
func (x *proxy) awaitFirst(certs string) error {
	var cfg *tls.Config
	if x.tls {
		var err error
		if cfg, err = clientTLS(certs); err != nil {
			return err
		}
	}
	for begin := time.Now(); ; time.Sleep(500 * time.Microsecond) {
		err := askOnce(x.addr, cfg)
		if err == nil {
			return nil
		}
		select {
		case <-x.done:
			return errors.New("ended at the start")
		default:
		}
		if time.Since(begin) > startLimit {
			return fmt.Errorf("not ready after %v: %w", startLimit, err)
		}
	}
}

// askOnce asks as HTTP, and takes any answer for one. cfg nil: without TLS.
func askOnce(addr string, cfg *tls.Config) error {
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(startLimit))
	if cfg != nil {
		c = tls.Client(c, cfg)
	}
	if _, err := c.Write(httpRequest(1)); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

// stop ends the proxy, by force if need be.
func (x *proxy) stop() {
	if x.cmd == nil {
		return
	}
	x.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-x.done:
	case <-time.After(stopLimit):
		x.cmd.Process.Kill()
		<-x.done
	}
}

// explain adds to an error that the proxy has ended, if it has.
func (x *proxy) explain(err error) error {
	select {
	case <-x.done:
		return fmt.Errorf("the proxy has ended: %w\n%s", err, x.lastWords())
	default:
		return err
	}
}

// lastWords is what an ended proxy has printed, the beginning: where a panic says what it is.
func (x *proxy) lastWords() string {
	text := x.output.Bytes()
	return string(text[:min(len(text), 4000)])
}

// freePort finds a port below those that the kernel gives to outgoing connections.
func freePort(from int) (int, error) {
	for port := from; port < 32000; port++ {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port between %d and 32000", from)
}

// descriptors is the limit of open files.
func descriptors() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(r.Max, 1<<20))
}
