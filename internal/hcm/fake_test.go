package hcm

import (
	"net"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/filter"
)

// host is the listener behind a connection.
type host struct {
	ended  chan struct{}
	drains bool
}

func (h *host) Accepted(*filter.Conn)                   {}
func (h *host) Blocks(*filter.Conn)                     {}
func (h *host) Ended(*filter.Conn)                      { close(h.ended) }
func (h *host) Own(*filter.Conn, filter.Closer) bool    { return true }
func (h *host) Closing(*filter.Conn) string             { return "" }
func (h *host) DrainClose(*filter.Conn) bool            { return h.drains }
func (h *host) Replace(c *filter.Conn, s filter.Stream) { c.Stream = s }

// noStream is a stream that only ends.
type noStream struct{ net.Conn }

func (noStream) Close() error      { return nil }
func (noStream) CloseWrite() error { return nil }
func (noStream) Reset() error      { return nil }

// entries is an access log.
type entries struct {
	mu   sync.Mutex
	list []entry
}

type entry struct {
	kind           filter.AccessLogType
	flags, details string
	code           int
	received, sent uint64
	remote         string
}

func (e *entries) Log(i *filter.Info, t filter.AccessLogType) {
	e.mu.Lock()
	defer e.mu.Unlock()
	remote := ""
	if i.Remote != nil {
		remote = i.Remote.String()
	}
	e.list = append(e.list, entry{t, i.Flags.String(), i.Rest().Details, i.HTTP().Code, i.Received, i.Sent, remote})
}

func (e *entries) NewAccessLog(*filter.Env) (filter.AccessLog, error) { return e, nil }

func (e *entries) last(t testing.TB) entry {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.list) == 0 {
		t.Fatal("no log entry was written")
	}
	return e.list[len(e.list)-1]
}
