package redirect

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestSidecar is the sidecar of the istio-insider chapter as a whole: virtualOutbound and
// virtualInbound take all that REDIRECT catches, listeners that do not bind serve what is
// known, and what is not goes on to where it was going. HTTP is told by its Host, TCP by
// its address, TLS by its server name, or it ends in the sidecar; over IPv4 and IPv6.
func TestSidecar(t *testing.T) {
	if !alone(t) {
		return
	}
	network(t, `
ip link set lo up
ip -6 addr add ::6/128 dev lo nodad`)
	for _, tables := range []string{"iptables", "ip6tables"} {
		network(t, strings.ReplaceAll(`
TABLES -w -t nat -A PREROUTING -p tcp -i here -j REDIRECT --to-ports 15006
TABLES -w -t nat -A OUTPUT -p tcp -o lo -j RETURN
TABLES -w -t nat -A OUTPUT -p tcp -m mark --mark 1337 -j RETURN
TABLES -w -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001`, "TABLES", tables))
	}
	cert := certificate()
	subjects(t, sidecar(t, cert), "%FILTER_CHAIN_NAME% %UPSTREAM_CLUSTER% %DOWNSTREAM_LOCAL_ADDRESS% %REQUESTED_SERVER_NAME%", func(p *proxy) {
		s := &street{p: p, cert: cert}
		elsewhere(p.t, []string{"10.2.0.1/24", "fd00:2::1/64"}, []string{"10.2.0.2/24", "fd00:2::2/64"}, "", func() {
			s.far("10.2.0.2", "fd00:2::2")
			s.home(func() {
				network(p.t, "ip route add 10.96.0.0/16 via 10.2.0.2\nip -6 route add fd00:96::/64 via fd00:2::2")
				s.near("10.2.0.1", "fd00:2::1")
				s.outbound("10.2.0.1", "10.2.0.2", "10.96.0.")
				s.outbound("fd00:2::1", "fd00:2::2", "fd00:96::")
			})
			s.inbound("10.2.0.1", "10.2.0.2", "127.0.0.6")
			s.inbound("fd00:2::1", "fd00:2::2", "::6")
			s.home(func() {
				for name, n := range map[string]int{"0.0.0.0_8080": 4, "0.0.0.0_443": 6, "10.96.0.10_9000": 2, "virtualOutbound": 4, "virtualInbound": 12} {
					p.stat("listener."+name+".downstream_cx_total", n)
					p.stat("listener."+name+".downstream_cx_active", 0)
				}
			})
			s.close()
		})
	})
}

// A street is a pod with its sidecar, and another one without.
type street struct {
	p    *proxy
	cert tls.Certificate
	all  []*http.Server
}

// home runs f in the pod; what calls it is in the other one.
func (s *street) home(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// far are the servers of the other pod.
func (s *street) far(v4, v6 string) {
	s.serve(v4, 9080, "reviews", false)
	s.serve(v6, 9000, "ratings", false)
	s.serve(v4, 9443, "a", true)
	for _, ip := range []string{v4, v6} {
		s.serve(ip, 8080, "somebody", false)
		s.serve(ip, 7777, "unknown", false)
		s.serve(ip, 443, "other", true)
	}
}

// near are the servers of the pod itself.
func (s *street) near(v4, v6 string) {
	s.serve("127.0.0.1", 8080, "app", false)
	for _, ip := range []string{v4, v6} {
		s.serve(ip, 9090, "more", false)
		s.serve(ip, 8443, "secure", true)
	}
}

// serve answers who is asked, for what host, and by whom.
func (s *street) serve(ip string, port int, name string, secure bool) {
	l, err := net.Listen("tcp", net.JoinHostPort(ip, fmt.Sprint(port)))
	if err != nil {
		s.p.t.Error(err)
		return
	}
	if secure {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{s.cert}})
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s for %s from %s", name, r.Host, from)
	})}
	s.all = append(s.all, server)
	go func() { _ = server.Serve(l) }()
}

func (s *street) close() {
	for _, server := range s.all {
		server.Close()
	}
}

// outbound has the pod ask others: services at known addresses, pods at theirs.
func (s *street) outbound(pod, other, service string) {
	const http8080, tls443 = "http", "0.0.0.0_443"
	s.ask(service+"20", 8080, "reviews", "", "reviews for reviews from 10.2.0.1", http8080+" outbound|9080||reviews")
	s.ask(other, 8080, "somebody", "", "somebody for somebody from "+pod, http8080+" PassthroughCluster")
	s.ask(service+"10", 9000, "x", "", "ratings for x from fd00:2::1", "tcp outbound|9000||ratings")
	s.ask(service+"30", 443, "x", "a.example.com", "a for x from 10.2.0.1", tls443+"_a outbound|9443||a")
	s.ask(other, 443, "x", "b.example.com", "other for x from "+pod, tls443+"_rest PassthroughCluster")
	s.ask(other, 443, "x", "c.example.com", "other for x from "+pod, tls443+"_rest PassthroughCluster")
	s.ask(other, 7777, "x", "", "unknown for x from "+pod, "virtualOutbound-catchall-tcp PassthroughCluster")
	s.ask(pod, 15001, "x", "", "", "virtualOutbound-blackhole BlackHoleCluster")
}

// inbound has the other pod ask this one, at the port of the sidecar's configuration, at
// ports that it does not know, and at its own.
func (s *street) inbound(pod, other, passthrough string) {
	s.ask(pod, 8080, "x", "", "app for x from 127.0.0.1", "plain inbound|8080||")
	s.ask(pod, 8080, "x", "mesh", "app for x from 127.0.0.1", "mesh inbound|8080||")
	s.ask(pod, 9090, "x", "", "more for x from "+passthrough, "virtualInbound-catchall-http InboundPassthroughCluster")
	s.ask(pod, 8443, "x", "s.example.com", "secure for x from "+passthrough, "virtualInbound-tls InboundPassthroughCluster")
	s.ask(pod, 15006, "x", "", "", "virtualInbound-blackhole BlackHoleCluster")
	s.raw(pod, 9090, "virtualInbound-catchall-tcp InboundPassthroughCluster")
}

// ask expects an answer, "": none, and a line in the log. With a server name it is asked
// over TLS; within the mesh that ends in the sidecar.
func (s *street) ask(ip string, port int, host, name, answer, logged string) {
	protocol := "http/1.1"
	if name == "mesh" {
		protocol = "istio-http/1.1"
	}
	got, err := s.answer(ip, port, name, protocol, fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host), logged)
	if got != answer || answer != "" && err != nil {
		s.p.t.Errorf("%s at port %d (%q) answers %q (%v), want %q", ip, port, name, got, err, answer)
	}
}

// raw sends what is neither HTTP nor TLS; the host says so.
func (s *street) raw(ip string, port int, logged string) {
	got, err := s.answer(ip, port, "", "", "hello\r\n\r\n", logged)
	if got != "400 Bad Request" || err != nil {
		s.p.t.Errorf("%s at port %d answers %q, %v", ip, port, got, err)
	}
}

// answer returns the body of a response. It connects from the network that it is called in.
func (s *street) answer(ip string, port int, name, protocol, request, logged string) (string, error) {
	to := net.JoinHostPort(ip, fmt.Sprint(port))
	s.p.want = append(s.p.want, logged+" "+to+" "+cmp.Or(name, "-"))
	c, err := net.DialTimeout("tcp", to, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if name != "" {
		c = tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{protocol}})
	}
	if _, err := io.WriteString(c, request); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// sidecar is the configuration: what istiod makes of the services, with clusters whose
// hosts are known.
func sidecar(t *testing.T, cert tls.Certificate) string {
	const all = "additional_addresses: [{address: {socket_address: {address: '::', port_value: %d}}}]"
	listener := func(name, ip string, port int, more string, chains ...string) string {
		return fmt.Sprintf("  - {name: %s, stat_prefix: %s, %s, %s, filter_chains: [%s]}\n", name, name, at(ip, port), more, strings.Join(chains, ", "))
	}
	chain := func(name, match, more, filter string) string {
		return fmt.Sprintf("{name: %s, filter_chain_match: {%s}, %s filters: [%s]}", name, match, more, filter)
	}
	outbound := fmt.Sprintf("traffic_direction: OUTBOUND, bind_to_port: false, "+all, 8080)
	inspectTLS := listenerFilter("tls_inspector.v3.TlsInspector", "")
	b := "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 15000}}}\nstatic_resources:\n  listeners:\n" +
		listener("virtualOutbound", "0.0.0.0", 15001, fmt.Sprintf("traffic_direction: OUTBOUND, use_original_dst: true, "+all, 15001),
			chain("virtualOutbound-blackhole", "destination_port: 15001", "", logs(proxies("BlackHoleCluster"))),
			chain("virtualOutbound-catchall-tcp", "", "", logs(proxies("PassthroughCluster")))) +
		listener("0.0.0.0_8080", "0.0.0.0", 8080, outbound,
			chain("http", "", "", routes("outbound|9080||reviews", "reviews", "PassthroughCluster"))) +
		listener("0.0.0.0_443", "0.0.0.0", 443, strings.Replace(outbound, "8080", "443", 1)+", listener_filters: ["+inspectTLS+"]",
			chain("0.0.0.0_443_a", "server_names: [a.example.com]", "", logs(proxies("outbound|9443||a"))),
			chain("0.0.0.0_443_rest", "", "", logs(proxies("PassthroughCluster")))) +
		listener("10.96.0.10_9000", "10.96.0.10", 9000,
			"bind_to_port: false, additional_addresses: [{address: {socket_address: {address: 'fd00:96::10', port_value: 9000}}}]",
			chain("tcp", "", "", logs(proxies("outbound|9000||ratings")))) +
		listener("virtualInbound", "0.0.0.0", 15006, fmt.Sprintf("traffic_direction: INBOUND, "+all+", listener_filters: [%s, %s, %s]", 15006,
			listenerFilter("original_dst.v3.OriginalDst", ""), inspectTLS, listenerFilter("http_inspector.v3.HttpInspector", "")),
			chain("virtualInbound-blackhole", "destination_port: 15006", "", logs(proxies("BlackHoleCluster"))),
			chain("virtualInbound-catchall-http", "transport_protocol: raw_buffer, application_protocols: [http/1.1, h2c]", "", routes("InboundPassthroughCluster", "*", "")),
			chain("virtualInbound-catchall-tcp", "transport_protocol: raw_buffer", "", logs(proxies("InboundPassthroughCluster"))),
			chain("virtualInbound-tls", "transport_protocol: tls", "", logs(proxies("InboundPassthroughCluster"))),
			chain("plain", "destination_port: 8080, transport_protocol: raw_buffer", "", routes("inbound|8080||", "*", "")),
			chain("mesh", "destination_port: 8080, transport_protocol: tls, application_protocols: [istio, istio-http/1.1]", terminates(t, cert), routes("inbound|8080||", "*", ""))) +
		"  clusters:\n"
	const mark = "upstream_bind_config: {%s socket_options: [{level: 1, name: 36, int_value: 1337, state: STATE_PREBIND}]}"
	static := func(name, ip string, port int) string {
		return fmt.Sprintf("  - {name: %s, "+mark+", load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {%s}}]}]}}\n", name, "", at(ip, port))
	}
	original := func(name, source string) string {
		return fmt.Sprintf("  - {name: %s, "+mark+", type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED}\n", name, source)
	}
	return b + "  - {name: BlackHoleCluster}\n" + original("PassthroughCluster", "") +
		original("InboundPassthroughCluster", "source_address: {address: 127.0.0.6, port_value: 0}, extra_source_addresses: [{address: {address: '::6', port_value: 0}}],") +
		static("outbound|9080||reviews", "10.2.0.2", 9080) + static("outbound|9000||ratings", "fd00:2::2", 9000) +
		static("outbound|9443||a", "10.2.0.2", 9443) + static("inbound|8080||", "127.0.0.1", 8080)
}

// logs has a filter log.
func logs(filter string) string {
	return strings.Replace(filter, "stat_prefix: t,", "stat_prefix: t, LOG,", 1)
}

// routes is an HTTP connection manager that leads a domain to a cluster, and others ("":
// none) to another one.
func routes(cluster, domain, rest string) string {
	host := func(name, domain, cluster string) string {
		return fmt.Sprintf("{name: %s, domains: ['%s'], routes: [{match: {prefix: /}, route: {cluster: '%s'}}]}", name, domain, cluster)
	}
	hosts := host("known", domain, cluster)
	if rest != "" {
		hosts += ", " + host("allow_any", "*", rest)
	}
	return fmt.Sprintf(`{name: h, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
      stat_prefix: h, LOG, route_config: {virtual_hosts: [%s]},
      http_filters: [{name: r, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}`, hosts)
}

// terminates is the transport socket that ends the TLS of the mesh.
func terminates(t *testing.T, cert tls.Certificate) string {
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) string {
		return fmt.Sprintf("{inline_string: %q}", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return fmt.Sprintf(`transport_socket: {name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext,
      common_tls_context: {alpn_protocols: [istio-http/1.1, http/1.1], tls_certificates: [{certificate_chain: %s, private_key: %s}]}}},`,
		text("CERTIFICATE", cert.Certificate[0]), text("PRIVATE KEY", key))
}

// certificate is that of all servers here.
func certificate() tls.Certificate {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return s.TLS.Certificates[0]
}
