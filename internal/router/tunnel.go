package router

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// A tunnel is the far end of a CONNECT that ends here: a connection to a host, as if it
// were an exchange. Its request is the bytes to the host, its response those from it. The
// two directions end each on their own.
type tunnel struct {
	info     *filter.Info
	host     *filter.Host
	conn     filter.UpstreamConn
	stream   filter.Stream
	head     []byte // what goes before the bytes; nil: nothing
	response httpmsg.Response

	chunk          *pipe.Chunk // whose bytes are in use; nil: none
	buf            *[]byte     // likewise; nil: none
	received, sent atomic.Uint64

	ended   bool // the host has ended its direction
	written bool // this side has ended its own
}

// tunnelBytes is how much is read at once.
const tunnelBytes = 32 << 10

var tunnelBuffers = sync.Pool{New: func() any { b := make([]byte, tunnelBytes); return &b }}

// A dial is a filter.Hop: it connects a tunnel.
type dial struct {
	try  *try
	conn filter.UpstreamConn // nil until connected
}

// Waiting implements filter.Hop.
func (d *dial) Waiting() <-chan struct{} { return d.try.waits() }

// Deadline implements filter.Hop: a channel ends the wait.
func (d *dial) Deadline() time.Time { return time.Time{} }

// Blocks implements filter.Hop: the client's stream has a goroutine of its own.
func (d *dial) Blocks() {}

// Connected implements filter.Hop.
func (d *dial) Connected(u filter.UpstreamConn) { d.conn = u }

// terminates reports whether the request is a CONNECT that ends here.
func (x *call) terminates() bool {
	r := x.stream.Request
	if !r.Connect() && r.Method != "POST" {
		return false
	}
	u, ok := x.action.Upgrades["connect"]
	return ok && u.Connect != nil && (r.Connect() || u.Connect.AllowPost)
}

// dial connects to a host in place of a try's stream.
func (t *try) dial(s *filter.StreamRequest) (filter.UpstreamStream, error) {
	d := &dial{try: t}
	err := t.cluster.Connect(&filter.ConnectRequest{Info: t.info, Hop: d, Hash: s.Hash, Match: s.Match, Route: s.Route})
	switch {
	case err != nil:
		return nil, err
	case d.conn == nil || d.conn.Stream() == nil: // it was not offered a stream to take over
		return nil, filter.ErrNoHost
	}
	u := &tunnel{info: t.info, host: t.info.Up.Host, conn: d.conn, stream: d.conn.Stream()}
	if v := t.call.action.Upgrades["connect"].Connect.ProxyProtocol; v != 0 {
		u.head = proxyHeader(v, t.info)
	}
	return u, nil
}

// WriteRequest implements httpmsg.Exchange: the head is not sent.
func (u *tunnel) WriteRequest(_ *httpmsg.Request, end bool) error {
	if u.head != nil {
		if _, err := u.stream.Write(u.head); err != nil {
			return broken(err)
		}
	}
	if end {
		return u.finish()
	}
	return nil
}

// ReadResponse implements httpmsg.Exchange: being connected is the answer.
func (u *tunnel) ReadResponse() (*httpmsg.Response, error) {
	u.response = httpmsg.Response{Status: 200, Body: u}
	return &u.response, nil
}

// WriteData implements httpmsg.Writer.
func (u *tunnel) WriteData(p []byte, end bool) error {
	if len(p) > 0 {
		n, err := u.stream.Write(p)
		u.conn.Moved(0, uint64(n))
		u.sent.Add(uint64(n))
		if err != nil {
			return broken(err)
		}
	}
	if end {
		return u.finish()
	}
	return nil
}

// WriteTrailer implements httpmsg.Writer: trailers are an end, and nothing more.
func (u *tunnel) WriteTrailer(httpmsg.Header) error { return u.finish() }

// Flush implements httpmsg.Writer: nothing is held back.
func (u *tunnel) Flush() error { return nil }

func (u *tunnel) finish() error {
	u.written = true
	if err := u.stream.CloseWrite(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ENOTCONN) {
		return broken(err)
	}
	return nil
}

// Reset implements httpmsg.Writer.
func (u *tunnel) Reset(*httpmsg.ResetError) { _ = u.stream.Reset() }

// broken is what an error of the connection is to the exchange.
func broken(err error) *httpmsg.ResetError {
	return &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination, Err: err}
}

// Next implements httpmsg.Body.
func (u *tunnel) Next() ([]byte, error) {
	u.free()
	p, err := u.next()
	u.conn.Moved(uint64(len(p)), 0)
	u.received.Add(uint64(len(p)))
	switch {
	case err == nil:
		return p, nil
	case err == io.EOF:
		u.ended = true
		return p, io.EOF
	}
	return nil, broken(err)
}

// next takes the bytes of a pipe as they are; of a socket it reads some.
func (u *tunnel) next() ([]byte, error) {
	if s, ok := u.stream.(interface{ ReadChunk() (*pipe.Chunk, error) }); ok {
		k, err := s.ReadChunk()
		if err != nil {
			return nil, err
		}
		u.chunk = k
		return k.Bytes(), nil
	}
	if s, ok := u.stream.(interface{ WaitReadable() error }); ok { // idle, it holds no buffer
		if err := s.WaitReadable(); err != nil {
			return nil, err
		}
	}
	u.buf = tunnelBuffers.Get().(*[]byte)
	n, err := u.stream.Read(*u.buf)
	if n > 0 {
		err = nil // an end comes again
	}
	return (*u.buf)[:n], err
}

// free gives back what the last piece was in.
func (u *tunnel) free() {
	if u.chunk != nil {
		u.chunk.Free()
		u.chunk = nil
	}
	if u.buf != nil {
		tunnelBuffers.Put(u.buf)
		u.buf = nil
	}
}

// Ready implements httpmsg.Body.
func (u *tunnel) Ready() bool {
	s, ok := u.stream.(interface{ Buffered() (in, out int) })
	if !ok {
		return false
	}
	in, _ := s.Buffered()
	return in > 0
}

// Trailer implements httpmsg.Body.
func (u *tunnel) Trailer() httpmsg.Header { return nil }

// A watch tells of a host that has closed both directions, or reset them: what the client
// still sends would reach nobody. Only a pipe knows; a socket fails the next write.
type watch struct {
	mu   sync.Mutex
	over bool
	f    func()
}

// onGone has f called, once, when the host is gone; when stop has returned it is not
// running.
func (u *tunnel) onGone(f func()) (stop func()) {
	s, ok := u.stream.(interface{ OnPeerGone(func(reset bool)) })
	if !ok {
		return func() {}
	}
	w := &watch{f: f}
	s.OnPeerGone(func(bool) { w.tell() })
	return w.stop
}

func (w *watch) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.over = true
		w.f()
	}
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

// Release implements httpmsg.Exchange.
func (u *tunnel) Release() {
	u.free()
	if u.ended && u.written {
		_ = u.stream.Close()
	} else {
		_ = u.stream.Reset()
	}
	u.conn.Closed(!u.ended)
}

// Host implements filter.UpstreamStream.
func (u *tunnel) Host() *filter.Host { return u.host }

// Protocol implements filter.UpstreamStream: none of HTTP.
func (u *tunnel) Protocol() httpmsg.Protocol { return 0 }

// Wire implements filter.UpstreamStream.
func (u *tunnel) Wire() filter.HTTPBytes {
	return filter.HTTPBytes{Received: u.received.Load(), Sent: u.sent.Load()}
}

// note writes the bytes so far to the Info, which its owner does.
func (u *tunnel) note() { u.info.Up.Received, u.info.Up.Sent = u.received.Load(), u.sent.Load() }

// Outcome implements filter.UpstreamStream: the cluster knows of connections itself.
func (u *tunnel) Outcome(int, *httpmsg.ResetError) {}
