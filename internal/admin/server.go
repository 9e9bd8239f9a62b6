package admin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/cli"
	"github.com/ginnel/ginnel/internal/stats"
)

// Options of a server. Proxy and Stats are required.
type Options struct {
	Proxy   Proxy
	Stats   *stats.Store
	Levels  Levels       // nil: there are no loggers to list or change
	Version string       // of /server_info
	Flags   *cli.Flags   // for /server_info; nil: defaults
	Log     *slog.Logger // nil: discard
	// Logs have an entry of each request that was answered.
	Logs   []filter.AccessLog
	NextID func() uint64 // of a connection, for Logs; it is not called without any
	// Configure applies a bootstrap, which is YAML or JSON: all of it, or on an error
	// nothing. The error is a *ConfigError if the bootstrap itself is wrong. nil: the
	// configuration cannot change.
	Configure func(ctx context.Context, bootstrap []byte) error
}

// Levels are the log levels of the proxy's components.
type Levels interface {
	Levels() map[string]string
	// SetLevel changes one component, or all for "". Its errors are answered as
	// they stand.
	SetLevel(component, level string) error
}

// A Server answers admin requests. It is an http.Handler.
type Server struct {
	opts     Options
	commands []command // in the order of /help
	origins  http.CrossOriginProtection
	http     http.Server
	serving  sync.WaitGroup // calls of Serve
	conns    conns
}

// Limits of the server. Answers have their own: see answerTime.
const (
	maxHeaderBytes    = 64 << 10
	maxBodyBytes      = 1 << 20
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	idleTimeout       = 5 * time.Minute
	answerTime        = time.Minute // for a client to take an answer
	closeTime         = time.Second // for answers under way when the server closes
)

// New returns a server that serves nothing yet.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opts: o}
	s.commands = s.table()
	s.conns.gone.L = &s.conns.mu
	s.http = http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(o.Log.With("logger", "admin").Handler(), slog.LevelDebug),
		ConnState:         s.conns.changed,
	}
	if len(o.Logs) > 0 {
		s.http.ConnContext = s.connContext
	}
	return s
}

// Serve answers the connections that l accepts until Close, which closes l. It
// returns nil after Close, and may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	s.serving.Add(1)
	defer s.serving.Done()
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends serving: answers under way get a second, then all connections are
// closed. It returns when nothing of the server runs any more, and so must not be
// called by a method of the Proxy.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	s.conns.close(cancel)
	// What they return is why they did not wait; Close of the server ends the rest.
	_ = s.http.Shutdown(ctx)
	_ = s.http.Close()
	s.serving.Wait()
	s.conns.wait()
}

// conns counts the server's connections, each of which has a goroutine.
type conns struct {
	mu      sync.Mutex
	gone    sync.Cond
	open    int
	busy    map[net.Conn]struct{} // with a request under way
	closing func()                // called when none is busy; nil: the server is open
}

// changed implements http.Server.ConnState.
func (c *conns) changed(conn net.Conn, to http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch to {
	case http.StateNew:
		c.open++
		if c.closing != nil {
			conn.Close() // accepted while the server was closing
		}
	case http.StateActive:
		if c.busy == nil {
			c.busy = make(map[net.Conn]struct{})
		}
		c.busy[conn] = struct{}{}
	case http.StateClosed:
		delete(c.busy, conn)
		c.open--
		c.gone.Broadcast()
	default:
		delete(c.busy, conn)
	}
	c.tell()
}

// close calls idle once no request is under way.
func (c *conns) close(idle func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = idle
	c.tell()
}

func (c *conns) tell() {
	if c.closing != nil && len(c.busy) == 0 {
		c.closing()
	}
}

// wait returns when no connection is left.
func (c *conns) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.open > 0 {
		c.gone.Wait()
	}
}
