// Package inproc is the in-process network: it connects clusters, and the Go
// program around the proxy, to listeners of the same proxy by name.
//
// A connection is made in one of two ways. A hand-over passes the dialler's own
// stream to the listener's filter chain; a pipe gives each side one end of an
// in-memory connection. Which one it was shows in nothing but speed.
package inproc

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// DefaultMaxHops is the number of internal hops one chain of connections may pass.
const DefaultMaxHops = 16

// MostHops is the largest Options.MaxHops: more a filter.Info cannot count.
const MostHops = math.MaxUint16

// A Network is the names of one proxy and the way to them. Its methods are safe for
// concurrent use.
type Network struct {
	opts Options

	mu    sync.Mutex // serialises changes of names
	names atomic.Pointer[map[string]*Registration]

	serving              sync.WaitGroup // of goroutines that serve pipes
	noListener, hopLimit atomic.Uint64
}

// Options of a network, fixed at its making.
type Options struct {
	BufferBytes int  // each direction of a pipe; 0: 1 MiB
	MaxHops     int  // at most MostHops; 0: DefaultMaxHops
	ForcePipes  bool // for tests: never hand a stream over
	// Refused is told of each refused dial, which it must not keep.
	// nil: nobody is.
	Refused func(*Dial, *RefusedError)
}

// New returns a network without names.
func New(o Options) *Network {
	if o.MaxHops == 0 {
		o.MaxHops = DefaultMaxHops
	}
	if o.BufferBytes == 0 {
		o.BufferBytes = 1 << 20
	}
	n := &Network{opts: o}
	n.names.Store(&map[string]*Registration{})
	return n
}

// A Listener is what a name leads to.
type Listener interface {
	// ServeInternal serves a connection over d.Stream. Once it has called d.Accept
	// the stream is the listener's, and the connection may go on after the call
	// returns. An error without that is a refusal, as d.Refuse is: a pipe's end is
	// then closed by the network, a stream on offer stays the dialler's.
	//
	// To return without having accepted is to refuse, with ErrClosed; with ErrMoved, the
	// dial is made once more, to the listener that has the name by then. It keeps no d
	// beyond Accept or Refuse.
	ServeInternal(d *Dial) error
	// TakesOver reports whether connections may be handed over: nothing in the
	// listener's filters and chains needs the bytes themselves.
	TakesOver() bool
	// BufferBytes lowers the limit of pipes towards the listener; 0: it does not.
	BufferBytes() int
}

// Reasons of a refusal, to be found with errors.Is.
var (
	ErrNoListener = errors.New("no such internal listener")
	ErrHopLimit   = errors.New("internal hop limit exceeded")
	ErrClosed     = errors.New("internal listener closed the connection")
)

// ErrMoved is the refusal of a listener whose place another one has taken since it was
// looked up: the dial is that one's.
var ErrMoved = errors.New("another listener has the name now")

// A RefusedError says that a dial came to nothing.
type RefusedError struct {
	Addr   filter.InternalAddr
	Reason error
	// Late tells that the listener had begun to serve the connection and its own
	// upstream refused at once.
	Late bool
}

// Error is Envoy's text, which says neither why nor, when late, where; Reason does.
func (e *RefusedError) Error() string {
	if e.Late {
		return "delayed connect error: Invalid argument"
	}
	return "immediate connect error: Invalid argument|remote address:" + e.Addr.String()
}

// Unwrap returns the reason.
func (e *RefusedError) Unwrap() error { return e.Reason }

// Connect makes a connection. It returns the dialler's end of a pipe, or nil when
// d.Stream was handed over: that connection may have ended already. It blocks only
// as long as the listener neither accepts nor refuses; the error is a *RefusedError,
// or filter.ErrCanceled or os.ErrDeadlineExceeded when d ended the wait.
func (n *Network) Connect(d *Dial) (filter.Stream, error) {
	offered, outer := d.Stream, d.Outer
	for {
		s, err := n.connect(d)
		if err != ErrMoved {
			return s, err
		}
		d.renew(offered, outer)
	}
}

// connect is Connect to the listener that has the name now. ErrMoved: another one has it
// meanwhile.
func (n *Network) connect(d *Dial) (filter.Stream, error) {
	r := (*n.names.Load())[d.Addr.Listener]
	if r == nil {
		n.noListener.Add(1)
		return nil, n.refuse(d, ErrNoListener)
	}
	if d.From != nil && int(d.From.Depth) >= n.opts.MaxHops {
		n.hopLimit.Add(1)
		return nil, n.refuse(d, ErrHopLimit)
	}
	to := r.listener.Load()
	d.registration, d.to = r, *to
	var s filter.Stream
	var err error
	if d.Stream != nil && !n.opts.ForcePipes && d.to.TakesOver() {
		err = d.handOver()
	} else {
		s, err = n.pipe(d)
	}
	if g, ok := err.(gaveUp); ok {
		return nil, g.error
	}
	if err == ErrMoved {
		if now := (*n.names.Load())[d.Addr.Listener]; now != nil && now.listener.Load() != to {
			return nil, err
		}
		err = ErrNoListener
	}
	if err != nil {
		r.counts.refused.Add(1)
		return nil, n.refuse(d, err)
	}
	return s, nil
}

// refuse gives a reason the dialled address. What an inner hop was refused stays
// below it as the reason.
func (n *Network) refuse(d *Dial, reason error) error {
	var late interface{ Late() bool }
	err := &RefusedError{Addr: d.Addr, Reason: reason, Late: errors.As(reason, &late) && late.Late()}
	if n.opts.Refused != nil {
		n.opts.Refused(d, err)
	}
	return err
}

// pipe runs the listener in a goroutine of its own and waits until it accepts or
// refuses.
func (n *Network) pipe(d *Dial) (filter.Stream, error) {
	r := d.registration
	client, server := pipe.New(pipe.Options{
		LimitBytes:         n.opts.BufferBytes,
		ToServerLimitBytes: lower(n.opts.BufferBytes, d.to.BufferBytes()),
		ClientAddr:         filter.InternalClient,
		ServerAddr:         d.Addr,
	})
	d.Stream, d.Outer, d.verdict = server, nil, make(chan error, 1)
	dialler, counts := d.Dialler, &r.counts
	n.serving.Add(1)
	go n.serve(d)
	if err := d.await(); err != nil {
		client.Close()
		server.Close()
		return nil, err
	}
	counts.piped.Add(1)
	if dialler != nil {
		dialler.Accepted()
	}
	return client, nil
}

// lower returns the lower one of a limit and a listener's own; 0 is none.
func lower(limit, own int) int {
	if own > 0 {
		return min(limit, own)
	}
	return limit
}

func (n *Network) serve(d *Dial) {
	defer n.serving.Done()
	d.Refuse(d.to.ServeInternal(d)) // if it has not accepted
}
