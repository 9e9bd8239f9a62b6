package main

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// tick is the unit of times in /proc; USER_HZ is 100 on every Linux.
const tick = 10 * time.Millisecond

type procStat struct {
	parent int
	ticks  time.Duration // user and system
}

// parseStat reads /proc/PID/stat. The name, in parentheses, may hold anything.
func parseStat(text []byte) (procStat, error) {
	_, rest, ok := cutLast(text, ')')
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 13 {
		return procStat{}, fmt.Errorf("stat: %q", text)
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return procStat{}, fmt.Errorf("stat: %w", err)
	}
	s := procStat{parent: parent}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return procStat{}, fmt.Errorf("stat: %w", err)
		}
		s.ticks += time.Duration(n) * tick
	}
	return s, nil
}

func cutLast(text []byte, sep byte) (before, after []byte, found bool) {
	i := bytes.LastIndexByte(text, sep)
	if i < 0 {
		return text, nil, false
	}
	return text[:i], text[i+1:], true
}

// parseBusy adds up the first line of /proc/stat but for idle and iowait, the fourth
// and fifth, and guest times, which are part of the first two.
func parseBusy(text []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, errors.New("/proc/stat: no line of all CPUs")
	}
	var sum time.Duration
	for i, f := range fields[1:9] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if i != 3 && i != 4 {
			sum += time.Duration(n) * tick
		}
	}
	return sum, nil
}

// kilobytes finds a line such as "VmRSS:  1234 kB" and returns bytes; 0 without it.
func kilobytes(text []byte, name string) int64 {
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) < 2 || string(f[0]) != name {
			continue
		}
		n, _ := strconv.ParseInt(string(f[1]), 10, 64)
		return n << 10
	}
	return 0
}

// parseSockstat finds the pages of TCP buffers in /proc/net/sockstat.
func parseSockstat(text []byte) (pages int64) {
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) > 1 && string(f[0]) == "TCP:" && string(f[len(f)-2]) == "mem" {
			pages, _ = strconv.ParseInt(string(f[len(f)-1]), 10, 64)
		}
	}
	return pages
}

// socketSlabs are the kernel's caches that a socket in an epoll set has an object in.
var socketSlabs = []string{"TCP", "sock_inode_cache", "filp", "eventpoll_epi", "eventpoll_pwq"}

// parseSlabs adds up the objects in use of socketSlabs in /proc/slabinfo: name, objects
// in use, objects, size...
func parseSlabs(text []byte) (size int64) {
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) < 4 || !slices.Contains(socketSlabs, string(f[0])) {
			continue
		}
		n, _ := strconv.ParseInt(string(f[1]), 10, 64)
		each, _ := strconv.ParseInt(string(f[3]), 10, 64)
		size += n * each
	}
	return size
}

func numCPU() int { return runtime.NumCPU() }
