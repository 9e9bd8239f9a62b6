package upstream

import (
	"testing"

	"github.com/ginnel/ginnel/httpmsg"
)

// TestLateCallers: who resets or watches an exchange after it was given back does not reach
// the codec, whose exchange may be another request's, nor its statistics.
func TestLateCallers(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		s, c := l.serve(http2Cluster())
		a := newRequester().ask(s)
		a.on(t)
		of := a.s.(*exchange).Exchange.(*trade)
		a.s.(httpmsg.Watched).OnReset(nil)
		a.s.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		a.s.Release()
		if len(of.calls) != 2 {
			t.Errorf("before: %q", of.calls)
		}
		a.s.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		a.s.(httpmsg.Watched).OnReset(func(*httpmsg.ResetError) {})
		a.s.Outcome(0, &httpmsg.ResetError{Reason: httpmsg.RemoteReset})
		if len(of.calls) != 2 {
			t.Errorf("after Release: %q", of.calls[2:])
		}
		if n := c.of("c")["upstream_rq_rx_reset"]; n != 0 {
			t.Errorf("upstream_rq_rx_reset is %d", n)
		}
	})
}

// TestCloseCallsBack: what hears of the end of its exchange may ask the pool for something.
func TestCloseCallsBack(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		s, _ := l.serve(http2Cluster())
		a := newRequester().ask(s)
		p := a.on(t).owner.(*member).pool
		called := make(chan struct{})
		l.last().ending = func() {
			p.settle()
			close(called)
		}
		closed := make(chan struct{})
		go func() {
			<-called
			a.s.Release()
			close(closed)
		}()
		p.close()
		<-closed
	})
}

// TestOriginForgotten: a pool does not hold on to the request that made its connections,
// neither while they are idle nor while one of them could not be made.
func TestOriginForgotten(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		s, _ := l.serve(httpCluster())
		a := newRequester().ask(s)
		p := a.on(t).owner.(*member).pool
		of := func() *origin {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.origin
		}
		if of() != nil {
			t.Error("kept with the connection")
		}
		l.takes = 1
		b := newRequester().ask(s)
		b.on(t)
		if of() != nil {
			t.Error("kept with the second connection")
		}
		a.s.Release()
		b.s.Release()
	})
}
