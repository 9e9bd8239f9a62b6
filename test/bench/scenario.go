package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A scenario is one question that is asked of every proxy.
type scenario struct {
	Name, About string
	Metrics     []metric // the first is what ratios and charts show
	hops        []int    // internal hops to run it with
	rounds      int      // >0: at most so many
	splice      bool     // HAProxy also with splice
	alone       bool     // direct makes no sense
	fresh       bool     // a new process for each sample, and no retries
	job         job      // for askRun and askSteady
	ask         ask
	web         web // what the proxies are set up as

	tls bool // TLS 1.3 is ended, for clients with certificates

	listeners, clusters int // so many more, which nobody uses
}

// ask is how a scenario is measured.
type ask int

const (
	askRun    ask = iota // run the job and compute from its answer
	askSteady            // the same once, however disturbed: it is long
	askIdle              // open connections and look at the proxy
	askStart             // look at a proxy that has just begun
)

// A metric is one figure of a scenario.
type metric struct{ Key, Unit string }

var (
	cpuPerGB    = metric{"CPU", "s/GB"}
	speed       = metric{"throughput", "GB/s"}
	cpuPerMsg   = metric{"CPU", "µs/message"}
	msgRate     = metric{"rate", "messages/s"}
	msgP50      = metric{"p50", "µs"}
	msgP99      = metric{"p99", "µs"}
	cpuPerConn  = metric{"CPU", "µs/connection"}
	connRate    = metric{"rate", "connections/s"}
	rssPerConn  = metric{"RSS", "B/connection"}
	kernPerConn = metric{"kernel memory", "B/connection"}
	fdsPerConn  = metric{"descriptors", "per connection"}
	idleCPU     = metric{"CPU when idle", "ms/s"}
	kept        = metric{"bytes, last against first part", "%"}
	keptCPU     = metric{"CPU per byte, last against first part", "%"}
	firstAnswer = metric{"first answer", "ms"}
	startRSS    = metric{"RSS", "MB"}
	startCPU    = metric{"CPU", "ms"}
	cpuPerReq   = metric{"CPU", "µs/request"}
	reqRate     = metric{"rate", "requests/s"}
	mixMessages = metric{"messages p99", "µs"}
	mixAccepts  = metric{"connections p99", "µs"}
	mixMsgRate  = metric{"messages", "1/s"}
	mixConnRate = metric{"connections", "1/s"}
)

var chains = []int{0, 1, 2, 4, 8}

const (
	messageSize = 64 // bytes
	steadyParts = 6  // of the window of the scenario steady
)

// scenarios are all there are, in the order of the report.
func scenarios(o *options) []scenario {
	all := slices.Concat(ofTCP(o), ofTLS(), ofHTTP(), ofLife(o))
	for i := range all {
		s := &all[i]
		if len(o.hops) > 0 {
			s.hops = o.hops
		}
		if s.rounds == 0 || s.rounds > o.rounds {
			s.rounds = o.rounds
		}
		s.job.Verb, s.job.Warm = "run", o.warm
		if s.job.Size == 0 {
			s.job.Size = messageSize
		}
		if s.job.Window == 0 {
			s.job.Window = o.window
		}
	}
	return all
}

// ofTCP is what goes over plain connections.
func ofTCP(o *options) []scenario {
	return []scenario{
		bulk("bulk-down-1", "1 connection, the backend sends without end", job{Down: 1}, chains),
		bulk("bulk-up-1", "1 connection, the client sends without end", job{Up: 1}, []int{0}),
		bulk("bulk-down-8", "8 connections, the backend sends without end", job{Down: 8}, chains),
		bulk("bulk-up-8", "8 connections, the client sends without end", job{Up: 8}, []int{0}),
		messages("messages-1", "1 connection, 64 bytes there and back, again and again", 1, []int{0}),
		messages("messages-50", "50 connections, 64 bytes there and back, again and again", 50, chains),
		{
			Name: "connections", About: "16 at a time: connect, 1 byte there and back, close",
			Metrics: []metric{cpuPerConn, connRate, msgP50, msgP99},
			hops:    chains, job: job{Connects: 16},
		},
		{
			Name: "mix", About: "8 bulk streams down, and beside them 20 connections of messages and 2 at a time that come and go",
			Metrics: []metric{mixMessages, mixAccepts, mixMsgRate, mixConnRate, speed},
			hops:    []int{0}, splice: true, job: job{Down: 8, Messages: 20, Connects: 2, Window: 2 * o.window},
		},
	}
}

// ofTLS is what goes over connections whose TLS the proxy ends.
func ofTLS() []scenario {
	return []scenario{
		secured(bulk("tls-bulk-1", "1 connection of TLS 1.3 with client certificates, ended by the proxy; the backend sends without end", job{Down: 1}, []int{0})),
		secured(bulk("tls-bulk-8", "the same with 8 connections", job{Down: 8}, []int{0})),
		secured(bulk("tls-bulk-up-1", "1 connection of TLS, the client sends without end", job{Up: 1}, []int{0})),
		secured(bulk("tls-bulk-up-8", "the same with 8 connections", job{Up: 8}, []int{0})),
		secured(scenario{
			Name: "tls-handshakes", About: "16 at a time: connect, a full handshake of TLS 1.3 with a client certificate (ECDSA P-256), 1 byte there and back, close",
			Metrics: []metric{cpuPerConn, connRate, msgP50, msgP99},
			hops:    []int{0}, job: job{Connects: 16},
		}),
	}
}

// ofHTTP is requests.
func ofHTTP() []scenario {
	return []scenario{
		requests("http1-100", "50 connections, GET of 100 bytes, one after the other", job{HTTP1: 50, Size: 100}, web{}, []int{0, 1}),
		requests("http1-64k", "50 connections, GET of 64 KiB", job{HTTP1: 50, Size: 64 << 10}, web{}, []int{0, 1}),
		requests("http2-100", "10 connections of 5 streams, GET of 100 bytes; HTTP/1.1 to the backend", job{HTTP2: 10, Streams: 5, Size: 100}, web{http2: true}, []int{0}),
		requests("http2-64k", "the same of 64 KiB", job{HTTP2: 10, Streams: 5, Size: 64 << 10}, web{http2: true}, []int{0}),
		requests("encap-100", "50 connections, GET of 100 bytes inside an HTTP/2 CONNECT, which the same process ends again", job{HTTP1: 50, Size: 100}, web{encap: true}, []int{0}),
	}
}

// ofLife is what a proxy takes that stands still, starts, or runs for long.
func ofLife(o *options) []scenario {
	return []scenario{
		{
			Name: "idle", About: "connections that have carried one byte each way and now wait",
			Metrics: []metric{rssPerConn, kernPerConn, fdsPerConn, idleCPU},
			hops:    chains, rounds: 2, fresh: true, ask: askIdle,
		},
		{
			Name: "start", About: "from the start of the process to the first byte that came back, and what it holds when it has settled",
			Metrics: []metric{firstAnswer, startRSS, startCPU},
			hops:    []int{0}, alone: true, fresh: true, ask: askStart,
		},
		many("start-listeners", "the same with 1,000 listeners more", 1000, 0),
		many("start-clusters", "the same with 1,000 clusters more", 0, 1000),
		{
			Name: "steady", About: fmt.Sprintf("1 connection through one internal hop for %v; its last sixth against the first", o.steady),
			Metrics: []metric{kept, keptCPU, speed, cpuPerGB},
			hops:    []int{1}, rounds: 1, alone: true, ask: askSteady,
			job: job{Down: 1, Window: o.steady, Every: o.steady / steadyParts},
		},
	}
}

func bulk(name, about string, j job, hops []int) scenario {
	return scenario{Name: name, About: about, Metrics: []metric{cpuPerGB, speed}, hops: hops, splice: true, job: j}
}

func messages(name, about string, n int, hops []int) scenario {
	return scenario{
		Name: name, About: about, Metrics: []metric{cpuPerMsg, msgRate, msgP50, msgP99},
		hops: hops, job: job{Messages: n},
	}
}

// secured is a scenario behind TLS, which direct, HAProxy and nginx take no part in.
func secured(s scenario) scenario {
	s.tls, s.splice, s.alone = true, false, true
	return s
}

// many is start with more to set up.
func many(name, about string, listeners, clusters int) scenario {
	return scenario{
		Name: name, About: about, Metrics: []metric{firstAnswer, startRSS, startCPU},
		hops: []int{0}, alone: true, fresh: true, ask: askStart, listeners: listeners, clusters: clusters,
	}
}

// web is what proxies are as proxies of HTTP.
type web struct {
	on    bool
	encap bool // the request goes through a tunnel of its own
	http2 bool // nginx wants to be told
}

func requests(name, about string, j job, w web, hops []int) scenario {
	w.on = true
	return scenario{Name: name, About: about, Metrics: []metric{cpuPerReq, reqRate, msgP50, msgP99}, hops: hops, job: j, web: w}
}

// chosen are the scenarios of this run.
func chosen(o *options) []scenario {
	var some []scenario
	for _, s := range scenarios(o) {
		if o.wants(s.Name) {
			some = append(some, s)
		}
	}
	return some
}

func (o *options) wants(name string) bool {
	for _, begin := range o.only {
		if strings.HasPrefix(name, begin) {
			return true
		}
	}
	return len(o.only) == 0
}

func listScenarios(w io.Writer) {
	for _, s := range scenarios(&options{steady: time.Minute}) {
		fmt.Fprintf(w, "%-12s %s\n", s.Name, s.About)
	}
}

// figures computes the metrics of a scenario from the answer to its job.
func (s *scenario) figures(a *answer, proxied bool) values {
	v := values{}
	for _, m := range s.Metrics {
		switch m {
		case speed:
			v.set(m, float64(a.Bytes)/1e9/a.Seconds)
		case msgRate, mixMsgRate, reqRate:
			v.set(m, float64(a.Messages)/a.Seconds)
		case connRate, mixConnRate:
			v.set(m, float64(a.Connects)/a.Seconds)
		case mixMessages:
			v.set(m, a.Message.P99/1e3)
		case mixAccepts:
			v.set(m, a.Connect.P99/1e3)
		case msgP50, msgP99:
			v.set(m, s.quantile(a, m)/1e3)
		case kept:
			first, last := a.Series[0], a.Series[len(a.Series)-1]
			v.set(m, 100*float64(last.Bytes)/float64(first.Bytes))
		}
		if !proxied {
			continue
		}
		switch m {
		case cpuPerGB:
			v.set(m, a.CPU.Seconds()/(float64(a.Bytes)/1e9))
		case cpuPerMsg, cpuPerReq:
			v.set(m, a.CPU.Seconds()*1e6/float64(a.Messages))
		case keptCPU:
			first, last := a.Series[0], a.Series[len(a.Series)-1]
			v.set(m, 100*(last.CPU.Seconds()/float64(last.Bytes))/(first.CPU.Seconds()/float64(first.Bytes)))
		case cpuPerConn:
			v.set(m, a.CPU.Seconds()*1e6/float64(a.Connects))
		}
	}
	return v
}

// quantile is of the messages, or where there are none of the connections.
func (s *scenario) quantile(a *answer, m metric) float64 {
	l := a.Message
	if s.job.Messages == 0 && !s.web.on {
		l = a.Connect
	}
	if m == msgP50 {
		return l.P50
	}
	return l.P99
}

// values are the figures of one sample, by the metric's key.
type values map[string]float64

func (v values) set(m metric, x float64) { v[m.Key] = x }
