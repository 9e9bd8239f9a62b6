package hcm

import (
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// A wire is the stream of a connection for which reading or writing means more: what
// waits for the first bytes runs before them, and a client must not let writes wait for
// long. The codecs of other connections have the stream itself, and its shorter ways.
type wire struct {
	filter.Stream
	conn   *conn
	awaits bool // functions of filter.Conn.OnData wait. The reader's
}

// Read implements io.Reader.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Stream.Read(p)
	if n > 0 || err == io.EOF {
		if err := w.first(); err != nil {
			return 0, err
		}
	}
	return n, err
}

// first runs what waits for the first bytes, or the end.
func (w *wire) first() error {
	if !w.awaits {
		return nil
	}
	w.awaits = false
	err := w.conn.filter.FirstData()
	if err != nil {
		w.conn.CloseLocal(err.Error())
	}
	return err
}

// Write implements io.Writer. A write that the client lets wait for longer than the
// listener's high watermark timeout ends the connection.
func (w *wire) Write(p []byte) (int, error) {
	if limit := w.conn.mayBeFull(); limit > 0 {
		defer time.AfterFunc(limit, func() { w.conn.CloseLocal(filter.HighWatermarkReason) }).Stop()
	}
	return w.Stream.Write(p)
}

// OnHangup has f called when the client ends its direction or the connection.
func (w *wire) OnHangup(f func()) (stop func()) {
	if h := w.conn.service.env.Hangups; h != nil {
		return h.Watch(w.Stream, f)
	}
	return func() {}
}

// A pipeWire is the wire of an end of a pipe: bytes are taken where they lie, and an end of
// one direction is another thing than one of both.
type pipeWire struct {
	*wire
	pipe pipeStream
}

// A pipeStream is what codecs look for in a pipe.
type pipeStream interface {
	ReadChunk() (*pipe.Chunk, error)
	Buffered() (in, out int)
	PeerClosed() bool
	PeerReset() bool
}

// ReadChunk is that of pipe.Conn.
func (w *pipeWire) ReadChunk() (*pipe.Chunk, error) {
	k, err := w.pipe.ReadChunk()
	if err != nil && err != io.EOF {
		return nil, err
	}
	if bad := w.first(); bad != nil {
		if k != nil {
			k.Free()
		}
		return nil, bad
	}
	return k, err
}

// Buffered is that of pipe.Conn.
func (w *pipeWire) Buffered() (in, out int) { return w.pipe.Buffered() }

// PeerClosed is that of pipe.Conn.
func (w *pipeWire) PeerClosed() bool { return w.pipe.PeerClosed() }

// PeerReset is that of pipe.Conn.
func (w *pipeWire) PeerReset() bool { return w.pipe.PeerReset() }

// A socketWire is the wire of a socket. Its descriptor is not given away: what is read and
// written past the wire would pass unnoticed.
type socketWire struct {
	*wire
	socket socketStream
}

// A socketStream is what codecs look for in a socket.
type socketStream interface {
	Unsent() (n int, err error)
	PeerReset() bool
}

// Unsent is that of netconn.Socket.
func (w *socketWire) Unsent() (n int, err error) { return w.socket.Unsent() }

// PeerReset is that of netconn.Socket.
func (w *socketWire) PeerReset() bool { return w.socket.PeerReset() }

// outer is the wire with what else its stream can do.
func (w *wire) outer() filter.Stream {
	switch s := w.Stream.(type) {
	case pipeStream:
		return &pipeWire{w, s}
	case socketStream:
		return &socketWire{w, s}
	}
	return w
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
