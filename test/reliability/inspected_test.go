package reliability

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/test/hello"
	"github.com/ginnel/ginnel/test/proxy"
)

// inspectedVersion is version n of listeners that look at first bytes, each of which
// changes in another way: a chain beside one that stays, the matcher, the whole listener,
// on a socket or within the process, and listeners that connections are handed to.
func inspectedVersion(n int) string {
	says := func(text string) string {
		return fmt.Sprintf(`{name: d, typed_config: {"@type": %sfilters.network.direct_response.v3.Config, response: {inline_string: "%s"}}}`, extensions, text)
	}
	chain := func(name, match, filter string) string {
		return fmt.Sprintf("{name: %s, filter_chain_match: {%s}, filters: [%s]}", name, match, filter)
	}
	looks := func(filters ...string) string {
		for i, f := range filters {
			filters[i] = fmt.Sprintf(`{name: f, typed_config: {"@type": %sfilters.listener.%s}}`, extensions, f)
		}
		return "listener_filters: [" + strings.Join(filters, ", ") + "],"
	}
	inspects := func() string { return looks("tls_inspector.v3.TlsInspector", "http_inspector.v3.HttpInspector") }
	another := fmt.Sprintf(" per_connection_buffer_limit_bytes: %d,", 10_000+n)
	var b strings.Builder
	internal := func(name, more string, chains ...string) {
		fmt.Fprintf(&b, "  - {name: %s, stat_prefix: %s, %s filter_chains: [%s]}\n", name, name, more, strings.Join(chains, ", "))
	}

	b.WriteString("bootstrap_extensions: [{name: i, typed_config: {\"@type\": " + extensions + "bootstrap.internal_listener.v3.InternalListener}}]\nstatic_resources:\n  listeners:\n")
	kept, rest := chain("kept", "server_names: [kept.example]", says("kept")), chain("rest", "", says("rest"))
	listen(&b, "chains", inspects(), kept, rest, chain("modified", "server_names: [other.example]", says(fmt.Sprint(n))))
	listen(&b, "whole", inspects()+another, kept, rest)
	action := func(name string) string {
		return fmt.Sprintf(`{action: {name: c, typed_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: %s}}}`, name)
	}
	listen(&b, "matched", fmt.Sprintf(`%s filter_chain_matcher: {matcher_tree: {input: {name: i, typed_config: {"@type": %smatching.common_inputs.network.v3.ServerNameInput}},
      exact_match_map: {map: {kept.example: %s, n%d.example: %s}}}, on_no_match: %s},`, inspects(), extensions, action("kept"), n, action("rest"), action("rest")), kept, rest)
	listen(&b, "caught", "use_original_dst: true, "+looks("proxy_protocol.v3.ProxyProtocol"), chain("own", "", says("caught")))
	if n%2 == 0 {
		internal("passing", "address: {socket_address: {address: 10.9.8.7, port_value: 80}}, bind_to_port: false,", chain("own", "", says("passing")))
	}
	internal("unbound", "address: {socket_address: {address: 10.9.8.8, port_value: 80}}, bind_to_port: false, "+inspects()+another, kept, rest)
	listen(&b, "door", "", chain("own", "", tcpTo("door", "inner")))
	internal("inner", "internal_listener: {}, "+inspects()+another, kept, rest)
	b.WriteString("  clusters:\n")
	cluster(&b, "inner", "", "{envoy_internal_address: {server_listener_name: inner}}")
	return b.String()
}

// inspectedClients are what clients do: what they send behind a header, and what may answer,
// as a regular expression.
var inspectedClients = []struct{ listener, header, name, answers string }{
	{"chains", "", "kept.example", "kept"},
	{"chains", "", "", "rest"},
	{"chains", "", "other.example", "[0-9]+"}, // some version of it
	{"whole", "", "kept.example", "kept"},
	{"whole", "", "", "rest"},
	{"matched", "", "kept.example", "kept"},
	{"matched", "", "other.example", "rest"},
	{"caught", "PROXY TCP4 1.2.3.4 10.9.8.7 1 80\r\n", "", "caught|passing"},
	{"caught", "PROXY TCP4 1.2.3.4 10.9.8.8 1 80\r\n", "kept.example", "kept"},
	{"door", "", "kept.example", "kept"},
	{"door", "", "", "rest"},
}

// TestInspectedWhileChanging: connections whose first bytes are still coming find a chain
// of their listener, or of the one in its place, whatever changes meanwhile; of those that
// end or reset before nothing is left.
func TestInspectedWhileChanging(t *testing.T) {
	p := proxy.Start(t, proxy.Build(t), inspectedVersion(0), "--drain-time-s", "1")
	before := goroutines(t, p)
	hellos := map[string][]byte{"": []byte("GET / HTTP/1.1\r\n\r\n")}
	for _, c := range inspectedClients {
		if c.name != "" {
			hellos[c.name] = hello.TLS(c.name)
		}
	}
	over := make(chan struct{})
	var clients sync.WaitGroup
	var answered, ended atomic.Int64
	for i := range 60 {
		clients.Go(func() {
			for r := rand.New(rand.NewPCG(uint64(i), 0)); ; {
				select {
				case <-over:
					return
				default:
				}
				c := inspectedClients[r.IntN(len(inspectedClients))]
				got, err := slowly(r, p.Addr(c.listener), append([]byte(c.header), hellos[c.name]...))
				switch {
				case err == errEnds:
					ended.Add(1)
				case err != nil || !regexp.MustCompile("^("+c.answers+")$").MatchString(got):
					t.Errorf("%+v: %q, %v", c, got, err)
				default:
					answered.Add(1)
				}
			}
		})
	}
	changes := 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && !t.Failed(); {
		changes++
		if err := p.Post("/config", inspectedVersion(changes)); err != nil {
			t.Error(err)
		}
	}
	close(over)
	clients.Wait()
	t.Logf("%d changes, %d connections answered, %d ended before", changes, answered.Load(), ended.Load())
	for _, l := range []string{"chains", "whole", "matched", "caught", "unbound", "door", "inner"} {
		p.Await(t, "listener."+l+".downstream_pre_cx_active", 0)
		p.Await(t, "listener."+l+".downstream_cx_active", 0)
	}
	p.Await(t, "listener_manager.total_listeners_draining", 0)
	proxy.Poll(t, answerWithin, func() error {
		if n := goroutines(t, p); n > before+10 {
			return fmt.Errorf("%d goroutines are left, there were %d", n, before)
		}
		return nil
	})
}

// errEnds is that a client has ended, in one way or another, before all was sent.
var errEnds = errors.New("ended before")

// slowly sends all in pieces and returns the answer; or the client ends in between.
func slowly(r *rand.Rand, addr string, all []byte) (string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(answerWithin))
	pieces := []int{r.IntN(len(all)), r.IntN(len(all))}
	slices.Sort(pieces)
	for i, at := range append(pieces, len(all)) {
		from := 0
		if i > 0 {
			from = pieces[i-1]
			time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
		}
		if _, err := c.Write(all[from:at]); err != nil {
			return "", err
		}
		if at < len(all) {
			switch r.IntN(20) {
			case 0:
				_ = c.(*net.TCPConn).SetLinger(0)
				return "", errEnds
			case 1:
				return "", errEnds
			case 2:
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
				return "", errEnds
			}
		}
	}
	answer, err := io.ReadAll(c)
	return string(answer), err
}
