package differ

import (
	"fmt"
	"math/rand/v2"
)

type (
	obj  = map[string]any
	list = []any
)

// Few values for each criterion, so that connections and chains meet.
var (
	genIPs     = []string{"127.0.0.1", "127.0.0.2", "10.0.0.1", "10.0.1.1", "10.1.0.1", "2001:db8::1", "2001:db8:1::1", "::1"}
	genPorts   = []int{80, 443, 8080}
	genRanges  = []string{"127.0.0.0/8", "127.0.0.1/32", "127.0.0.2/31", "10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10.0.0.1/32", "2001:db8::/32", "2001:db8::/48", "::1/128", "255.255.255.255/32"}
	genHosts   = []string{"a.example.com", "b.example.com", "x.a.example.com", "example.com", "other.org", "org"}
	genNames   = []string{"a.example.com", "b.example.com", "*.example.com", "*.a.example.com", "*.com", "example.com", "*.org", "B.Example.COM", ".a.example.com"}
	genALPN    = []string{"h2", "http/1.1", "istio", "h2c", "http/1.0"}
	genSources = []string{"SAME_IP_OR_LOOPBACK", "EXTERNAL"}
)

const (
	extensions = "type.googleapis.com/envoy.extensions."
	inputs     = extensions + "matching.common_inputs."
	unknown    = "nobody" // a name that no chain has
)

// A generator makes listeners and connections. The same seed makes the same ones.
type generator struct{ *rand.Rand }

func (g generator) one(in int) bool { return g.IntN(in) == 0 }

func pick[T any](g generator, all []T) T { return all[g.IntN(len(all))] }

// several returns up to n different values of all.
func several[T any](g generator, all []T, n int) (out list) {
	for _, i := range g.Perm(len(all))[:1+g.IntN(n)] {
		out = append(out, all[i])
	}
	return out
}

func typed(name, typ string, fields obj) obj {
	config := obj{"@type": typ}
	for k, v := range fields {
		config[k] = v
	}
	return obj{"name": name, "typed_config": config}
}

// A genListener is a listener, and how it is reached.
type genListener struct {
	name   string
	config obj
	proxy  bool // connections begin with a PROXY header
	looks  bool // listener filters look at the first bytes
	wide   bool // it listens on all addresses of 127.0.0.0/8
	inner  bool // what clients connect to leads to it by name

	mentioned mentioned // where connections may have been going to, beside what is made up
}

// listener makes the n-th listener. How chains are chosen, and by what, follows from n.
func (g generator) listener(n int) genListener {
	l := genListener{name: fmt.Sprintf("l%d", n), proxy: n%2 == 0, inner: n%10 == 9}
	l.wide = !l.proxy && !l.inner
	l.config = obj{"name": l.name, "listener_filters_timeout": "5s"}
	l.config["listener_filters"], l.looks = g.filters(l)
	switch {
	case l.inner:
		l.config["internal_listener"] = obj{}
	case l.wide:
		l.config["address"] = socket("0.0.0.0", 0)
	default:
		l.config["address"] = socket("127.0.0.1", 0)
	}
	chains := 2 + g.IntN(8)
	if g.one(2) {
		l.config["default_filter_chain"] = chain(chains, l.inner)
	}
	var all list
	if n%3 == 2 {
		for i := range chains {
			all = append(all, chain(i, l.inner))
		}
		l.config["filter_chain_matcher"] = g.matcher(3, chains)
	} else {
		all = g.matches(chains, l.inner)
	}
	l.config["filter_chains"] = all
	return l
}

func socket(ip string, port int) obj {
	return obj{"socket_address": obj{"address": ip, "port_value": port}}
}

// filters returns those that tell what chains are chosen by, in any order but that what
// stands before everything else is read first.
func (g generator) filters(l genListener) (out list, looks bool) {
	if l.proxy {
		out = append(out, typed("proxy", extensions+"filters.listener.proxy_protocol.v3.ProxyProtocol", nil))
	}
	rest := []obj{
		typed("tls", extensions+"filters.listener.tls_inspector.v3.TlsInspector", nil),
		typed("http", extensions+"filters.listener.http_inspector.v3.HttpInspector", nil),
		typed("state", extensions+"filters.listener.set_filter_state.v3.Config", obj{"on_accept": list{
			stateValue("who", "envoy.string", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
			stateValue("host", "envoy.network.transport_socket.original_dst_address", "10.0.0.1:80"),
		}}),
	}
	for _, i := range g.Perm(len(rest)) {
		if g.one(4) {
			continue
		}
		out = append(out, rest[i])
		looks = looks || i < 2
	}
	return out, looks
}

func stateValue(key, factory, text string) obj {
	return obj{"object_key": key, "factory_key": factory, "format_string": obj{"text_format_source": obj{"inline_string": text}}}
}

func chainName(i int) string { return fmt.Sprintf("c%d", i) }

// chain answers its name and closes. Of an internal listener it leads to a backend that
// answers it: what is closed in there resets the client of an Envoy, which may miss the
// answer (inner-close-is-fin).
func chain(i int, inner bool) obj {
	name := chainName(i)
	f := typed("f", extensions+"filters.network.direct_response.v3.Config", obj{"response": obj{"inline_string": name + "\n"}})
	if inner {
		f = typed("f", extensions+"filters.network.tcp_proxy.v3.TcpProxy", obj{"stat_prefix": name, "cluster": name})
	}
	return obj{"name": name, "filters": list{f}}
}

// matches makes chains that ask for different connections. Where no range is what a range
// of all addresses is, an Envoy loses one of the two by chance (zero-prefix): a listener
// has but one of them.
func (g generator) matches(n int, inner bool) (out list) {
	taken := make(map[string]bool)
	explicit := [3]bool{g.one(3), g.one(3), g.one(3)}
	rare := 1 + 2*g.IntN(2) // how seldom a chain has a criterion: where all have many, nothing matches
	for i := range n {
		m := obj{}
		set := func(field string, in int, v func() any) {
			if g.one(in * rare) {
				m[field] = v()
			}
		}
		set("destination_port", 3, func() any { return pick(g, genPorts) })
		g.ranges(m, "prefix_ranges", 3*rare, explicit[0])
		set("server_names", 3, func() any { return list{pick(g, genNames)} })
		set("transport_protocol", 4, func() any { return pick(g, []string{"tls", "raw_buffer"}) })
		set("application_protocols", 4, func() any { return several(g, genALPN, 2) })
		g.ranges(m, "direct_source_prefix_ranges", 3*rare, explicit[1])
		set("source_type", 3, func() any { return pick(g, genSources) })
		g.ranges(m, "source_prefix_ranges", 3*rare, explicit[2])
		set("source_ports", 4, func() any { return several(g, genPorts, 2) })
		if g.overlaps(taken, m) {
			continue
		}
		c := chain(i, inner)
		c["filter_chain_match"] = m
		out = append(out, c)
	}
	return out
}

func (g generator) ranges(m obj, field string, in int, explicit bool) {
	var out list
	if g.one(in) {
		for _, r := range several(g, genRanges, 3) {
			out = append(out, cidr(r.(string)))
		}
	} else if explicit {
		out = list{cidr("0.0.0.0/0"), cidr("::/0")}
	}
	if out != nil {
		m[field] = out
	}
}

func cidr(s string) obj {
	var ip string
	var bits int
	for i := range s {
		if s[i] == '/' {
			ip = s[:i]
			_, _ = fmt.Sscan(s[i+1:], &bits)
		}
	}
	return obj{"address_prefix": ip, "prefix_len": bits}
}

// overlaps reports whether a match shares one of its combinations with an earlier one, and
// if not takes them all.
func (g generator) overlaps(taken map[string]bool, m obj) bool {
	paths := []string{""}
	for _, field := range []string{"destination_port", "prefix_ranges", "server_names", "transport_protocol", "application_protocols",
		"direct_source_prefix_ranges", "source_type", "source_prefix_ranges", "source_ports"} {
		values, ok := m[field].(list)
		if !ok {
			values = list{m[field]}
		}
		var longer []string
		for _, p := range paths {
			for _, v := range values {
				longer = append(longer, fmt.Sprintf("%s|%v", p, v))
			}
		}
		paths = longer
	}
	for _, p := range paths {
		if taken[p] {
			return true
		}
	}
	for _, p := range paths {
		taken[p] = true
	}
	return false
}

// matcher makes a matcher of at most so many levels over so many chains.
func (g generator) matcher(depth, chains int) obj {
	m := obj{}
	switch g.IntN(3) {
	case 0:
		var fields list
		for range 1 + g.IntN(3) {
			fields = append(fields, obj{"predicate": g.predicate(2), "on_match": g.onMatch(depth, chains)})
		}
		m["matcher_list"] = obj{"matchers": fields}
	default:
		m["matcher_tree"] = g.tree(depth, chains)
	}
	if !g.one(3) {
		m["on_no_match"] = g.onMatch(depth, chains)
	}
	return m
}

func (g generator) onMatch(depth, chains int) obj {
	if depth > 0 && !g.one(3) {
		return obj{"matcher": g.matcher(depth-1, chains)}
	}
	name := chainName(g.IntN(chains))
	if g.one(20) {
		name = unknown
	}
	return obj{"action": typed("chain", "type.googleapis.com/google.protobuf.StringValue", obj{"value": name})}
}

// input returns an input and values that it may have.
func (g generator) input() (obj, []string) {
	network := func(name string, fields obj) obj { return typed("i", inputs+"network.v3."+name, fields) }
	ports := []string{"80", "443", "8080"}
	switch g.IntN(12) {
	case 0:
		return network("DestinationIPInput", nil), genIPs
	case 1:
		return network("DestinationPortInput", nil), ports
	case 2:
		return network("SourceIPInput", nil), genIPs
	case 3:
		return network("SourcePortInput", nil), ports
	case 4:
		return network("DirectSourceIPInput", nil), genIPs
	case 5:
		return network("SourceTypeInput", nil), []string{"local"}
	case 6:
		return network("ServerNameInput", nil), genHosts
	case 7:
		return network("TransportProtocolInput", nil), []string{"tls", "raw_buffer"}
	case 8:
		return network("ApplicationProtocolInput", nil), []string{"'h2'", "'h2c'", "'http/1.1'", "'http/1.0'", "'h2','http/1.1'", "h2"}
	case 9:
		return network("FilterStateInput", obj{"key": "who"}), genIPs
	case 10:
		field := pick(g, []string{"", "ip", "port", "none"})
		return network("FilterStateInput", obj{"key": "host", "field": field}), []string{"10.0.0.1", "80", "10.0.0.1:80"}
	}
	if g.one(4) {
		return typed("i", inputs+"ssl.v3.UriSanInput", nil), genHosts
	}
	return network("NetworkNamespaceInput", nil), []string{"", "a"}
}

func (g generator) predicate(depth int) obj {
	if depth > 0 && g.one(3) {
		switch g.IntN(3) {
		case 0:
			return obj{"not_matcher": g.predicate(depth - 1)}
		case 1:
			return obj{"and_matcher": obj{"predicate": list{g.predicate(depth - 1), g.predicate(depth - 1)}}}
		}
		return obj{"or_matcher": obj{"predicate": list{g.predicate(depth - 1), g.predicate(depth - 1)}}}
	}
	in, values := g.input()
	single := obj{"input": in}
	v := pick(g, values)
	switch g.IntN(4) {
	case 0:
		single["custom_match"] = typed("ip", extensions+"matching.input_matchers.ip.v3.Ip",
			obj{"stat_prefix": "s", "cidr_ranges": list{cidr(pick(g, genRanges))}})
	case 1:
		single["value_match"] = obj{"prefix": pick(g, []string{"1", "10.", "'h", "a", "2001:"})}
	case 2:
		single["value_match"] = obj{"exact": v, "ignore_case": g.one(2)}
	case 3:
		single["value_match"] = obj{"safe_regex": obj{"google_re2": obj{}, "regex": pick(g, []string{".*", "[0-9.]+", "'.*1.1'"})}}
	}
	return obj{"single_predicate": single}
}

func (g generator) tree(depth, chains int) obj {
	in, values := g.input()
	out := obj{"input": in}
	entries := obj{}
	for _, v := range several(g, values, min(3, len(values))) {
		entries[v.(string)] = g.onMatch(depth, chains)
	}
	switch g.IntN(5) {
	case 0, 1:
		out["exact_match_map"] = obj{"map": entries}
	case 2:
		if g.one(2) {
			entries[pick(g, []string{"1", "10.", "127.0.0.", "'h", ""})] = g.onMatch(depth, chains)
		}
		out["prefix_match_map"] = obj{"map": entries}
	case 3:
		var all list
		for range 1 + g.IntN(4) {
			var ranges list
			for _, r := range several(g, genRanges, 3) {
				ranges = append(ranges, cidr(r.(string)))
			}
			all = append(all, obj{"ranges": ranges, "on_match": g.onMatch(depth, chains), "exclusive": g.one(3)})
		}
		out["custom_match"] = typed("ip", "type.googleapis.com/xds.type.matcher.v3.IPMatcher", obj{"range_matchers": all})
	case 4:
		var all list
		for _, name := range several(g, []string{"a.example.com", "*.example.com", "*.com", "*", "org"}, 3) {
			all = append(all, obj{"domains": list{name}, "on_match": g.onMatch(depth, chains)})
		}
		out["custom_match"] = typed("names", "type.googleapis.com/xds.type.matcher.v3.ServerNameMatcher", obj{"domain_matchers": all})
	}
	return out
}
