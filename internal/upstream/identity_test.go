package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/transport"
)

// as makes the request one of a user; "": of nobody.
func (c *client) as(user filter.Object) *client {
	if user != nil {
		c.info.State.Set(filter.Entry{Name: "user", Object: user, Sharing: filter.SharedOnce})
	}
	return c
}

// Requests with different shared filter state never share a connection, whatever the
// object (envoy#35711: all five arrive as alice).
func TestIdentities(t *testing.T) {
	for name, p := range map[string]*plan.Cluster{"HTTP/1": httpCluster(), "HTTP/2": http2Cluster()} {
		t.Run(name, func(t *testing.T) {
			pooled(t, func(t *testing.T, l *land) {
				l.streams = 10
				p.Transport = passing(transport.Raw{})
				s, _ := l.serve(p)
				of := make(map[*wire]string)
				for _, user := range []string{"alice", "bob", "", "alice", "bob"} {
					x := newRequester()
					if user != "" {
						x.as(text(user))
					}
					w := x.ask(s).on(t)
					if was, used := of[w]; used && was != user {
						t.Errorf("%q was sent over the connection of %q", user, was)
					}
					of[w] = user
					x.s.Release()
				}
				if len(of) != 3 {
					t.Errorf("%d connections, want one for each user", len(of))
				}
				for w, user := range of {
					carried := ""
					for i, d := range l.dials {
						if l.wires[i] == w && len(d.Passthrough.State) > 0 {
							carried, _ = d.Passthrough.State[0].Object.Serialize()
						}
					}
					if carried != user {
						t.Errorf("the connection of %q carries %q", user, carried)
					}
				}
			})
		})
	}
}

// An object that can be equal to nothing has a connection of its own, which is not kept.
func TestIncomparable(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		l.streams = 10
		s, _ := l.serve(http2Cluster())
		for range 3 {
			x := newRequester().as(list{1})
			w := x.ask(s).on(t)
			x.s.Release()
			synctest.Wait()
			if !w.isClosed() || w.requests() != 1 {
				t.Errorf("closed %v after %d requests", w.isClosed(), w.requests())
			}
		}
		if n := len(s.live.all()); l.count() != 3 || n != 0 {
			t.Errorf("%d connections, %d pools are left", l.count(), n)
		}
	})
}

// Nor is one made in advance for it, which nobody could use.
func TestIncomparableInAdvance(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := foreseeing(3, "a", "b")
		p.HTTP.PerHostPreconnect = 3
		s, _ := l.serve(p)
		for range 3 {
			x := newRequester().as(list{1})
			x.ask(s).on(t)
			x.s.Release()
			synctest.Wait()
		}
		if n := len(s.live.all()); l.count() != 3 || n != 0 {
			t.Errorf("%d connections, %d pools are left", l.count(), n)
		}
	})
}

// Metadata that requests pass on tells their connections apart, too.
func TestRequestMetadata(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := httpCluster()
		p.Transport = passing(transport.Raw{}, extension.MetadataSource{Kind: extension.RequestMetadata, Name: "who"})
		s, _ := l.serve(p)
		seen := make(map[*wire]string)
		for _, user := range []string{"alice", "bob", "alice"} {
			x := newRequester()
			v, _ := structpb.NewStruct(map[string]any{"user": user})
			x.info.Metadata = filter.Metadata{"who": v}
			w := x.ask(s).on(t)
			if was, used := seen[w]; used && was != user {
				t.Errorf("%s was sent over the connection of %s", user, was)
			}
			if got := l.dials[len(l.dials)-1].Passthrough.Metadata["who"].GetFields()["user"].GetStringValue(); seen[w] == "" && got != user {
				t.Errorf("the connection of %s carries %s", user, got)
			}
			seen[w] = user
			x.s.Release()
			x.info.Metadata["who"] = nil // the connection has its own
		}
		if len(seen) != 2 {
			t.Errorf("%d connections", len(seen))
		}
	})
}

func TestPoolPerDownstreamConnection(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := httpCluster()
		p.HTTP.PerDownstream = true
		s, _ := l.serve(p)
		conns := []*filter.Info{{ID: 1}, {ID: 2}}
		var used []*wire
		for _, c := range []int{0, 1, 0, 1} {
			x := newRequester()
			x.info.Extra = &filter.Extra{HTTP: &filter.HTTPInfo{Conn: conns[c]}}
			used = append(used, x.ask(s).on(t))
			if l.dials[len(l.dials)-1].From != conns[len(l.dials)-1] {
				t.Error("not dialled for the connection of the request")
			}
			x.s.Release()
		}
		if used[0] == used[1] || used[0] != used[2] || used[1] != used[3] {
			t.Error("not one for each downstream connection")
		}
	})
}

// A chain of hops that leads in a circle must not multiplex on one connection for ever.
func TestDepthsDoNotShare(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		l.streams = 10
		s, _ := l.serve(http2Cluster())
		a, b := newRequester(), newRequester()
		b.info.Depth = 1
		if a.ask(s).on(t) == b.ask(s).on(t) {
			t.Error("one connection at two depths")
		}
		a.s.Release()
		b.s.Release()
	})
}

// A cluster that changes or goes lets its connections end with their requests.
func TestDrainWithCluster(t *testing.T) {
	for name, next := range map[string][]*plan.Cluster{"gone": nil, "changed": {func() *plan.Cluster { p := httpCluster(); p.Hash = 1; return p }()}} {
		t.Run(name, func(t *testing.T) {
			pooled(t, func(t *testing.T, l *land) {
				s, _ := l.serve(httpCluster())
				old, _ := s.Cluster("c")
				busy, idle := newRequester().ask(s), newRequester().ask(s)
				wb, wi := busy.on(t), idle.on(t)
				idle.s.Release()
				if err := s.Apply(next); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if !wi.isClosed() || wb.isClosed() {
					t.Errorf("idle closed %v, busy closed %v", wi.isClosed(), wb.isClosed())
				}
				late := newRequester() // it had looked the cluster up before
				x, err := old.(*Cluster).Open(&late.r)
				if err != nil {
					t.Fatal(err)
				}
				x.Release()
				busy.s.Release()
				synctest.Wait()
				if n := len(s.live.all()); !wb.isClosed() || !l.last().isClosed() || n != 0 {
					t.Errorf("%d pools are left", n)
				}
			})
		})
	}
}

// Close ends what waits, what connects and what is connected, and waits for it.
func TestSetClose(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		l.takes = time.Second
		p := httpCluster()
		p.Breakers[0].MaxConnections = 2
		s, c := l.serve(p)
		a := newRequester().ask(s)
		w := a.on(t)
		connecting := newRequester().ask(s)
		synctest.Wait()
		waiting := newRequester().ask(s)
		synctest.Wait()
		s.Close()
		connecting.fails(t, filter.ErrCanceled)
		waiting.fails(t, filter.ErrCanceled)
		if !w.isClosed() {
			t.Error("left open")
		}
		newRequester().ask(s).fails(t, filter.ErrCanceled)
		a.s.Release()
		if got := c.of("c"); got["upstream_cx_active"] != 0 || got["upstream_rq_pending_active"] != 0 || got["upstream_rq_active"] != 0 {
			t.Error(got)
		}
		if n := len(s.live.all()); n != 0 {
			t.Errorf("%d pools are left", n)
		}
	})
}

func TestPreconnect(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := httpCluster()
		p.HTTP.PerHostPreconnect = 1.5
		s, _ := l.serve(p)
		a := newRequester().ask(s)
		a.on(t)
		synctest.Wait()
		if l.count() != 2 {
			t.Errorf("%d connections for one request, want 2", l.count())
		}
		b := newRequester().ask(s)
		b.on(t)
		if b.waits != 0 {
			t.Error("had to wait")
		}
		a.s.Release()
		b.s.Release()
	})
}

func TestMaxPools(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := httpCluster()
		p.Breakers[0].MaxConnectionPools = 1
		s, c := l.serve(p)
		a := newRequester().as(text("a")).ask(s)
		a.on(t)
		newRequester().as(text("b")).ask(s).fails(t, filter.ErrNoHost)
		if got := c.of("c"); got["upstream_cx_pool_overflow"] != 1 || got["circuit_breakers.default.cx_pool_open"] != 1 {
			t.Error(got)
		}
		a.s.Release()
	})
}

// Idle connections for identities that do not come again make room for others.
func TestIdleIdentitiesMakeRoom(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := httpCluster()
		p.Breakers[0].MaxConnections = 3
		s, c := l.serve(p)
		for i := range 50 {
			x := newRequester().as(text(string(rune('a' + i)))).ask(s)
			x.on(t)
			x.s.Release()
			synctest.Wait()
			if n := c.of("c")["upstream_cx_active"]; n > 3 {
				t.Fatalf("%d connections after %d identities", n, i+1)
			}
		}
	})
}

// Where nothing is idle a pool still gets its first connection (Envoy).
func TestFirstConnectionBeyondLimit(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := httpCluster()
		p.Breakers[0].MaxConnections = 1
		s, c := l.serve(p)
		a, b := newRequester().as(text("a")).ask(s), newRequester().as(text("b")).ask(s)
		if a.on(t) == b.on(t) {
			t.Error("one connection for two users")
		}
		if n := c.of("c")["upstream_cx_overflow"]; n != 1 {
			t.Errorf("upstream_cx_overflow %d", n)
		}
		a.s.Release()
		b.s.Release()
	})
}
