package http1

import (
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/netconn"
)

// TestResets cuts streams off at any moment, from either side and in several ways: all
// who wait return, and nothing is left.
func TestResets(t *testing.T) {
	var hangups netconn.Hangups
	defer hangups.Close()
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			before := pipe.ChunksInUse()
			for i := range rounds {
				cc, sc := pair(t)
				cutOff(t, cc, sc, &hangups, rand.New(rand.NewPCG(uint64(i), 1)))
			}
			if now := pipe.ChunksInUse(); now != before {
				t.Errorf("%d chunks are still held", now-before)
			}
		})
	}
}

// cutOff streams both ways until something ends it.
func cutOff(t *testing.T, cc, sc filter.Stream, hangups filter.Hangups, rnd *rand.Rand) {
	why := &httpmsg.ResetError{Reason: httpmsg.LocalReset, Details: "test"}
	size, after, way := 1+rnd.IntN(40_000), rnd.IntN(30), rnd.IntN(6)
	r := &httpmsg.Request{Method: "POST", Path: "/", Authority: "a"}
	if rnd.IntN(2) == 0 {
		r = &httpmsg.Request{Method: "CONNECT", Authority: "a:1"}
	}
	started := make(chan httpmsg.Responder, 1)
	srv, wait := serve(sc, &ServerOptions{Hangups: hangups}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		w.OnReset(func(*httpmsg.ResetError) {})
		started <- w
		var reading sync.WaitGroup
		reading.Go(func() { drainBody(r.Body) })
		if w.WriteResponse(&httpmsg.Response{Status: 200}, false) == nil {
			stream(w, size, -1)
		}
		w.OnReset(nil)
		w.Reset(why) // as who gives up does, so that the reader returns
		reading.Wait()
	}})
	own := newOwner()
	c := NewClient(cc, &ClientOptions{Hangups: hangups}, own)
	x := exchangeOf(t, c)
	if err := x.WriteRequest(r, false); err != nil {
		t.Fatal(err)
	}
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	w := <-started
	var sides sync.WaitGroup
	sides.Go(func() {
		if resp, err := x.ReadResponse(); err == nil {
			drainBody(resp.Body)
		}
	})
	stream(x, size, after)
	switch way {
	case 0:
		x.Reset(why)
	case 1:
		c.Close(why)
	case 2:
		srv.Close(why)
	case 3:
		w.StopRequest(why)
		x.Reset(why)
	case 4:
		_ = cc.Reset()
	case 5:
		_ = sc.Close()
	}
	stream(x, size, -1)
	x.Reset(why)
	sides.Wait()
	x.Release()
	<-own.draining
	<-own.closed
	_ = wait()
	if c.Room() != 0 || c.Open() != nil {
		t.Error("the connection can be used again")
	}
}

// stream sends pieces, some number or until that fails.
func stream(w httpmsg.Writer, size, pieces int) {
	p := make([]byte, size)
	for i := 0; i != pieces; i++ {
		if w.WriteData(p, false) != nil || w.Flush() != nil {
			return
		}
	}
}

func drainBody(b httpmsg.Body) {
	for b != nil {
		if _, err := b.Next(); err != nil {
			if err != io.EOF {
				_, _ = b.Next()
			}
			return
		}
	}
}
