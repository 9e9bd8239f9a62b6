package inproc

import (
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A serving is a listener that is one function.
type serving struct {
	takeOver bool
	serve    func(*Dial) error
}

func (s serving) ServeInternal(d *Dial) error { return s.serve(d) }
func (s serving) TakesOver() bool             { return s.takeOver }
func (s serving) BufferBytes() int            { return 0 }

// connect dials a listener, offering a stream if it takes one over.
func connect(n *Network, l serving, d *Dial) (filter.Stream, error) {
	n.Register("in", l)
	d.Addr = to("in")
	if l.takeOver {
		d.Stream = &stream{}
	}
	return n.Connect(d)
}

var errNo = errors.New("no")

func TestRefuse(t *testing.T) {
	for name, x := range map[string]struct {
		listener serving
		want     error // nil: accepted
	}{
		"hand-over: nothing said":     {serving{true, func(d *Dial) error { return nil }}, ErrClosed},
		"hand-over: refuse":           {serving{true, func(d *Dial) error { d.Refuse(errNo); return nil }}, errNo},
		"hand-over: refuse first":     {serving{true, func(d *Dial) error { d.Refuse(errNo); d.Accept(); return nil }}, errNo},
		"hand-over: refuse over all":  {serving{true, func(d *Dial) error { d.Refuse(errNo); return io.EOF }}, errNo},
		"hand-over: accept first":     {serving{true, func(d *Dial) error { d.Accept(); d.Refuse(errNo); return errNo }}, nil},
		"hand-over: refuse for none":  {serving{true, func(d *Dial) error { d.Refuse(nil); return errNo }}, ErrClosed},
		"hand-over: refuse elsewhere": {serving{true, func(d *Dial) error { elsewhere(func() { d.Refuse(errNo) }); return nil }}, errNo},
		"pipe: refuse":                {serving{false, func(d *Dial) error { d.Refuse(errNo); return nil }}, errNo},
		"pipe: refuse first":          {serving{false, func(d *Dial) error { d.Refuse(errNo); d.Accept(); return nil }}, errNo},
		"pipe: accept first":          {serving{false, func(d *Dial) error { d.Accept(); d.Refuse(errNo); return errNo }}, nil},
		"pipe: nothing said":          {serving{false, func(d *Dial) error { return nil }}, ErrClosed},
		"pipe: accept elsewhere":      {serving{false, func(d *Dial) error { elsewhere(d.Accept); return nil }}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n, dialler := New(Options{}), &told{}
			s, err := connect(n, x.listener, &Dial{Dialler: dialler})
			if !errors.Is(err, x.want) || (s != nil) != (err == nil && !x.listener.takeOver) {
				t.Errorf("%v, %v, want %v", s, err, x.want)
			}
			var refused *RefusedError
			if err != nil && !errors.As(err, &refused) {
				t.Errorf("%v is no refusal", err)
			}
			if s != nil {
				s.Close()
			}
			n.Wait()
			c := n.Stats().Names[0]
			if x.want == nil && (dialler.n.Load() != 1 || c.Refused != 0 || c.Piped+c.HandedOver != 1) ||
				x.want != nil && (dialler.n.Load() != 0 || c.Refused != 1 || c.Piped+c.HandedOver != 0) {
				t.Errorf("told %d times, %+v", dialler.n.Load(), c)
			}
		})
	}
}

func elsewhere(f func()) {
	var wg sync.WaitGroup
	wg.Go(f)
	wg.Wait()
}

// A listener whose dialler is refused finds its end of the pipe closed.
func TestRefusedPipeIsClosed(t *testing.T) {
	n, server := New(Options{}), make(chan filter.Stream, 1)
	connect(n, serving{false, func(d *Dial) error { server <- d.Stream; d.Refuse(errNo); return nil }}, &Dial{})
	if _, err := (<-server).Write([]byte("x")); err == nil {
		t.Error("it can be written to")
	}
	n.Wait()
}

func TestConnectGivesUp(t *testing.T) {
	for name, x := range map[string]struct {
		cancel time.Duration // 0: never
		took   time.Duration
		want   error
	}{
		"deadline": {0, 5 * time.Second, os.ErrDeadlineExceeded},
		"cancel":   {time.Second, time.Second, filter.ErrCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cancel, late := make(chan struct{}), make(chan struct{})
				if x.cancel > 0 {
					time.AfterFunc(x.cancel, func() { close(cancel) })
				}
				n, dialler, begun := New(Options{}), &told{}, time.Now()
				d := &Dial{Dialler: dialler, Cancel: cancel, Deadline: begun.Add(5 * time.Second)}
				s, err := connect(n, serving{false, func(d *Dial) error {
					if n, err := d.Stream.Read(make([]byte, 1)); n > 0 || err == nil {
						t.Error("the listener does not notice")
					}
					<-late
					d.Accept()
					return errNo
				}}, d)
				var refused *RefusedError
				if s != nil || !errors.Is(err, x.want) || errors.As(err, &refused) || time.Since(begun) != x.took {
					t.Errorf("%v, %v after %v", s, err, time.Since(begun))
				}
				close(late)
				n.Wait()
				if c := n.Stats().Names[0]; dialler.n.Load() != 0 || c.Piped != 0 || c.Refused != 0 {
					t.Errorf("told %d times, %+v", dialler.n.Load(), c)
				}
			})
		})
	}
}

// A verdict that is there counts, however late it is.
func TestVerdictBeforeDeadline(t *testing.T) {
	d := &Dial{Deadline: time.Now().Add(-time.Hour), verdict: make(chan error, 1)}
	d.Accept()
	if err := d.await(); err != nil {
		t.Error(err)
	}
}

// TestSettleRaces is for the race detector: accept, refusal and cancel at once agree
// on one outcome, and the dialler may use its own things again afterwards.
func TestSettleRaces(t *testing.T) {
	for _, takeOver := range []bool{true, false} {
		n := New(Options{})
		var late sync.WaitGroup
		l := serving{takeOver, func(d *Dial) error {
			late.Go(d.Accept)
			late.Go(func() { d.Refuse(errNo) })
			return nil
		}}
		for range 500 {
			cancel, dialler := make(chan struct{}), &flag{}
			late.Go(func() { close(cancel) })
			s, err := connect(n, l, &Dial{Dialler: dialler, Cancel: cancel})
			if (err == nil) != dialler.accepted {
				t.Errorf("%v, accepted: %v", err, dialler.accepted)
			}
			dialler.accepted = false
			if s != nil {
				s.Close()
			}
			n.Wait() // it starts the late ones
			late.Wait()
		}
	}
}

// A flag is a dialler that relies on Connect for its safety.
type flag struct{ accepted bool }

func (f *flag) Accepted() { f.accepted = true }
func (*flag) Blocks()     {}
