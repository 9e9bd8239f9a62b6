package router

import (
	"io"
	"sync"

	"github.com/ginnel/ginnel/httpmsg"
)

// A replay keeps the body of a request, so that several tries can send it. Whichever of
// them needs more reads it from the client: a try that has ended may be waiting there
// still, and then reads for the one that followed it.
type replay struct {
	src   httpmsg.Body
	limit int    // most bytes that are kept; 0: all
	spill func() // called once when the body is larger

	mu      sync.Mutex
	more    sync.Cond
	kept    []byte
	loose   []byte // the piece read last, where it is not kept: the end of the total
	total   int    // bytes read
	err     error  // the end, or why there is none; nil: there is more
	trailer httpmsg.Header
	pulling bool // somebody reads
	drops   bool // pieces are not kept any more
}

func newReplay(src httpmsg.Body, limit int, spill func()) *replay {
	r := &replay{src: src, limit: limit, spill: spill}
	r.more.L = &r.mu
	return r
}

// whole reports whether all of the body has been read and kept.
func (r *replay) whole() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err == io.EOF && r.total == len(r.kept)
}

// last tells that no other try will follow: what comes is not kept.
func (r *replay) last() {
	r.mu.Lock()
	r.drops = true
	r.mu.Unlock()
}

// A cursor is the body as one try reads it.
type cursor struct {
	replay *replay
	at     int
	ended  bool // guarded by replay.mu
}

// end makes a Next that waits, and every later one, return.
func (c *cursor) end() {
	c.replay.mu.Lock()
	c.ended = true
	c.replay.more.Broadcast()
	c.replay.mu.Unlock()
}

// Next implements httpmsg.Body.
func (c *cursor) Next() ([]byte, error) {
	r := c.replay
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case c.ended:
			return nil, &httpmsg.ResetError{Reason: httpmsg.LocalReset}
		case c.at < len(r.kept):
			p := r.kept[c.at:len(r.kept):len(r.kept)]
			c.at = len(r.kept)
			return p, r.ends(c)
		case c.at < r.total:
			// Pieces are not kept once one try is left, which takes each before it asks for
			// another. Who has missed one shall not send the rest as if it were all.
			if c.at != r.total-len(r.loose) {
				return nil, errMissed
			}
			c.at = r.total
			return r.loose, r.ends(c)
		case r.err != nil:
			return nil, r.err
		case r.pulling:
			r.more.Wait()
		default:
			r.pull()
		}
	}
}

var errMissed = &httpmsg.ResetError{Reason: httpmsg.LocalReset, Details: "request_body_not_kept"}

// ends returns the end if nothing follows what c has got.
func (r *replay) ends(c *cursor) error {
	if r.err == io.EOF && c.at == r.total {
		return io.EOF
	}
	return nil
}

// pull reads a piece. r.mu is held, but for the time that takes.
func (r *replay) pull() {
	r.pulling = true
	r.mu.Unlock()
	p, err := r.src.Next()
	r.mu.Lock()
	r.pulling = false
	if !r.drops && r.limit > 0 && len(r.kept)+len(p) > r.limit {
		r.drops = true
		r.spill()
	}
	if r.drops {
		r.loose = p
	} else {
		r.kept = append(r.kept, p...)
	}
	r.total += len(p)
	if r.err = err; err == io.EOF {
		r.trailer = r.src.Trailer()
	}
	r.more.Broadcast()
}

// Ready implements httpmsg.Body.
func (c *cursor) Ready() bool {
	r := c.replay
	r.mu.Lock()
	defer r.mu.Unlock()
	return c.ended || c.at < r.total || r.err != nil || !r.pulling && r.src.Ready()
}

// Trailer implements httpmsg.Body.
func (c *cursor) Trailer() httpmsg.Header {
	c.replay.mu.Lock()
	defer c.replay.mu.Unlock()
	return c.replay.trailer
}
