package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A generator does jobs, one at a time.
type generator struct {
	sunk *atomic.Int64 // bytes that reached the backend's sinks
	held []int         // idle connections
}

// serveLoad does the jobs that stdin brings, until it ends.
func serveLoad(stdin io.Reader, stdout io.Writer, counter string) error {
	sunk, err := shared(counter)
	if err != nil {
		return err
	}
	g := &generator{sunk: sunk}
	in, out := json.NewDecoder(bufio.NewReader(stdin)), json.NewEncoder(stdout)
	for {
		var j job
		if err := in.Decode(&j); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		a, err := g.do(&j)
		if err != nil {
			a = &answer{Error: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func (g *generator) do(j *job) (*answer, error) {
	switch j.Verb {
	case "run":
		return g.run(j)
	case "open":
		return &answer{}, g.open(j)
	case "close":
		for _, fd := range g.held {
			unix.Close(fd)
		}
		g.held = nil
		return &answer{}, nil
	}
	return nil, fmt.Errorf("no such verb: %q", j.Verb)
}

// run keeps all connections of the job busy, and counts what happens in the window.
func (g *generator) run(j *job) (*answer, error) {
	if j.Certs != "" {
		return g.runTLS(j)
	}
	addr, err := sockaddr(j.Addr)
	if err != nil {
		return nil, err
	}
	var c counts
	messages, err := newTraffic(addr, &c, j.Size)
	if err != nil {
		return nil, err
	}
	bulk, err := newTraffic(addr, &c, j.Size)
	if err != nil {
		return nil, err
	}
	failed := make(chan error, 2)
	var loops sync.WaitGroup
	serve := func(t *traffic, flows map[kind]int) {
		loops.Go(func() {
			if err := t.run(flows); err != nil {
				failed <- err
			}
		})
	}
	messages.streams = j.Streams
	serve(messages, map[kind]int{kindMessage: j.Messages, kindConnect: j.Connects, kindHTTP1: j.HTTP1, kindHTTP2: j.HTTP2})
	serve(bulk, map[kind]int{kindDown: j.Down, kindUp: j.Up})
	a, err := g.measure(j, &c, failed)
	messages.loop.stop.Store(true)
	bulk.loop.stop.Store(true)
	loops.Wait()
	if err != nil {
		return nil, err
	}
	a.Still = messages.still() + bulk.still()
	a.Message, a.Connect = messages.message.latency(), messages.connect.latency()
	return a, stalled(j, a)
}

// stalled finds a kind of traffic that was asked for and did not happen.
func stalled(j *job, a *answer) error {
	switch {
	case j.Down+j.Up > 0 && a.Bytes == 0:
		return errors.New("no bulk data came through")
	case j.Messages+j.HTTP1+j.HTTP2 > 0 && a.Messages == 0:
		return errors.New("no message came back")
	case j.Connects > 0 && a.Connects == 0:
		return errors.New("no connection was served")
	}
	return nil
}

// A snapshot is everything that counts up, at one moment.
type snapshot struct {
	at                        time.Time
	bytes, messages, connects int64
	cpu, ticks, own           time.Duration
}

func (g *generator) snapshot(c *counts, pids []int) (s snapshot, err error) {
	if s.cpu, err = cpuTime(pids); err != nil {
		return s, err
	}
	s.at = time.Now()
	s.bytes = c.bytes.Load() + g.sunk.Load()
	s.messages, s.connects = c.messages.Load(), c.connects.Load()
	if s.ticks, err = tickTime(pids); err != nil {
		return s, err
	}
	s.own, err = cpuTime([]int{os.Getpid()})
	return s, err
}

// measure waits for the window to begin and to end.
func (g *generator) measure(j *job, c *counts, failed <-chan error) (*answer, error) {
	if err := pause(j.Warm, failed); err != nil {
		return nil, err
	}
	begin, err := g.snapshot(c, j.PIDs)
	if err != nil {
		return nil, err
	}
	c.measuring.Store(true)
	defer c.measuring.Store(false)
	a := &answer{}
	if j.Every > 0 {
		if a.Series, err = g.series(j, c, begin, failed); err != nil {
			return nil, err
		}
	}
	if err := pause(time.Until(begin.at.Add(j.Window)), failed); err != nil {
		return nil, err
	}
	end, err := g.snapshot(c, j.PIDs)
	if err != nil {
		return nil, err
	}
	a.Seconds = end.at.Sub(begin.at).Seconds()
	a.Bytes, a.Messages, a.Connects = end.bytes-begin.bytes, end.messages-begin.messages, end.connects-begin.connects
	a.CPU, a.Ticks, a.Own = end.cpu-begin.cpu, end.ticks-begin.ticks, end.own-begin.own
	return a, nil
}

// series counts each part of the window.
func (g *generator) series(j *job, c *counts, begin snapshot, failed <-chan error) ([]part, error) {
	var parts []part
	last := begin
	for i := time.Duration(1); i*j.Every <= j.Window; i++ {
		if err := pause(time.Until(begin.at.Add(i*j.Every)), failed); err != nil {
			return nil, err
		}
		now, err := g.snapshot(c, j.PIDs)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{now.bytes - last.bytes, now.cpu - last.cpu})
		last = now
	}
	return parts, nil
}

// pause waits, but not when a loop fails.
func pause(d time.Duration, failed <-chan error) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case err := <-failed:
		return err
	case <-timer.C:
		return nil
	}
}

// openLimit bounds the time that opening idle connections may take.
const openLimit = 60 * time.Second

// open makes connections, sends a message over each and leaves them open.
func (g *generator) open(j *job) error {
	addr, err := sockaddr(j.Addr)
	if err != nil {
		return err
	}
	var c counts
	t, err := newTraffic(addr, &c, 1)
	if err != nil {
		return err
	}
	t.keep = j.Idle
	timer := time.AfterFunc(openLimit, func() { t.loop.stop.Store(true) })
	defer timer.Stop()
	err = t.run(map[kind]int{kindConnect: min(j.Idle, 64)})
	g.held = append(g.held, t.held...)
	if err == nil && len(t.held) < j.Idle {
		err = fmt.Errorf("only %d of %d connections were made in %v", len(t.held), j.Idle, openLimit)
	}
	return err
}

func sockaddr(addr string) (*unix.SockaddrInet4, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
}
