package route

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
)

// FuzzMatch: whatever a client sends, matching and all that follows from it end in order,
// always the same, and rewriting leaves the query alone.
func FuzzMatch(f *testing.F) {
	text, err := os.ReadFile("testdata/routes.yaml")
	if err != nil {
		f.Fatal(err)
	}
	table := compiled(f, string(text))
	params := compiled(f, "ignore_path_parameters_in_path_matching: true\nignore_port_in_host_matching: true\n"+string(text[strings.Index(string(text), "virtual_hosts:"):]))
	for _, host := range []string{"match", "red:80", "rew", "hash", "hdr", "[::1]:80", "x.foo.com", ""} {
		f.Add(host, "/tpl/a/x/b/c?d=e&f", "cookie", "k=v; sid=\"x\"", uint64(7))
		f.Add(host, "/rgx/a-b\xe9;p/c?x", "x-t", "admin", uint64(1<<63))
		f.Add(host, "", "x-h", "h", uint64(0))
	}
	f.Fuzz(func(t *testing.T, host, path, name, value string, random uint64) {
		for _, table := range []*Table{table, params} {
			r := get(host, path, "x-forwarded-proto: http", lowerCase(name)+": "+value)
			q := ask(r)
			q.Random = random
			q.Info.Remote = filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:5000")}
			x := table.Match(q)
			if y := table.Match(q); x != y {
				t.Fatal("the same request has two routes")
			}
			switch {
			case x == nil:
			case x.Redirect != nil:
				if x.Location(r, q.Info) == "" {
					t.Error("no location")
				}
			case x.Action != nil:
				x.Action.Hash(r, q.Info)
				query := path[len(withoutQuery(path)):]
				if x.Forward(r, q.Info, true); !strings.HasSuffix(r.Path, query) {
					t.Errorf("%q became %q", path, r.Path)
				}
			}
		}
	})
}

// FuzzDomains: virtual hosts are found as by looking at all of them in Envoy's order.
func FuzzDomains(f *testing.F) {
	f.Add("a.com *.a.com *.com a.* *", "x.a.com")
	f.Add("*-b.c *.c a.* a-* *", "A-b.C")
	f.Fuzz(func(t *testing.T, list, host string) {
		domains := strings.Fields(list)
		var b strings.Builder
		b.WriteString("virtual_hosts:\n")
		for i, d := range domains {
			if strings.ContainsFunc(d, func(r rune) bool { return r < '!' || r > '~' || strings.ContainsRune("'\"\\{}[]", r) }) {
				return
			}
			domains[i] = lowerCase(d)
			b.WriteString("- {name: '" + domains[i] + "', domains: ['" + d + "'], routes: [{name: '" + domains[i] + "', match: {prefix: /}, direct_response: {status: 200}}]}\n")
		}
		if len(domains) == 0 {
			return
		}
		table, errs, _ := tryCompile(t, b.String(), nil)
		if len(errs) > 0 {
			return
		}
		if got, want := name(table, get(host, "/")), slowly(domains, lowerCase(host)); got != want {
			t.Errorf("%q among %q: %q, want %q", host, domains, got, want)
		}
	})
}

func slowly(domains []string, host string) string {
	best, rank := "-", 0
	for _, d := range domains {
		r := 0
		switch {
		case d == "*":
			if r = 1; host == "" && len(domains) > 1 {
				r = 0
			}
		case strings.HasPrefix(d, "*"):
			if strings.HasSuffix(host, d[1:]) && len(host) > len(d)-1 {
				r = 1_000_000 + len(d)
			}
		case strings.HasSuffix(d, "*"):
			if strings.HasPrefix(host, d[:len(d)-1]) && len(host) > len(d)-1 {
				r = 10 + len(d)
			}
		case d == host && host != "":
			r = 1 << 40
		}
		if r > rank {
			best, rank = d, r
		}
	}
	return best
}
