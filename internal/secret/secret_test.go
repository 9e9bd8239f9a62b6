package secret

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a store, and files in a folder.
type world struct {
	*Store
	t     *testing.T
	dir   string
	stats *stats.Store
}

func newWorld(t *testing.T) *world {
	ctx, end := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	t.Cleanup(func() { end(); tasks.Wait() })
	w := &world{t: t, dir: t.TempDir(), stats: stats.New(stats.Options{})}
	w.Store = New(Options{Stats: w.stats, Log: slog.New(slog.DiscardHandler), Run: func(f func(context.Context)) bool {
		tasks.Go(func() { f(ctx) })
		return true
	}})
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// put writes a file and moves it to where it belongs.
func (w *world) put(name, text string) {
	w.t.Helper()
	err := os.WriteFile(w.path("next"), []byte(text), 0o600)
	if err = errors.Join(err, os.Rename(w.path("next"), w.path(name))); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) certificate(version, cert, key string) string {
	return fmt.Sprintf(`{version_info: %q, resources: [{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: s, tls_certificate: {certificate_chain: {filename: %q}, private_key: {filename: %q}}}]}`,
		version, w.path(cert), w.path(key))
}

func (w *world) ref() filter.SecretRef { return filter.SecretRef{Name: "s", Path: w.path("sds.yaml")} }

// A reader is a user that refuses pairs that do not match, of which both texts begin with
// the same word.
type reader struct {
	taken  chan string
	failed chan error
}

func (w *world) read(r filter.SecretRef) (x *reader, end func()) {
	x = &reader{make(chan string, 100), make(chan error, 100)}
	return x, w.Use(r, func(m proto.Message) (func(), error) {
		c := m.(*tlsv3.Secret).GetTlsCertificate()
		cert, key := string(c.GetCertificateChain().GetInlineBytes()), string(c.GetPrivateKey().GetInlineBytes())
		if cert != key {
			err := fmt.Errorf("%s is not for %s", key, cert)
			x.failed <- err
			return nil, err
		}
		return func() { x.taken <- cert }, nil
	})
}

func await[T any](t *testing.T, from chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func (w *world) count(name string) uint64 { return w.stats.Scope("sds.s.").Counter(name).Value() }

// The files that a secret names are renewed, one after the other, and then the secret.
func TestRenewed(t *testing.T) {
	w := newWorld(t)
	w.put("cert", "one")
	w.put("key", "one")
	w.put("sds.yaml", w.certificate("1", "cert", "key"))
	r, end := w.read(w.ref())
	defer end()
	if got := await(t, r.taken); got != "one" {
		t.Fatal(got)
	}
	w.put("key", "two")
	await(t, r.failed) // they do not match yet
	w.put("cert", "two")
	if got := await(t, r.taken); got != "two" {
		t.Fatal(got)
	}
	w.put("other", "three")
	w.put("sds.yaml", w.certificate("2", "other", "other"))
	if got := await(t, r.taken); got != "three" {
		t.Fatal(got)
	}
	w.put("other", "four") // of the new files
	if got := await(t, r.taken); got != "four" {
		t.Fatal(got)
	}
	if n := w.count("key_rotation_failed"); n == 0 {
		t.Error("what did not match was not counted")
	}
	if a, s := w.count("update_attempt"), w.count("update_success"); a != 2 || s != 2 {
		t.Errorf("%d attempts, %d successes", a, s)
	}
}

// A certificate with its key in one file, and the password to it, are renewed as well.
func TestRenewedPKCS12(t *testing.T) {
	w := newWorld(t)
	w.put("both", "one")
	w.put("password", "first")
	w.put("sds.yaml", fmt.Sprintf(`{resources: [{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: s, tls_certificate: {pkcs12: {filename: %q}, password: {filename: %q}}}]}`,
		w.path("both"), w.path("password")))
	taken := make(chan string, 100)
	defer w.Use(w.ref(), func(m proto.Message) (func(), error) {
		c := m.(*tlsv3.Secret).GetTlsCertificate()
		return func() {
			taken <- string(c.GetPkcs12().GetInlineBytes()) + " " + string(c.GetPassword().GetInlineBytes())
		}, nil
	})()
	for _, c := range []struct{ file, text, want string }{{"", "", "one first"}, {"both", "two", "two first"}, {"password", "second", "two second"}} {
		if c.file != "" {
			w.put(c.file, c.text)
		}
		if got := await(t, taken); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// Kubernetes swaps a link, by which certificate and key change at once.
func TestSwap(t *testing.T) {
	w := newWorld(t)
	for _, v := range []string{"one", "two"} {
		if err := os.Mkdir(w.path(v), 0o755); err != nil {
			t.Fatal(err)
		}
		w.put(v+"/cert", v)
		w.put(v+"/key", v)
	}
	link := func(to string) {
		if err := errors.Join(os.Symlink(to, w.path("link")), os.Rename(w.path("link"), w.path("..data"))); err != nil {
			t.Fatal(err)
		}
	}
	link("one")
	for _, f := range []string{"cert", "key"} {
		if err := os.Symlink("..data/"+f, w.path(f)); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.Replace(w.certificate("1", "cert", "key"), "tls_certificate: {", fmt.Sprintf("tls_certificate: {watched_directory: {path: %q}, ", w.dir), 1)
	w.put("sds.yaml", text)
	r, end := w.read(w.ref())
	defer end()
	for _, v := range []string{"two", "one"} {
		await(t, r.taken)
		link(v)
	}
	if got := await(t, r.taken); got != "one" {
		t.Error(got)
	}
	if n := w.count("key_rotation_failed"); n != 0 {
		t.Errorf("%d failed", n)
	}
}

// All users take a secret, or none does; who comes later gets what there is.
func TestAllOrNone(t *testing.T) {
	w := newWorld(t)
	w.put("a", "one")
	w.put("sds.yaml", w.certificate("1", "a", "a"))
	first, end := w.read(w.ref())
	defer end()
	await(t, first.taken)
	asked := make(chan bool, 10)
	endStrict := w.Use(w.ref(), func(proto.Message) (func(), error) {
		select {
		case asked <- true:
		default:
		}
		return nil, errors.New("never")
	})
	await(t, asked)
	w.put("a", "two")
	await(t, asked)
	third, endThird := w.read(w.ref())
	defer endThird()
	if got := await(t, third.taken); got != "one" {
		t.Errorf("took %s", got)
	}
	endStrict()
	endStrict()
	w.put("a", "three")
	if a, b := await(t, first.taken), await(t, third.taken); a != "three" || b != "three" {
		t.Errorf("took %s and %s", a, b)
	}
}

// A delivery that is not the secret is refused, with Envoy's words; nobody is told.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "Missing SDS resources for s in onConfigUpdate()",
		`{resources: [{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: x, tls_certificate: {}}]}`:    "Unexpected SDS secret (expecting s): x",
		`{resources: [{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: s, validation_context: {}}]}`: "another kind",
		`{resources: [{"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: s}]}`:                                          "Unexpected resource type envoy.config.cluster.v3.Cluster",
	} {
		path := filepath.Join(t.TempDir(), "sds.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := readResource(filter.SecretRef{Name: "s", Path: path})
		var r *refusal
		if !errors.As(err, &r) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A file that is no secret is looked at when its watch begins, and when another one takes its
// place, until the watch ends.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	w.put("a", "one")
	seen := make(chan string, 100)
	end := w.Watch(w.path("a"), func() error {
		b, err := os.ReadFile(w.path("a"))
		seen <- string(b)
		return errors.Join(err, errors.New("logged, and no reason to stop"))
	})
	defer end()
	for _, text := range []string{"one", "two", "three"} {
		w.put("a", text)
		for await(t, seen) != text { // what was there before may be seen more than once
		}
	}
	end()
}

// With its last user the secret is forgotten, and so are its statistics.
func TestLastUser(t *testing.T) {
	w := newWorld(t)
	w.put("a", "one")
	w.put("sds.yaml", w.certificate("1", "a", "a"))
	_, end1 := w.read(w.ref())
	_, end2 := w.read(w.ref())
	end1()
	if n := len(w.States()); n != 1 {
		t.Errorf("%d secrets", n)
	}
	end2()
	if n := len(w.States()); n != 0 {
		t.Errorf("%d secrets", n)
	}
}
