package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the CPU time of processes since they began, of all their threads, also
// those that have ended, to the nanosecond. It is what schedstat shows per thread.
// Children are not included: name them.
func cpuTime(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		var ts unix.Timespec
		if err := unix.ClockGettime(clockOf(pid), &ts); err != nil {
			return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
		}
		sum += time.Duration(ts.Nano())
	}
	return sum, nil
}

// clockOf is the id of a process's CPU clock; see clock_getcpuclockid(3) and
// CPUCLOCK_SCHED in the kernel.
func clockOf(pid int) int32 { return int32(^pid<<3 | 2) }

// tickTime is the same time as the kernel's tick accounting has it, user and system,
// in steps of 10 ms.
func tickTime(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		t, err := parseStat(text)
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		sum += t.ticks
	}
	return sum, nil
}

// family is a process and everything below it.
func family(pid int) ([]int, error) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	below := map[int][]int{}
	for _, e := range all {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		if s, err := parseStat(text); err == nil {
			below[s.parent] = append(below[s.parent], id)
		}
	}
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, below[pids[i]]...)
	}
	return pids, nil
}

// machineBusy is the time that all CPUs together have not been idle.
func machineBusy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(text)
}

// memory is what processes hold, and what the kernel holds for everybody.
type memory struct {
	RSS int64 // bytes, of the processes, shared pages counted in each
	FDs int   // open descriptors of the processes
}

func memoryOf(pids []int) (memory, error) {
	var m memory
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/", pid)
		text, err := os.ReadFile(dir + "status")
		if err != nil {
			return m, err
		}
		m.RSS += kilobytes(text, "VmRSS:")
		fds, err := os.ReadDir(dir + "fd")
		if err != nil {
			return m, err
		}
		m.FDs += len(fds)
	}
	return m, nil
}

// kernelMemory is what all sockets of the machine take: their objects, files, epoll
// items and buffers. Only root may see it.
func kernelMemory() (bytes int64, err error) {
	slabs, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return 0, err
	}
	sockets, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, err
	}
	return parseSlabs(slabs) + parseSockstat(sockets)*int64(os.Getpagesize()), nil
}

// machine describes where it runs.
func machine() string {
	model := "unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := bytes.Cut(text, []byte("model name\t: ")); ok {
			line, _, _ := bytes.Cut(after, []byte("\n"))
			model = string(line)
		}
	}
	return fmt.Sprintf("%d x %s, Linux %s, TCP %s", numCPU(), model,
		sysctl("kernel/osrelease"), sysctl("net/ipv4/tcp_congestion_control"))
}

func sysctl(name string) string {
	b, _ := os.ReadFile("/proc/sys/" + name)
	return strings.TrimSpace(string(b))
}
