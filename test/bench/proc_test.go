package main

import (
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	text := "4711 (a) R (b c) S 17 4711 4711 0 -1 4194560 900 0 0 0 250 125 1 2 20 0 4 0 1000 99 88\n"
	got, err := parseStat([]byte(text))
	want := procStat{parent: 17, ticks: 3750 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "1 (x) S 1", "1 (x) S one 1 1 0 0 0 0 0 0 0 1 1 1", "1 (x) S 1 1 1 0 0 0 0 0 0 0 one 1 1"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q gave %v", bad, got)
		}
	}
}

func TestParseBusy(t *testing.T) {
	got, err := parseBusy([]byte("cpu  10 20 30 5000 400 1 2 3 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"))
	if want := 660 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if _, err := parseBusy([]byte("intr 1 2 3 4 5 6 7 8 9\n")); err == nil {
		t.Error("no line of CPUs, no error")
	}
}

func TestParseMemory(t *testing.T) {
	status := []byte("Name:\tx\nVmPeak:\t  99 kB\nVmRSS:\t    1234 kB\n")
	if got := kilobytes(status, "VmRSS:"); got != 1234<<10 {
		t.Errorf("VmRSS: %d", got)
	}
	sockets := []byte("sockets: used 12\nTCP: inuse 1 orphan 0 tw 2 alloc 1 mem 110\nUDP: inuse 0 mem 7\n")
	if got := parseSockstat(sockets); got != 110 {
		t.Errorf("pages of TCP: %d", got)
	}
	slabs := []byte(`slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize>
tw_sock_TCP         1440   1440    256   16    1
TCP                   10     13   2000   13    8
filp                 100    105    192   21    1
`)
	if got := parseSlabs(slabs); got != 10*2000+100*192 {
		t.Errorf("slabs of sockets: %d", got)
	}
}
