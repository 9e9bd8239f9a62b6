package inproc

import (
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A Dial is a connection to a name in the making. The dialler fills in its fields
// for one Connect, the listener reads them.
type Dial struct {
	Addr filter.InternalAddr
	// Local is Addr as the listener will show it; nil: made from Addr. Who dials the
	// same address again and again saves each connection the making.
	Local net.Addr
	// From is the connection that this one continues; nil: there is none.
	From *filter.Info
	// By says who dials without From; "": a Go program.
	By          string
	Passthrough filter.Passthrough
	// Stream and Outer offer a stream for hand-over; without them only a pipe will
	// do. To the listener, Stream is what it serves and Outer is nil for a pipe.
	Stream filter.Stream
	Outer  filter.Outer
	// nil: nobody wants to know.
	Dialler Dialler
	// Cancel, when closed, and Deadline end the wait for a listener that neither
	// accepts nor refuses. It sees its end of the pipe close. Zero: it may take its
	// time. A stream on offer is not waited for.
	Cancel   <-chan struct{}
	Deadline time.Time

	registration *Registration
	to           Listener // of the registration, for all of the dial
	state        atomic.Uint32
	outcome      error         // of a hand-over; nil: accepted
	done         chan struct{} // of a hand-over, once it is awaited
	verdict      chan error    // of a pipe: the outcome
}

// A Dialler is told how its dial fares.
type Dialler interface {
	// Accepted is called when the listener has accepted, before Connect returns and
	// before any byte moves.
	Accepted()
	// Blocks is called before Connect waits. It may still set Deadline.
	Blocks()
}

// States of a dial. It is settled once, by whoever comes first.
const (
	open uint32 = iota
	settling
	awaited // settling, and done is to be closed
	settled
)

// Accept tells the dialler that it is connected. It does nothing once the dial was
// accepted, refused or given up.
func (d *Dial) Accept() { d.settle(nil) }

// Refuse tells the dialler that there will be no connection; a nil err is ErrClosed.
// It does nothing once the dial was accepted, refused or given up.
func (d *Dial) Refuse(err error) {
	if err == nil {
		err = ErrClosed
	}
	d.settle(err)
}

// settle lets go of d at the end: after a hand-over the dialler may use it for
// something else. That of a pipe is for good, for serve still looks at it.
func (d *Dial) settle(err error) {
	if !d.state.CompareAndSwap(open, settling) {
		return
	}
	if d.verdict != nil {
		d.verdict <- err
		return
	}
	d.outcome = err
	if err == nil {
		d.registration.counts.handedOver.Add(1)
		if d.Dialler != nil {
			d.Dialler.Accepted()
		}
	}
	if !d.state.CompareAndSwap(settling, settled) {
		close(d.done)
	}
}

// renew makes a dial that was refused with ErrMoved, and that nobody has any more, as it
// was when it was made.
func (d *Dial) renew(offered filter.Stream, outer filter.Outer) {
	d.Stream, d.Outer = offered, outer
	d.state.Store(open)
	d.outcome, d.done, d.verdict = nil, nil, nil
}

// handOver lets the listener serve the dialler's stream.
func (d *Dial) handOver() error {
	d.Refuse(d.to.ServeInternal(d)) // if it has not accepted
	if d.state.Load() != settled {  // another goroutine is about to
		d.done = make(chan struct{})
		if d.state.CompareAndSwap(settling, awaited) {
			<-d.done
		}
	}
	return d.outcome
}

// gaveUp is the error of a dialler that did not wait any longer, as opposed to what
// the listener may have given up.
type gaveUp struct{ error }

// await returns the verdict on a pipe.
func (d *Dial) await() error {
	select {
	case err := <-d.verdict:
		return err
	default:
	}
	if d.Dialler != nil {
		d.Dialler.Blocks()
	}
	var late <-chan time.Time
	if !d.Deadline.IsZero() {
		t := time.NewTimer(time.Until(d.Deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case err := <-d.verdict:
		return err
	case <-d.Cancel:
		d.settle(gaveUp{filter.ErrCanceled})
	case <-late:
		d.settle(gaveUp{os.ErrDeadlineExceeded})
	}
	return <-d.verdict // it may have come just before
}
