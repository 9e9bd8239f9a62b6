package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the children that the program starts of itself.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		exit(child(role))
	}
	os.Exit(m.Run())
}

// TestSmoke takes every kind of measurement for a moment, through ginnel alone.
func TestSmoke(t *testing.T) {
	var out bytes.Buffer
	o, err := parse(strings.Fields("-only bulk-up-8,mix,tls-bulk-8,tls-bulk-up-1,tls-handshakes,http1-100,http2-64k,encap-100,idle,start,steady -peers none -hops 1 -rounds 1 -scale 0.2 -idle 50"))
	if err != nil {
		t.Fatal(err)
	}
	o.out, o.steady, o.settle = &out, 300*time.Millisecond, 50*time.Millisecond
	dir := t.TempDir()
	r, err := measure(t.Context(), o, dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, s := range chosen(o) {
		subjects := r.subjects(s.Name)
		if want := 3; len(subjects) != want && !(s.alone && len(subjects) == want-1) && !s.web.on {
			t.Errorf("%s: measured %v", s.Name, subjects)
		}
	}
	positive := []metric{cpuPerGB, speed, cpuPerMsg, msgRate, msgP50, msgP99, cpuPerConn, connRate, cpuPerReq, reqRate, kept, mixMessages, mixAccepts, firstAnswer, startRSS, startCPU}
	for _, s := range r.Samples {
		if s.Error != "" {
			t.Errorf("%s, %s: %s", s.Scenario, s.Subject, s.Error)
		}
		for _, m := range positive {
			if x, ok := s.Values[m.Key]; ok && x <= 0 {
				t.Errorf("%s, %s: %s is %v", s.Scenario, s.Subject, m.Key, x)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", "*.sock")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if !strings.Contains(out.String(), "ginnel-pipes-1") {
		t.Errorf("no table names ginnel-pipes-1:\n%s", &out)
	}
}

// TestLoadFails: a proxy that is not there, or ends its connections, is an error and
// not a figure.
func TestLoadFails(t *testing.T) {
	h, err := startHelper(roleLoad, filepath.Join(t.TempDir(), "counter"))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	r := &runner{load: h}
	j := job{Verb: "run", Addr: l.Addr().String(), Window: time.Minute, Size: 10}
	for _, kind := range []*int{&j.Down, &j.Up, &j.Messages, &j.Connects} {
		*kind = 3
		if a, err := r.ask(&j); err == nil {
			t.Errorf("%+v: %+v", j, a)
		}
		*kind = 0
	}
	if a, err := r.ask(&job{Verb: "open", Addr: j.Addr, Idle: 5}); err == nil {
		t.Errorf("open: %+v", a)
	}
	l.Close()
	j.Messages = 1
	if a, err := r.ask(&j); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %+v, %v", a, err)
	}
}

// TestCPUTime: the clock of a process and the kernel's ticks tell of the same time.
func TestCPUTime(t *testing.T) {
	self := []int{os.Getpid()}
	before, err := cpuTime(self)
	if err != nil {
		t.Fatal(err)
	}
	ticksBefore, err := tickTime(self)
	if err != nil {
		t.Fatal(err)
	}
	var clock, ticks time.Duration
	for clock < 100*time.Millisecond {
		now, err := cpuTime(self)
		if err != nil {
			t.Fatal(err)
		}
		clock = now - before
	}
	after, err := tickTime(self)
	if err != nil {
		t.Fatal(err)
	}
	if ticks = after - ticksBefore; ticks < 20*time.Millisecond {
		t.Errorf("%v by the clock, %v by ticks", clock, ticks)
	}
	const beyond = 1 << 22 // the highest that pid_max can be
	if _, err := cpuTime([]int{beyond}); err == nil {
		t.Error("the CPU time of no process")
	}
}

// TestFamily: a child is found below its parent.
func TestFamily(t *testing.T) {
	h, err := startHelper(roleLoad, filepath.Join(t.TempDir(), "counter"))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	pids, err := family(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, pid := range pids {
		found = found || pid == h.pid()
	}
	if pids[0] != os.Getpid() || !found {
		t.Errorf("family of %d: %v, without %d", os.Getpid(), pids, h.pid())
	}
}
