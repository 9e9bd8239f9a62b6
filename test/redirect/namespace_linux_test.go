// Package redirect shows what becomes of connections that the kernel redirects: iptables
// REDIRECT and TPROXY in network namespaces of their own, as around a sidecar. Where a test
// may not make those, or iptables is missing, it is skipped with a word.
//
// With ENVOY_BIN the same is shown by a real Envoy, but for what is said to differ.
package redirect

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// namespace tells a test that it runs once more, as a child, in a network of its own.
const namespace = "GINNEL_TEST_NAMESPACE"

// alone runs the rest of the test in a child that has a network of its own: it returns
// true there, and false here when the child has done its work.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespace) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), namespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skipf("no network namespaces: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.Bytes())
	} else if bytes.Contains(out.Bytes(), []byte("--- SKIP: "+t.Name())) {
		t.Skipf("not in the namespace:\n%s", out.Bytes())
	}
	return false
}

// network sets the namespace up by commands, one in a line. What the machine cannot do, as
// iptables without its modules, skips the test.
func network(t *testing.T, commands string) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(commands), "\n") {
		f := strings.Fields(line)
		out, err := exec.Command(f[0], f[1:]...).CombinedOutput()
		if err != nil {
			t.Skipf("%s: %v: %s", line, err, out)
		}
	}
}

// elsewhere runs f in a goroutine that has a network of its own, joined to the test's by a
// pair of interfaces: ours and theirs are addresses at both ends, with their networks.
// commands set up the far side.
func elsewhere(t *testing.T, ours, theirs []string, commands string, f func()) {
	t.Helper()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Skip(err)
	}
	defer home.Close()
	inside := "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.FormatUint(uint64(home.Fd()), 10)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread is of no use to others
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		outside := "/proc/" + strconv.Itoa(os.Getpid()) + "/task/" + strconv.Itoa(unix.Gettid()) + "/ns/net"
		err := join(inside, outside, ours, theirs, commands)
		if err == nil {
			f()
			err = exec.Command("nsenter", "--net="+inside, "ip", "link", "del", "here").Run()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skip(err)
	}
}

// join connects two namespaces, given by their files.
func join(inside, outside string, ours, theirs []string, commands string) error {
	at := func(ns string, command string) error {
		words := append([]string{"--net=" + ns}, strings.Fields(command)...)
		if out, err := exec.Command("nsenter", words...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", command, err, out)
		}
		return nil
	}
	errs := []error{
		at(inside, "ip link add here type veth peer name there netns "+outside), at(inside, "ip link set here up"),
		at(outside, "ip link set lo up"), at(outside, "ip link set there up"),
	}
	for i := range ours {
		errs = append(errs, at(inside, "ip addr add "+ours[i]+" dev here nodad"), at(outside, "ip addr add "+theirs[i]+" dev there nodad"))
	}
	for line := range strings.Lines(strings.TrimSpace(commands)) {
		errs = append(errs, at(outside, line))
	}
	return errors.Join(errs...)
}
