package main

import "time"

const (
	firstIdle   = 500  // connections that are open before the first look
	chainedIdle = 2000 // connections where there are hops
)

// A look is what idle compares.
type look struct {
	memory
	kernel   int64 // bytes
	kernelOK bool
}

func (r *runner) look(p *proxy) (l look, err error) {
	time.Sleep(r.o.settle)
	if l.memory, err = memoryOf(p.pids); err != nil {
		return l, err
	}
	var kernel error
	l.kernel, kernel = kernelMemory()
	l.kernelOK = kernel == nil // only root can tell
	return l, nil
}

// idle looks at the proxy with some idle connections and with many more. What the first
// ones cost is left out: heaps and pools that grow once.
func (r *runner) idle(p *proxy) (values, error) {
	n := min(r.o.idle, r.maxConns()-firstIdle)
	if p.hops > 0 {
		n = min(n, chainedIdle)
	}
	defer r.ask(&job{Verb: "close"})
	if _, err := r.ask(&job{Verb: "open", Addr: p.addr, Idle: firstIdle}); err != nil {
		return nil, err
	}
	before, err := r.look(p)
	if err != nil {
		return nil, err
	}
	if _, err := r.ask(&job{Verb: "open", Addr: p.addr, Idle: n}); err != nil {
		return nil, err
	}
	after, err := r.look(p)
	if err != nil {
		return nil, err
	}
	v := values{}
	if before.kernelOK && after.kernelOK {
		v.set(kernPerConn, float64(after.kernel-before.kernel)/float64(n))
	}
	if len(p.pids) == 0 {
		return v, nil
	}
	v.set(rssPerConn, float64(after.RSS-before.RSS)/float64(n))
	v.set(fdsPerConn, float64(after.FDs-before.FDs)/float64(n))
	cpu, err := r.over(p, r.o.window)
	v.set(idleCPU, cpu.Seconds()*1e3/r.o.window.Seconds())
	return v, err
}

// over is the CPU time of the proxy in the time to come.
func (r *runner) over(p *proxy, d time.Duration) (time.Duration, error) {
	before, err := cpuTime(p.pids)
	if err != nil {
		return 0, err
	}
	time.Sleep(d)
	after, err := cpuTime(p.pids)
	return after - before, err
}

// start looks at a proxy that has just answered for the first time, and at its memory when
// it has settled.
func (r *runner) start(p *proxy) (values, error) {
	cpu, err := cpuTime(p.pids)
	if err != nil {
		return nil, err
	}
	time.Sleep(r.o.settle)
	m, err := memoryOf(p.pids)
	if err != nil {
		return nil, err
	}
	v := values{}
	v.set(firstAnswer, p.served.Seconds()*1e3)
	v.set(startRSS, float64(m.RSS)/1e6)
	v.set(startCPU, cpu.Seconds()*1e3)
	return v, nil
}
