package router

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// An upstream is a stream to a host that follows a script.
type upstream struct {
	script script
	host   *filter.Host
	gone   chan struct{} // closed by Reset
	done   chan struct{} // closed when the request is complete
	out    chan struct{} // closed when something was sent

	mu       sync.Mutex
	request  *httpmsg.Request // as it was sent
	body     []byte
	trailer  httpmsg.Header // of the request
	why      *httpmsg.ResetError
	complete bool
	flushed  sync.Once
	released int
	outcome  string
	got      httpmsg.Header // trailers of the response
	watch    func(*httpmsg.ResetError)
}

// OnReset implements httpmsg.Watched.
func (u *upstream) OnReset(f func(*httpmsg.ResetError)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.released > 0 {
		panic("watched after its release")
	}
	u.watch = f
}

// leave is the host that resets the exchange while nobody is about to find out.
func (u *upstream) leave() {
	u.mu.Lock()
	f := u.watch
	u.mu.Unlock()
	if f != nil {
		f(&httpmsg.ResetError{Reason: httpmsg.RemoteReset})
	}
}

func (u *upstream) WriteRequest(r *httpmsg.Request, end bool) error {
	if err := u.failed(); err != nil {
		return err
	}
	u.mu.Lock()
	c := *r
	c.Header = r.Header.Clone()
	u.request = &c
	u.mu.Unlock()
	if end {
		u.finish()
	}
	return nil
}

func (u *upstream) finish() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.complete {
		u.complete = true
		close(u.done)
		u.flushed.Do(func() { close(u.out) })
	}
}

func (u *upstream) failed() error {
	select {
	case <-u.gone:
		return u.why
	default:
		return nil
	}
}

func (u *upstream) WriteData(p []byte, end bool) error {
	if u.script.stuck {
		<-u.gone
	}
	if err := u.failed(); err != nil {
		return err
	}
	u.mu.Lock()
	if u.released > 0 {
		panic("written to after its release")
	}
	u.body = append(u.body, p...)
	u.mu.Unlock()
	if end {
		u.finish()
	}
	return nil
}

func (u *upstream) WriteTrailer(h httpmsg.Header) error {
	u.mu.Lock()
	u.trailer = h.Clone()
	u.mu.Unlock()
	u.finish()
	return u.failed()
}

func (u *upstream) Flush() error {
	u.flushed.Do(func() { close(u.out) })
	return u.failed()
}

func (u *upstream) Reset(why *httpmsg.ResetError) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.released > 0 {
		panic("reset after its release")
	}
	if u.why == nil {
		u.why = why
		close(u.gone)
	}
}

// next waits for the next event.
func (u *upstream) next() (event, error) {
	if len(u.script.events) == 0 {
		<-u.gone
		return event{}, u.why
	}
	e := u.script.events[0]
	select {
	case <-u.out: // what was not sent is not answered
	case <-u.gone:
		return event{}, u.why
	}
	if e.request {
		select {
		case <-u.done:
		case <-u.gone:
			return event{}, u.why
		}
	}
	if e.after > 0 {
		select {
		case <-time.After(e.after):
		case <-u.gone:
			return event{}, u.why
		}
	}
	u.script.events = u.script.events[1:]
	if e.err != nil {
		return event{}, e.err
	}
	return e, nil
}

func (u *upstream) ReadResponse() (*httpmsg.Response, error) {
	e, err := u.next()
	if err != nil {
		return nil, err
	}
	r := *e.head
	r.Header = r.Header.Clone()
	if !e.end && !r.Informational() {
		r.Body = u
	}
	return &r, nil
}

func (u *upstream) Next() ([]byte, error) {
	e, err := u.next()
	switch {
	case err != nil:
		return nil, err
	case e.end:
		u.got = e.trailer
		return []byte(e.data), io.EOF
	}
	return []byte(e.data), nil
}

func (u *upstream) Ready() bool             { return false }
func (u *upstream) Trailer() httpmsg.Header { return u.got }

func (u *upstream) Release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.released++
}

func (u *upstream) Host() *filter.Host         { return u.host }
func (u *upstream) Protocol() httpmsg.Protocol { return httpmsg.HTTP11 }
func (u *upstream) Wire() filter.HTTPBytes     { return filter.HTTPBytes{} }

func (u *upstream) Outcome(status int, why *httpmsg.ResetError) {
	u.outcome = fmt.Sprint(status)
	if why != nil {
		u.outcome = why.Reason.String()
	}
}
