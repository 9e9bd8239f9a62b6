package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A runner holds what lives as long as a run.
type runner struct {
	o             *options
	bins          *bins
	dir           string
	load, backend *helper
	port          int // the last one given out
	launched      int
	report        *report
}

// bench does everything the options ask for.
func bench(o *options) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "ginnel-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rep, err := measure(ctx, o, dir)
	if err != nil {
		return err
	}
	return publish(o, rep)
}

// measure runs all scenarios and prints the table of each as soon as there is one.
func measure(ctx context.Context, o *options, dir string) (*report, error) {
	b, err := find(o, dir)
	if err != nil {
		return nil, err
	}
	r := &runner{o: o, bins: b, dir: dir, port: 20000, report: &report{
		Date: time.Now().UTC().Format("2006-01-02"), Machine: machine(), Versions: b.versions,
		Rounds: o.rounds, Window: o.window.Seconds(),
	}}
	if err := makeCertificates(dir); err != nil {
		return nil, err
	}
	counter := filepath.Join(dir, "counter")
	if r.backend, err = startHelper(roleBackend, counter); err != nil {
		return nil, err
	}
	defer r.backend.close()
	if r.load, err = startHelper(roleLoad, counter); err != nil {
		return nil, err
	}
	defer r.load.close()
	for _, s := range chosen(o) {
		err := r.scenario(ctx, &s)
		fmt.Fprintln(o.out, r.report.table(&s).text())
		if err != nil {
			return nil, err
		}
	}
	return r.report, nil
}

// scenario runs all subjects once per round, each round beginning with another one.
func (r *runner) scenario(ctx context.Context, s *scenario) error {
	subjects := r.subjects(s)
	running := map[string]*proxy{}
	defer func() {
		for _, p := range running {
			p.stop()
		}
	}()
	for round := range s.rounds {
		for i := range subjects {
			if err := ctx.Err(); err != nil {
				return err
			}
			sub := subjects[(i+round)%len(subjects)]
			r.progress(s, round, sub)
			sample := r.sample(s, sub, running)
			sample.Round = round
			if sample.Error != "" {
				fmt.Fprintf(os.Stderr, "\n%s, %s: %s\n", s.Name, sub.name, sample.Error)
			}
			if sample.Still > 0 {
				fmt.Fprintf(os.Stderr, "\n%s, %s: %d connections stood still\n", s.Name, sub.name, sample.Still)
			}
			r.report.Samples = append(r.report.Samples, sample)
		}
	}
	r.progress(nil, 0, subject{})
	return nil
}

func (r *runner) subjects(s *scenario) []subject {
	var some []subject
	all := r.bins.lineup(r.o, s.hops)
	if s.web.on {
		all = r.bins.webLineup(r.o, s.hops, s.web)
	} else if s.tls {
		all = r.bins.tlsLineup(r.o, s.hops)
	} else if s.listeners+s.clusters > 0 {
		all = r.bins.startLineup(r.o, s)
	}
	for _, x := range all {
		if (x.name == direct && (s.alone || s.job.HTTP2 > 0)) || (x.name == "haproxy-splice" && !s.splice) {
			continue
		}
		some = append(some, x)
	}
	return some
}

// progress shows on a terminal what is being measured.
func (r *runner) progress(s *scenario, round int, sub subject) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return
	}
	text := ""
	if s != nil {
		text = fmt.Sprintf("%s, round %d of %d: %s", s.Name, round+1, s.rounds, sub.name)
	}
	fmt.Fprintf(os.Stderr, "\r\x1b[K%s", text)
}

// sample takes one measurement, of a running proxy or of one that it starts. A proxy
// that fails is stopped, so that the next round begins with a new one.
func (r *runner) sample(s *scenario, sub subject, running map[string]*proxy) sample {
	result := sample{Scenario: s.Name, Subject: sub.name}
	p := running[sub.name]
	if p == nil {
		var err error
		if p, err = r.launch(sub); err != nil {
			result.Error = err.Error()
			return result
		}
		running[sub.name] = p
	}
	err := r.quiet(s, p, &result)
	if err != nil {
		result.Error = p.explain(err).Error()
	}
	if err != nil || s.fresh {
		p.stop()
		delete(running, sub.name)
	}
	return result
}

// launch starts a subject in a place of its own.
func (r *runner) launch(sub subject) (*proxy, error) {
	r.launched++
	p := place{dir: filepath.Join(r.dir, strconv.Itoa(r.launched)), certs: r.dir, conns: r.maxConns()}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return nil, err
	}
	for _, port := range []*int{&p.listen, &p.admin} {
		var err error
		if *port, err = freePort(r.port + 1); err != nil {
			return nil, err
		}
		r.port = *port
	}
	if r.port > 31000 {
		r.port = 20000
	}
	if err := r.backend.ask("listen", &p.backend); err != nil {
		return nil, err
	}
	return launch(sub, p)
}

// maxConns is how many connections, of two descriptors each, a proxy can hold, less
// some for pipes.
func (r *runner) maxConns() int { return (descriptors() - 2600) / 2 }

// quiet takes a short measurement again if others had too much of the machine, and
// keeps the least disturbed.
func (r *runner) quiet(s *scenario, p *proxy, result *sample) error {
	best := sample{Others: math.Inf(1)}
	for range r.o.retries + 1 {
		try := *result
		if err := r.take(s, p, &try); err != nil {
			return err
		}
		if try.Others < best.Others {
			best = try
		}
		if s.ask != askRun || best.Others < disturbed {
			break
		}
	}
	*result = best
	return nil
}

// take measures p in the way of the scenario.
func (r *runner) take(s *scenario, p *proxy, result *sample) (err error) {
	before, err := r.busy(p)
	if err != nil {
		return err
	}
	begin := time.Now()
	switch s.ask {
	case askIdle:
		result.Values, err = r.idle(p)
	case askStart:
		result.Values, err = r.start(p)
	default:
		err = r.run(s, p, result)
	}
	if err != nil {
		return err
	}
	after, err := r.busy(p)
	elapsed := time.Since(begin) * time.Duration(numCPU())
	result.Others = max(0, float64(after-before)/float64(elapsed))
	return err
}

// busy is the CPU time that went neither to p nor to the benchmark.
func (r *runner) busy(p *proxy) (time.Duration, error) {
	all, err := machineBusy()
	if err != nil {
		return 0, err
	}
	ours, err := cpuTime(append([]int{os.Getpid(), r.load.pid(), r.backend.pid()}, p.pids...))
	return all - ours, err
}

func (r *runner) run(s *scenario, p *proxy, result *sample) error {
	j := s.job
	j.Addr, j.PIDs = p.addr, p.pids
	if s.tls {
		j.Certs = r.dir
	}
	stop := r.record(s, p, result)
	a, err := r.ask(&j)
	stop()
	if err != nil {
		return err
	}
	result.Values, result.Still = s.figures(a, len(p.pids) > 0), a.Still
	if a.CPU > 50*tick {
		result.Ticks = float64(a.Ticks) / float64(a.CPU)
	}
	return nil
}

func (r *runner) ask(j *job) (*answer, error) {
	var a answer
	if err := r.load.ask(j, &a); err != nil {
		return nil, err
	}
	if a.Error != "" {
		return nil, errors.New(strings.TrimSpace(a.Error))
	}
	return &a, nil
}
