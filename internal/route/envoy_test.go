package route

import (
	"bufio"
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// An answer is what Envoy 1.40.0 did with a request (testdata/answers.jsonl), with
// testdata/routes.yaml as the routes of a connection manager with use_remote_address and
// one trusted hop, over plain text on 127.0.0.1. Left out is what depends on chance, what
// its codec refuses, and host_rewrite of a header that is missing: that ginnel leaves out,
// as Envoy's documentation says, where Envoy itself writes "-".
type answer struct {
	Host, Path, Method string
	Headers            []string
	Status             int
	Route, Location    string
	UpPath             string `json:"up_path"`
	UpHost             string `json:"up_host"`
	Up                 []string
}

// latin1Bytes undoes what JSON made of bytes.
func latin1Bytes(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func TestAsEnvoyAnswers(t *testing.T) {
	text, err := os.ReadFile("testdata/routes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table := compiled(t, string(text))
	f, err := os.Open("testdata/answers.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var want answer
		if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		want.Path, want.UpPath = latin1Bytes(want.Path), latin1Bytes(want.UpPath)
		check(t, table, &want)
	}
}

func check(t *testing.T, table *Table, want *answer) {
	t.Helper()
	r := get(want.Host, want.Path, "x-forwarded-proto: http")
	if r.Method = want.Method; r.Connect() {
		r.Authority, r.Path = want.Path, ""
	}
	for _, h := range want.Headers {
		name, v, _ := strings.Cut(h, ":")
		if v = strings.TrimSpace(v); name == "x-forwarded-proto" {
			r.Header.Set(name, v)
			r.Scheme = v
			continue
		}
		r.Header.Add(name, v)
	}
	q := ask(r)
	q.Info.Remote = filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:5000")}
	got := table.Match(q)
	if got == nil {
		if want.Status != 404 {
			t.Errorf("%+v: no route", want)
		}
		return
	}
	q.Info.HTTP().Route, q.Info.HTTP().Protocol = got, httpmsg.HTTP11
	switch {
	case got.Name() != want.Route:
		t.Errorf("%+v: route %s", want, got.Name())
	case got.Direct != nil && got.Direct.Status != want.Status:
		t.Errorf("%+v: status %d", want, got.Direct.Status)
	case got.Redirect != nil:
		if l := got.Location(r, q.Info); l != want.Location || got.Redirect.Status != want.Status {
			t.Errorf("%+v: %d %s", want, got.Redirect.Status, l)
		}
	case got.Action != nil && want.UpPath == "":
		if c := got.Action.ClusterOf(r); c == "up" || got.Action.NotFoundStatus != want.Status {
			t.Errorf("%+v: cluster %q, status without it %d", want, c, got.Action.NotFoundStatus)
		}
	case got.Action != nil:
		got.Forward(r, q.Info, true)
		if r.Path != want.UpPath || r.Authority != want.UpHost {
			t.Errorf("%+v: %q at %q", want, r.Path, r.Authority)
		}
		if up := ownHeaders(r.Header); !slices.Equal(up, sorted(want.Up)) {
			t.Errorf("%+v:\nheaders %q,\nwant    %q", want, up, sorted(want.Up))
		}
	}
}

// ownHeaders are the x- headers of a request, without those of the connection manager.
func ownHeaders(h httpmsg.Header) []string {
	var out []string
	for _, f := range h {
		if strings.HasPrefix(f.Name, "x-") && f.Name != "x-forwarded-proto" && f.Name != "x-forwarded-for" {
			out = append(out, f.Name+": "+f.Value)
		}
	}
	return sorted(out)
}

// sorted sorts by name alone: lines of one name keep their order.
func sorted(list []string) []string {
	out := slices.Clone(list)
	for i, s := range out {
		k, v, _ := strings.Cut(s, ":")
		out[i] = k + ": " + strings.TrimSpace(v)
	}
	slices.SortStableFunc(out, func(a, b string) int {
		x, _, _ := strings.Cut(a, ":")
		y, _, _ := strings.Cut(b, ":")
		return strings.Compare(x, y)
	})
	return out
}
