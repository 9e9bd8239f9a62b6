package resource

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a hub whose files lie in a folder.
type world struct {
	*Hub
	t     *testing.T
	dir   string
	store *stats.Store
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), store: stats.New(stats.Options{})}
	w.Hub = New(w.store, nil)
	t.Cleanup(w.Close)
	return w
}

// put moves a file into place.
func (w *world) put(file, text string) {
	w.t.Helper()
	next := filepath.Join(w.dir, "next")
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(w.dir, file)); err != nil {
		w.t.Fatal(err)
	}
}

func routes(version string, names ...string) string {
	text := "version_info: \"" + version + "\"\nresources:\n"
	for _, n := range names {
		text += fmt.Sprintf("- {\"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: %s, virtual_hosts: [{name: %q, domains: [x]}]}\n", n, version)
	}
	if names == nil {
		text += "  []\n"
	}
	return text
}

// A reader is one who asked, and what came.
type reader struct {
	filter.Subscription
	came chan string
}

func (w *world) ask(kind filter.ResourceKind, file, name, owner string, timeout time.Duration) *reader {
	r := &reader{came: make(chan string, 100)}
	r.Subscription = w.Subscribe(&filter.ResourceRequest{
		Kind: kind, Name: name, Owner: owner, Source: filter.ResourceSource{Path: filepath.Join(w.dir, file)},
		StatPrefix: "s." + name + owner + ".", Timeout: timeout,
		Decode: func(m proto.Message) (any, error) {
			switch m := m.(type) {
			case *endpointv3.ClusterLoadAssignment:
				return m.GetClusterName(), nil
			case *routev3.RouteConfiguration:
				v := m.GetVirtualHosts()[0].GetName()
				if strings.HasPrefix(v, "wrong") {
					return nil, errors.New("it is wrong")
				}
				return v, nil
			}
			return nil, errors.New("?")
		},
		Deliver: func(v any) { r.came <- v.(string) },
	})
	return r
}

func (r *reader) ready() bool {
	select {
	case <-r.Ready():
		return true
	default:
		return false
	}
}

// got is what has come, in order.
func (r *reader) got() string {
	var out []string
	for len(r.came) > 0 {
		out = append(out, <-r.came)
	}
	return strings.Join(out, " ")
}

func (w *world) stat(name string) uint64 {
	i := strings.LastIndexByte(name, '.') + 1
	s := w.store.Scope(name[:i])
	defer s.Close()
	return s.Counter(name[i:]).Value()
}

func (w *world) counts(prefix, want string) {
	w.t.Helper()
	got := ""
	for _, n := range []string{"update_attempt", "update_success", "update_rejected", "update_failure", "update_empty", "config_reload"} {
		got += fmt.Sprint(w.stat(prefix+n), " ")
	}
	if got = strings.TrimSpace(got); got != want {
		w.t.Errorf("%s: attempts, successes, rejections, failures, empties, reloads: %s, want %s", prefix, got, want)
	}
}

// What is in the file is there when Subscribe returns, and each answer is counted as Envoy
// counts it.
func TestAnswers(t *testing.T) {
	for name, x := range map[string]struct {
		file, want, counts string
	}{
		"there":          {routes("1", "r"), "1", "1 1 0 0 0 1"},
		"among others":   {routes("1", "a", "r", "b"), "1", "1 1 0 0 0 1"},
		"others only":    {routes("1", "a"), "", "1 0 1 0 0 0"},
		"none":           {routes("1"), "", "1 1 0 0 1 0"},
		"wrong":          {routes("wrong", "r"), "", "1 0 1 0 0 0"},
		"another type":   {strings.ReplaceAll(routes("1", "r"), "route.v3.RouteConfiguration, name: r", "cluster.v3.Cluster, name: r #"), "", "1 0 0 1 0 0"},
		"a broken field": {strings.ReplaceAll(routes("1", "r"), "[x]", "7"), "", "1 0 1 0 0 0"},
		"no YAML":        {"resources: [", "", "1 0 0 1 0 0"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put("f.yaml", x.file)
			r := w.ask(filter.RouteResource, "f.yaml", "r", "", time.Hour)
			if got := r.got(); got != x.want || !r.ready() {
				t.Errorf("%q, ready %v", got, r.ready())
			}
			w.counts("s.r.", x.counts)
		})
	}
}

// A bad resource of a file leaves the others, and what there was of it stays; another
// version of the same is no reload.
func TestEachResourceForItself(t *testing.T) {
	w := newWorld(t)
	w.put("f.yaml", routes("1", "a", "b"))
	a, b := w.ask(filter.RouteResource, "f.yaml", "a", "", 0), w.ask(filter.RouteResource, "f.yaml", "b", "", 0)
	source := w.sources[filter.ResourceSource{Path: filepath.Join(w.dir, "f.yaml")}]
	next := func(text string) {
		w.put("f.yaml", text)
		source.client.(*file).changed()
	}
	next(strings.Replace(routes("2", "a", "b"), `name: "2"`, `name: "wrong"`, 1))
	if got := a.got() + "," + b.got(); got != "1,1 2" {
		t.Error(got)
	}
	next(strings.ReplaceAll(routes("3", "b"), `name: "3"`, `name: "2"`))
	w.counts("s.a.", "3 1 2 0 0 1")
	w.counts("s.b.", "3 3 0 0 0 2")
	all := w.Resources(filter.RouteResource)
	if len(all) != 2 || all[0].Version != "1" || all[1].Version != "2" || all[0].Rejected == nil || all[1].Rejected != nil {
		t.Errorf("%+v", all)
	}
	if why := all[0].Rejected.Details; why != "Unexpected RDS configuration (expecting a): b" {
		t.Error(why)
	}
}

// Two of a name are that name's fault alone: what there was of it stays.
func TestTwoOfAName(t *testing.T) {
	w := newWorld(t)
	w.put("f.yaml", routes("1", "a", "b"))
	a, b := w.ask(filter.RouteResource, "f.yaml", "a", "", 0), w.ask(filter.RouteResource, "f.yaml", "b", "", 0)
	source := w.sources[filter.ResourceSource{Path: filepath.Join(w.dir, "f.yaml")}]
	w.put("f.yaml", routes("2", "a", "b", "a"))
	source.client.(*file).changed()
	if got := a.got() + "," + b.got(); got != "1,1 2" {
		t.Error(got)
	}
	w.counts("s.a.", "2 1 1 0 0 1")
	if why := w.Resources(filter.RouteResource)[0].Rejected.Details; why != "duplicate resource a found" {
		t.Error(why)
	}
}

// Who asks a source for the same name shares what came; with owners each has its own.
func TestShared(t *testing.T) {
	w := newWorld(t)
	w.put("f.yaml", routes("1", "r"))
	w.put("e.yaml", "resources: [{\"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: e}]")
	one, two := w.ask(filter.RouteResource, "f.yaml", "r", "", 0), w.ask(filter.RouteResource, "f.yaml", "r", "", 0)
	if got := one.got() + two.got(); got != "11" {
		t.Error(got)
	}
	w.counts("s.r.", "1 1 0 0 0 1")
	w.ask(filter.EndpointResource, "e.yaml", "e", "c1", 0)
	w.ask(filter.EndpointResource, "e.yaml", "e", "c2", 0)
	w.counts("s.ec1.", "1 1 0 0 0 0")
	w.counts("s.ec2.", "1 1 0 0 0 0")
	one.Close()
	one.Close()
	two.Close()
	if n := len(w.sources); n != 1 {
		t.Errorf("%d sources are asked", n)
	}
}

// A file that is not there is waited for, and followed from then on.
func TestFileThatComes(t *testing.T) {
	w := newWorld(t)
	r := w.ask(filter.RouteResource, "f.yaml", "r", "", 0)
	if r.ready() {
		t.Fatal("ready without an answer")
	}
	for _, v := range []string{"1", "2"} {
		w.put("f.yaml", routes(v, "r"))
		if got := <-r.came; got != v {
			t.Errorf("%q, want %q", got, v)
		}
	}
	<-r.Ready()
}

// A silent is a client of a source that answers later.
type silent struct{ told []string }

func (s *silent) ask(_ filter.ResourceKind, name string) (*Delivery, error) {
	s.told = append(s.told, "+"+name)
	return nil, nil
}
func (s *silent) drop(_ filter.ResourceKind, name string) { s.told = append(s.told, "-"+name) }
func (s *silent) close()                                  {}

// A source that answers when it likes is told the names; who asked waits for as long as
// was said, and what comes later counts all the same. What an answer is silent of stays.
func TestSilentSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: stats.New(stats.Options{})}
		w.Hub = New(w.store, nil)
		defer w.Close()
		c := &silent{}
		s := &source{client: c, watches: make(map[key]*watch)}
		w.sources[filter.ResourceSource{Path: "f"}] = s
		a, b := w.ask(filter.RouteResource, "f", "a", "", time.Second), w.ask(filter.RouteResource, "f", "b", "", 0)
		time.Sleep(time.Second)
		synctest.Wait()
		if !a.ready() || b.ready() || w.stat("s.a.init_fetch_timeout") != 1 {
			t.Errorf("ready: %v, %v", a.ready(), b.ready())
		}
		w.stream(s, routes("1", "b"))
		if got := a.got() + "," + b.got(); got != ",1" || !b.ready() {
			t.Error(got)
		}
		w.counts("s.a.", "0 0 0 0 0 0")
		b.Close()
		w.stream(s, routes("2", "a", "b"))
		if got := a.got() + "," + b.got(); got != "2," {
			t.Error(got)
		}
		if got := strings.Join(c.told, " "); got != "+a +b -b" {
			t.Error(got)
		}
	})
}

// stream delivers as a stream would.
func (w *world) stream(s *source, text string) {
	path := filepath.Join(w.t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	d, err := ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	d.Whole = false
	w.deliver(s, &d)
}
