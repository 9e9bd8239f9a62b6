package differ

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// istioListeners are those of testdata/istio, reached by sockets: their chains are chosen as
// they were, and answer their place in the list. What comes before all else is the PROXY
// protocol, in place of redirection.
func istioListeners(t *testing.T) (all []genListener) {
	files, err := filepath.Glob("../../testdata/istio/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var sent struct {
			Resources []obj `json:"resources"`
		}
		if err := json.Unmarshal(text, &sent); err != nil {
			t.Fatal(err)
		}
		for _, l := range sent.Resources {
			all = append(all, istioListener(filepath.Base(file)+"/", l))
		}
	}
	return all
}

func istioListener(prefix string, l obj) genListener {
	out := genListener{name: prefix + l["name"].(string), proxy: true}
	filters := list{typed("proxy", extensions+"filters.listener.proxy_protocol.v3.ProxyProtocol", nil)}
	for _, f := range asList(l["listener_filters"]) {
		if f.(obj)["name"] != "envoy.filters.listener.original_dst" {
			filters = append(filters, f)
		}
	}
	out.config = obj{"name": out.name, "address": socket("127.0.0.1", 0), "listener_filters": filters, "listener_filters_timeout": "5s"}
	var chains list
	for i, c := range asList(l["filter_chains"]) {
		chains = append(chains, answering(c.(obj), i))
	}
	out.config["filter_chains"] = chains
	if c, ok := l["default_filter_chain"].(obj); ok {
		out.config["default_filter_chain"] = answering(c, len(chains))
	}
	if m, ok := l["filter_chain_matcher"]; ok {
		out.config["filter_chain_matcher"] = m
	}
	out.mentioned.in(out.config)
	out.mentioned.sort() // so that a seed gives the same connections
	return out
}

func asList(v any) list {
	l, _ := v.(list)
	return l
}

// answering is a chain that answers its number, chosen as c is.
func answering(c obj, i int) obj {
	out := chain(i, false)
	for _, field := range []string{"name", "filter_chain_match"} {
		if v, ok := c[field]; ok {
			out[field] = v
		}
	}
	return out
}

// mentioned is what a listener asks for.
type mentioned struct {
	ips, names, protocols []string
	ports                 []int
}

// in looks through a configuration.
func (m *mentioned) in(v any) {
	switch v := v.(type) {
	case list:
		for _, x := range v {
			m.in(x)
		}
	case obj:
		for k, x := range v {
			m.field(k, x)
		}
	}
}

func (m *mentioned) field(k string, x any) {
	switch k {
	case "address_prefix":
		m.ips = append(m.ips, x.(string))
	case "destination_port":
		m.ports = append(m.ports, int(x.(float64)))
	case "server_names":
		m.names = appendTexts(m.names, x)
	case "application_protocols":
		m.protocols = appendTexts(m.protocols, x)
	default:
		if port, err := strconv.Atoi(k); err == nil {
			m.ports = append(m.ports, port)
		}
		m.in(x)
	}
}

// appendTexts adds those of a list; something stands in for a wildcard.
func appendTexts(all []string, x any) []string {
	for _, v := range asList(x) {
		all = append(all, strings.Replace(v.(string), "*", "some", 1))
	}
	return all
}

func (m *mentioned) sort() {
	for _, s := range []*[]string{&m.ips, &m.names, &m.protocols} {
		slices.Sort(*s)
		*s = slices.Compact(*s)
	}
	slices.Sort(m.ports)
	m.ports = slices.Compact(m.ports)
}
