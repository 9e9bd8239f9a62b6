package admin

import (
	"log/slog"
	"net"
	"net/http"

	"github.com/ginnel/ginnel/internal/cli"
	"github.com/ginnel/ginnel/internal/stats"
)

// Options of a server. Proxy and Stats are required.
type Options struct {
	Proxy   Proxy
	Stats   *stats.Store
	Levels  Levels       // nil: /logging changes nothing
	Version string       // of /server_info
	Flags   *cli.Flags   // for /server_info; nil: defaults
	Log     *slog.Logger // nil: discard
}

// Levels are the log levels of the proxy's components. The errors of SetLevel are
// answered as they stand.
type Levels interface {
	Levels() map[string]string
	// SetLevel changes one component, or all for "".
	SetLevel(component, level string) error
}

// A Server answers admin requests. It is an http.Handler.
type Server struct {
	opts Options
	http http.Server
}

// New returns a server that serves nothing yet.
func New(o Options) *Server {
	return &Server{opts: o}
}

// Serve answers the connections that l accepts until Close, which closes l. It
// returns nil after Close, and may be called for several listeners.
func (s *Server) Serve(l net.Listener) error { return nil }

// Close ends serving: answers that are being written get a moment, then all
// connections are closed. It returns when nothing of the server runs any more.
func (s *Server) Close() {}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {}
