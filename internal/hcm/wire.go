package hcm

import (
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/filter"
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
	if w.awaits && (n > 0 || err == io.EOF) {
		w.awaits = false
		if err := w.conn.filter.FirstData(); err != nil {
			w.conn.CloseLocal(err.Error())
			return 0, err
		}
	}
	return n, err
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

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
