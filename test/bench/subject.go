package main

import (
	"cmp"
	"fmt"
	"slices"
)

// A subject is one proxy in one setting.
type subject struct {
	name   string
	family string // its name without hops; ratios "to no hop" are within it
	hops   int
	// command writes what the proxy needs into the place and returns its command
	// line. nil: no proxy at all.
	command func(place) ([]string, error)
	tls     bool // it speaks TLS
}

// A place is where a proxy runs.
type place struct {
	dir, certs             string
	listen, admin, backend int // ports of 127.0.0.1
	conns                  int // connections it must be able to serve
}

// direct is the load generator on the backend itself.
const direct = "direct"

// families are the names of subjects without hops, in the order of tables; variants of
// ginnel have other names.
var families = []string{direct, "ginnel", "ginnel-pipes", "envoy", "haproxy", "haproxy-splice", "nginx"}

// chained is f with so many internal hops.
func chained(f string, hops int, command func(place) ([]string, error)) subject {
	name := f
	if hops > 0 {
		name = fmt.Sprintf("%s-%d", f, hops)
	}
	return subject{name: name, family: f, hops: hops, command: command}
}

// chains are ginnel, its variants and Envoy, with each number of internal hops.
func (b *bins) chains(o *options, hops []int, c chain) (all []subject) {
	for _, h := range hops {
		c.hops = h
		add := func(family, bin string, args ...string) {
			all = append(all, chained(family, h, c.command(bin, args...)))
		}
		add("ginnel", b.ginnel)
		if h > 0 && c.form == tcpForm {
			add("ginnel-pipes", b.ginnel, "--force-pipes")
		}
		for _, v := range o.variants {
			add(v.name, cmp.Or(v.bin, b.ginnel), v.args...)
		}
		if b.envoy != "" {
			add("envoy", b.envoy)
		}
	}
	return all
}

// startLineup is ginnel and Envoy with more listeners and clusters than are used.
func (b *bins) startLineup(o *options, s *scenario) []subject {
	return b.chains(o, s.hops, chain{form: tcpForm, listeners: s.listeners, clusters: s.clusters})
}

// tlsLineup is ginnel and Envoy with TLS.
func (b *bins) tlsLineup(o *options, hops []int) []subject {
	all := b.chains(o, hops, chain{form: tcpForm, tls: true})
	for i := range all {
		all[i].tls = true
	}
	return all
}

// webLineup is everything that takes part in a scenario of HTTP.
func (b *bins) webLineup(o *options, hops []int, w web) []subject {
	all := b.chains(o, hops, chain{form: webForm, encap: w.encap})
	if !w.encap {
		all = append([]subject{{name: direct, family: direct}}, all...)
	}
	if w.encap || !slices.Contains(hops, 0) {
		return all
	}
	if b.haproxy != "" {
		all = append(all, chained("haproxy", 0, webPeer(haproxyWeb, w, func(p place, file string) []string { return []string{b.haproxy, "-db", "-f", file} })))
	}
	if b.nginx != "" {
		all = append(all, chained("nginx", 0, webPeer(nginxWeb, w, func(p place, file string) []string {
			return []string{b.nginx, "-p", p.dir, "-e", "stderr", "-c", file}
		})))
	}
	return all
}

// lineup is everything that takes part in a scenario with these numbers of hops.
func (b *bins) lineup(o *options, hops []int) []subject {
	all := append([]subject{{name: direct, family: direct}}, b.chains(o, hops, chain{form: tcpForm})...)
	if !slices.Contains(hops, 0) {
		return all
	}
	if b.haproxy != "" {
		all = append(all, chained("haproxy", 0, haproxy(b.haproxy, false)), chained("haproxy-splice", 0, haproxy(b.haproxy, true)))
	}
	if b.nginx != "" {
		all = append(all, chained("nginx", 0, nginx(b.nginx, b.nginxStream)))
	}
	return all
}
