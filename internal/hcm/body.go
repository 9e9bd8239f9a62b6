package hcm

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/httpmsg"
)

// A requestBody is the body of a request as handlers have it: it notes what comes. One
// goroutine reads it, which need not be the stream's.
type requestBody struct {
	stream   *stream
	in       httpmsg.Body
	trailer  httpmsg.Header // set before done
	received atomic.Uint64
	ended    atomic.Int64 // when the request was complete, since its start; 0: it is not
	user     atomic.Int32 // who reads: a handler, or nobody until drain does
	done     atomic.Bool
}

// Who reads a body.
const (
	nobody = iota
	handler
	drainer
)

// begin takes the body of a request, if it has one, into its hands.
func (b *requestBody) begin(r *httpmsg.Request) {
	if b.received.Load() != 0 {
		b.received.Store(0)
	}
	if b.user.Load() != nobody {
		b.user.Store(nobody)
	}
	if b.in = r.Body; b.in != nil {
		setInt(&b.ended, 0)
		set(&b.done, false)
		r.Body = b
		return
	}
	setInt(&b.ended, 1)
	set(&b.done, true)
}

// set stores v where it is another value: to store costs as much as a lock, and most of
// what is set for each request is as it was.
func set(at *atomic.Bool, v bool) {
	if at.Load() != v {
		at.Store(v)
	}
}

// setInt is set for a number.
func setInt(at *atomic.Int64, v int64) {
	if at.Load() != v {
		at.Store(v)
	}
}

func (b *requestBody) end() { b.in, b.trailer = nil, nil }

// Next implements httpmsg.Body.
func (b *requestBody) Next() ([]byte, error) {
	if !b.user.CompareAndSwap(nobody, handler) && b.user.Load() == drainer { // too late
		return nil, &httpmsg.ResetError{Reason: httpmsg.LocalReset}
	}
	return b.next()
}

func (b *requestBody) next() ([]byte, error) {
	p, err := b.in.Next()
	b.received.Add(uint64(len(p)))
	s := b.stream
	s.touch()
	if err == io.EOF && !b.done.Load() {
		b.trailer = b.in.Trailer()
		b.ended.Store(int64(max(time.Since(s.info.Start), 1)))
		b.done.Store(true)
	}
	if err != nil && err != io.EOF {
		b.cut(err)
	}
	return p, err
}

// cut tells the stream that its client has ended the request out of order: who reads it
// may be the first to know.
func (b *requestBody) cut(err error) {
	var why *httpmsg.ResetError
	if !errors.As(err, &why) {
		return
	}
	switch why.Reason {
	case httpmsg.ConnectionTermination, httpmsg.RemoteReset, httpmsg.RemoteRefused, httpmsg.ProtocolError:
		b.stream.clientReset(why) // others are this side's doing
	}
}

// Ready implements httpmsg.Body.
func (b *requestBody) Ready() bool { return b.in.Ready() }

// Trailer implements httpmsg.Body.
func (b *requestBody) Trailer() httpmsg.Header { return b.in.Trailer() }

// mostDrained is how much of a request that nobody reads is read to keep the connection.
const mostDrained = 64 << 10

// drain reads what has come of a body that no handler has read, and reports whether that
// is all of it.
func (b *requestBody) drain() bool {
	if !b.user.CompareAndSwap(nobody, drainer) {
		return b.done.Load()
	}
	for n := 0; n < mostDrained && !b.done.Load() && b.Ready(); {
		p, err := b.next()
		if err != nil {
			break
		}
		n += len(p)
	}
	return b.done.Load()
}

// doneAt is when the request was complete; 0: it is not.
func (b *requestBody) doneAt() time.Duration { return time.Duration(b.ended.Load()) }

// trailers returns the trailers of a complete request.
func (b *requestBody) trailers() httpmsg.Header {
	if !b.done.Load() {
		return nil
	}
	return b.trailer
}
