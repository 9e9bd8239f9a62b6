package router

import (
	"bytes"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

const (
	ended  = `{"match": {"connectMatcher": {}}, "route": {"cluster": "c", "upgradeConfigs": [{"upgradeType": "CONNECT", "connectConfig": {}}]}}`
	posted = `{"match": {"prefix": "/"}, "route": {"cluster": "c", "upgradeConfigs": [{"upgradeType": "CONNECT", "connectConfig": {"allowPost": true}}]}}`
	passed = `{"match": {"connectMatcher": {}}, "route": {"cluster": "c"}}`
)

// A far end is the host of a tunnel.
type farEnd struct {
	*pipe.Conn
	closed         int
	local          bool
	received, sent atomic.Uint64
	stream         filter.Stream
}

func (f *farEnd) Stream() filter.Stream { return f.stream }
func (f *farEnd) Moved(r, s uint64)     { f.received.Add(r); f.sent.Add(s) }
func (f *farEnd) Flow(bool)             {}
func (f *farEnd) Closed(local bool)     { f.closed++; f.local = local }

// listens makes the cluster connect to what f serves.
func (c *cluster) listens(t *testing.T, f func(*pipe.Conn)) *farEnd {
	near, far := pipe.New(pipe.Options{})
	e := &farEnd{Conn: far, stream: near}
	c.dial = func(r *filter.ConnectRequest) error {
		r.Info.Up.Host = &filter.Host{Cluster: "c"}
		go f(far)
		r.Hop.Connected(e)
		return nil
	}
	t.Cleanup(func() {
		if e.closed != 1 {
			t.Errorf("the connection was closed %d times", e.closed)
		}
		far.Close()
	})
	return e
}

func connect(b *clientBody) *httpmsg.Request {
	r := &httpmsg.Request{Method: "CONNECT", Authority: "h:1"}
	if b != nil {
		r.Body = b
	}
	return r
}

// The 200 comes when the host is connected, before any byte; the two directions end each
// on their own, whichever is first, and nothing is lost.
func TestTunnelHalfCloses(t *testing.T) {
	for name, x := range map[string]struct {
		client, host time.Duration // when each ends its direction
	}{"the client first": {time.Second, 3 * time.Second}, "the host first": {3 * time.Second, time.Second}} {
		for _, routes := range []string{ended, posted} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, &Config{}, routes)
					got := make(chan string, 1)
					far := w.c.listens(t, func(c *pipe.Conn) {
						var writing sync.WaitGroup
						writing.Go(func() {
							time.Sleep(x.host)
							io.WriteString(c, "last from the host")
							c.CloseWrite()
						})
						all, err := io.ReadAll(c)
						if err != nil {
							t.Errorf("the host read: %v", err)
						}
						got <- string(all)
						writing.Wait()
						c.Close()
					})
					b := newBody(false, "early ")
					go func() {
						time.Sleep(x.client)
						b.pieces <- "last from the client"
						close(b.pieces)
					}()
					req := connect(b)
					if routes == posted {
						req = post("/", b)
					}
					c := w.client(req)
					r := c.do()
					if r.status != 200 || r.body != "last from the host" || r.err != nil || r.flags != "-" || r.details != "via_upstream" || !c.upgraded {
						t.Errorf("got %+v", r)
					}
					if s := <-got; s != "early last from the client" {
						t.Errorf("the host got %q", s)
					}
					if r, s := far.received.Load(), far.sent.Load(); r != 18 || s != 26 {
						t.Errorf("counted %d and %d", r, s)
					}
				})
			})
		}
	}
}

// Whatever a host writes before an orderly end arrives.
func TestTunnelBulk(t *testing.T) {
	w := newWorld(t, &Config{}, ended)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	w.c.listens(t, func(c *pipe.Conn) {
		c.Write(sent)
		c.Close()
	})
	// The client sends nothing more and does not end: the host is gone, so the tunnel is over.
	if r := w.client(connect(newBody(false))).do(); r.body != string(sent) || r.err != nil {
		t.Errorf("got %d bytes, %v", len(r.body), r.err)
	}
}

// A host that is gone altogether ends a tunnel, also when it had ended its direction long
// before.
func TestTunnelHostGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, ended)
		w.c.listens(t, func(c *pipe.Conn) {
			c.CloseWrite()
			time.Sleep(time.Second)
			c.Close()
		})
		begun := time.Now()
		w.client(connect(newBody(false))).do()
		if d := time.Since(begun); d != time.Second {
			t.Errorf("ended after %v", d)
		}
	})
}

// So does one of a tunnel that is passed on, which has ended its direction and then resets
// the stream.
func TestTunnelPassedOnHostGone(t *testing.T) {
	const upgrade = `{"match": {"prefix": "/"}, "route": {"cluster": "c"}}`
	for name, x := range map[string]struct {
		routes  string
		request func(*clientBody) *httpmsg.Request
		status  int
	}{
		"CONNECT": {passed, connect, 200},
		"upgrade": {upgrade, func(b *clientBody) *httpmsg.Request {
			r := get("/")
			r.Upgrade, r.Body = "websocket", b
			return r
		}, 101},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &Config{}, x.routes)
				w.c.then(opens(x.status), last("bye"))
				go func() {
					time.Sleep(time.Second)
					w.c.mu.Lock()
					u := w.c.opened[0]
					w.c.mu.Unlock()
					u.leave()
				}()
				begun := time.Now()
				r := w.client(x.request(newBody(false, "hi"))).do()
				if d := time.Since(begun); d != time.Second || r.body != "bye" || r.err != nil {
					t.Errorf("ended after %v: %+v", d, r)
				}
				w.c.released()
			})
		})
	}
}

// A reset stays a reset: of the host for the client, as an error with CONNECT, and of the
// client for the host.
func TestTunnelResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, ended)
		w.c.listens(t, func(c *pipe.Conn) {
			io.WriteString(c, "x")
			time.Sleep(time.Second)
			c.Reset()
		})
		r := w.client(connect(newBody(false))).do()
		e, _ := r.err.(*httpmsg.ResetError)
		if e == nil || e.Reason != httpmsg.ConnectError || r.flags != "UC" || r.details != "upstream_reset_after_response_started{connection_termination}" {
			t.Errorf("got %+v", r)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, ended)
		seen := make(chan error, 1)
		w.c.listens(t, func(c *pipe.Conn) {
			_, err := c.Read(make([]byte, 1))
			seen <- err
		})
		c := w.client(connect(newBody(false)))
		go func() {
			time.Sleep(time.Second)
			c.leave()
		}()
		if r := c.do(); r.err == nil || r.took != time.Second {
			t.Errorf("got %+v", r)
		}
		if err := <-seen; err != pipe.ErrReset {
			t.Errorf("the host read: %v", err)
		}
	})
}

// A tunnel that cannot be made is a request that failed.
func TestTunnelRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, ended)
		w.c.dial = func(*filter.ConnectRequest) error { return &filter.ConnectError{Reason: "refused"} }
		if r := w.client(connect(newBody(false))).do(); r.status != 503 || r.flags != "UF" {
			t.Errorf("got %+v", r)
		}
	})
}

// A tunnel is tried again like a request, and with the client's bytes held back nothing of
// them is lost.
func TestTunnelIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, `{"match": {"connectMatcher": {}}, "route": {"cluster": "c", "retryPolicy": {"retryOn": "connect-failure"},
			"upgradeConfigs": [{"upgradeType": "CONNECT", "connectConfig": {"proxyProtocolConfig": {}}}]}}`)
		got := make(chan string, 1)
		w.c.listens(t, func(c *pipe.Conn) {
			all, _ := io.ReadAll(c)
			got <- string(all)
			c.Close()
		})
		dial, n := w.c.dial, 0
		w.c.dial = func(r *filter.ConnectRequest) error {
			if n++; n == 1 {
				return &filter.ConnectError{Reason: "refused"}
			}
			return dial(r)
		}
		if r := w.client(connect(newBody(true, "bytes"))).do(); r.status != 200 || n != 2 {
			t.Errorf("got %+v after %d tries", r, n)
		}
		if s := <-got; s != "PROXY UNKNOWN\r\nbytes" {
			t.Errorf("the host got %q", s)
		}
	})
}

// Limits that no clock can hold are none.
func TestEndlessLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, `{"match": {"prefix": "/"}, "route": {"cluster": "c", "timeout": "315576000000s"}}`)
		w.c.then(later(time.Hour, status(200)))
		w.c.then(later(time.Hour, status(200)))
		if r := w.get("/"); r.status != 200 {
			t.Errorf("got %+v", r)
		}
		if r := w.get("/", "x-envoy-upstream-rq-timeout-ms", "18446744073709551615"); r.status != 200 {
			t.Errorf("got %+v", r)
		}
	})
}

// A CONNECT whose client has ended already gets an answer, and the host an end.
func TestTunnelWithoutBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, ended)
		w.c.listens(t, func(c *pipe.Conn) {
			io.ReadAll(c)
			c.Close()
		})
		if r := w.client(connect(nil)).do(); r.status != 200 || r.err != nil || !r.header.Has("x-envoy-upstream-service-time") {
			t.Errorf("got %+v", r)
		}
	})
}

// Bytes before the answer are refused where that is asked for.
func TestEarlyData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{NoEarlyData: true}, ended)
		if r := w.client(connect(newBody(false, "early"))).do(); r.status != 400 || r.details != "early_connect_data" {
			t.Errorf("got %+v", r)
		}
	})
}

// Neither route timeout nor tries touch a tunnel that is open.
func TestTunnelOutlivesRouteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, ended)
		w.c.listens(t, func(c *pipe.Conn) {
			time.Sleep(time.Minute)
			c.Close()
		})
		if r := w.client(connect(nil)).do(); r.err != nil || r.took != time.Minute {
			t.Errorf("got %+v", r)
		}
	})
}

// A CONNECT that is passed on, and an upgrade, keep the client's bytes until they are
// accepted; a refusal is passed back and nothing is sent.
func TestBytesAreHeld(t *testing.T) {
	upgrade := func(kind string) func(*clientBody) *httpmsg.Request {
		return func(b *clientBody) *httpmsg.Request {
			return &httpmsg.Request{Method: "GET", Path: "/", Upgrade: kind, Body: b}
		}
	}
	for _, x := range []struct {
		name    string
		request func(*clientBody) *httpmsg.Request
		answer  int
		status  int
		open    bool
		details string
	}{
		{"connect", connect, 200, 200, true, "via_upstream"},
		{"connect 299", connect, 299, 299, true, "via_upstream"},
		{"connect refused", connect, 403, 403, false, "via_upstream"},
		{"websocket", upgrade("websocket"), 101, 101, true, "via_upstream"},
		{"websocket refused", upgrade("websocket"), 403, 403, false, "via_upstream"},
		{"websocket misunderstood", upgrade("websocket"), 200, 200, false, "websocket_handshake_unsuccessful"},
		{"another upgrade", upgrade("foo"), 101, 101, true, "via_upstream"},
		{"another upgrade refused", upgrade("foo"), 200, 200, false, "via_upstream"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &Config{}, passed+","+plain)
				w.c.then(later(time.Second, opens(x.answer)), later(20*time.Second, last("from the host")))
				b := newBody(true, "from the client")
				early := make(chan int, 1)
				go func() {
					time.Sleep(500 * time.Millisecond)
					early <- w.c.sent(0)
				}()
				c := w.client(x.request(b))
				r := c.do()
				if before := <-early; r.status != x.status || r.details != x.details || c.upgraded != x.open || before != 0 {
					t.Errorf("got %+v, %d bytes early", r, before)
				}
				if got := string(w.c.opened[0].body) != ""; got != x.open {
					t.Errorf("the host got %q", w.c.opened[0].body)
				}
				w.c.released()
			})
		})
	}
}

// The PROXY header of either version and family.
func TestProxyHeader(t *testing.T) {
	addr := func(s string) filter.IPAddr { return filter.IPAddr{AddrPort: netip.MustParseAddrPort(s)} }
	v4 := &filter.Info{Remote: addr("1.2.3.4:5"), Local: addr("6.7.8.9:10")}
	mixed := &filter.Info{Remote: addr("1.2.3.4:5"), Local: addr("[2001:db8::1]:10")}
	none := &filter.Info{Remote: filter.UnixAddr{}, Local: filter.UnixAddr{}}
	const magic = "\r\n\r\n\x00\r\nQUIT\n"
	for _, x := range []struct {
		info    *filter.Info
		version int
		want    string
	}{
		{v4, 1, "PROXY TCP4 1.2.3.4 6.7.8.9 5 10\r\n"},
		{mixed, 1, "PROXY TCP6 ::ffff:1.2.3.4 2001:db8::1 5 10\r\n"},
		{none, 1, "PROXY UNKNOWN\r\n"},
		{v4, 2, magic + "\x21\x11\x00\x0c\x01\x02\x03\x04\x06\x07\x08\x09\x00\x05\x00\x0a"},
		{none, 2, magic + "\x20\x00\x00\x00"},
	} {
		if got := string(proxyHeader(x.version, x.info)); got != x.want {
			t.Errorf("%q, want %q", got, x.want)
		}
	}
}
