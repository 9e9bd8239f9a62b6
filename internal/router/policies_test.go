package router

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/route"
)

// says gives a cluster policies, as the JSON of its HttpProtocolOptions.
func (c *cluster) says(text string) {
	c.world.t.Helper()
	m := &httpv3.HttpProtocolOptions{}
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		c.world.t.Fatal(err)
	}
	var report extension.Report
	p := route.CompileClusterPolicies(extension.NewScope(&report, &extension.Registry{}, unpackAny), m)
	if len(report.Issues) > 0 {
		c.world.t.Fatalf("%+v", report.Issues)
	}
	if c.info.Policies = nil; p != nil {
		c.info.Policies = p
	}
}

// A cluster's retry policy holds in place of the route's, and nothing of that beside it.
func TestClusterRetries(t *testing.T) {
	for _, x := range []struct {
		route, cluster string
		tries          int
	}{
		{`, "retryPolicy": {"retryOn": "5xx", "numRetries": 1}`, `{}`, 2},
		{``, `{"retryPolicy": {"retryOn": "5xx", "numRetries": 2}}`, 3},
		{`, "retryPolicy": {"retryOn": "5xx", "numRetries": 9}`, `{"retryPolicy": {"retryOn": "5xx", "numRetries": 2}}`, 3},
		{`, "retryPolicy": {"retryOn": "5xx"}`, `{"retryPolicy": {"retryOn": "reset"}}`, 1},
		{`, "retryPolicy": {"retryOn": "5xx"}`, `{"retryPolicy": {}}`, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &Config{}, `{"match": {"prefix": "/"}, "route": {"cluster": "c"`+x.route+`}}`)
			w.c.says(x.cluster)
			for range 10 {
				w.c.scripts = append(w.c.scripts, script{events: []event{status(503)}})
			}
			if r := w.get("/"); len(w.c.opened) != x.tries {
				t.Errorf("%s over %s: %d tries, want %d: %+v", x.cluster, x.route, len(w.c.opened), x.tries, r)
			}
		})
	}
}

// The per-try timeout of a cluster's policy counts, and where it has none the route's.
func TestClusterTryTimeout(t *testing.T) {
	for _, x := range []struct {
		cluster string
		takes   time.Duration
	}{
		{`{"retryPolicy": {"retryOn": "reset", "numRetries": 0, "perTryTimeout": "2s"}}`, 2 * time.Second},
		{`{"retryPolicy": {"retryOn": "reset", "numRetries": 0, "perTryIdleTimeout": "1s"}}`, time.Second},
		{`{"retryPolicy": {"retryOn": "reset", "numRetries": 0}}`, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &Config{}, `{"match": {"prefix": "/"}, "route": {"cluster": "c", "retryPolicy": {"perTryTimeout": "3s"}}}`)
			w.c.says(x.cluster)
			w.c.then()
			begun := time.Now()
			if r := w.get("/"); r.status != 504 || time.Since(begun) != x.takes {
				t.Errorf("%s: after %v got %+v", x.cluster, time.Since(begun), r)
			}
		})
	}
}

// Mirrors and hash policies of a cluster hold in place of the route's. A mirror goes by
// what its own cluster says of hashing, and is not mirrored again.
func TestClusterMirrorsAndHashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, `{"match": {"prefix": "/"}, "route": {"cluster": "c", "requestMirrorPolicies": [{"cluster": "other"}],
			"hashPolicy": [{"header": {"headerName": "a"}}]}}`)
		for _, name := range []string{"shadow", "other"} {
			w.clusters[name] = w.cluster(name)
			w.clusters[name].then(status(200))
		}
		shadow, other := w.clusters["shadow"], w.clusters["other"]
		w.c.says(`{"requestMirrorPolicies": [{"cluster": "shadow"}], "hashPolicy": [{"header": {"headerName": "b"}}]}`)
		shadow.says(`{"requestMirrorPolicies": [{"cluster": "other"}], "hashPolicy": [{"header": {"headerName": "b"}}]}`)
		w.c.info.Hashing, shadow.info.Hashing = true, true
		w.c.then(status(200))
		w.get("/", "a", "1", "b", "2")
		synctest.Wait()
		if len(shadow.opened) != 1 || len(other.opened) != 0 {
			t.Fatalf("mirrored %d and %d times", len(shadow.opened), len(other.opened))
		}
		for _, c := range []*cluster{w.c, shadow} {
			if h := c.asked[0].Hash; h == nil || *h != xxhash.Sum64String("2") {
				t.Errorf("%s was asked with %v", c.Name(), h)
			}
		}
	})
}

// Nobody makes a hash, nor a cookie for it, that no balancer asks for.
func TestHashUnasked(t *testing.T) {
	for hashing, cookies := range map[bool]int{true: 1, false: 0} {
		w := newWorld(t, &Config{}, `{"match": {"prefix": "/"}, "route": {"cluster": "c", "hashPolicy": [{"cookie": {"name": "x", "ttl": "1s"}}]}}`)
		w.c.info.Hashing = hashing
		w.c.then(status(200))
		n := 0
		for range w.get("/").header.Values("set-cookie") {
			n++
		}
		if n != cookies || (w.c.asked[0].Hash != nil) != hashing {
			t.Errorf("hashing %v: %d cookies, asked with %v", hashing, n, w.c.asked[0].Hash)
		}
	}
}
