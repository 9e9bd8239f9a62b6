// Package ginnel runs an Envoy v3 configuration inside a Go program.
//
// A [Proxy] is configured as an Envoy would be and serves the same traffic. The
// program around it takes part in the proxy's in-process network: it dials internal
// listeners by name ([Proxy.Dial]), is itself dialled by the proxy's clusters
// ([Proxy.Listen], [Proxy.HandleConn]), and sends and reads the metadata and filter
// state that travel with such connections ([WithPassthrough], [PassthroughFrom]).
package ginnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/app"
	"github.com/ginnel/ginnel/internal/discovery"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/load"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats"
)

// A Proxy runs a configuration. Its fields are read by Start and not changed after.
// The zero Proxy is an empty one: it still has an in-process network.
type Proxy struct {
	Bootstrap  *bootstrapv3.Bootstrap // nil: empty
	Extensions *extension.Registry    // nil: all that ginnel has (package builtin)
	Logger     *slog.Logger           // nil: nothing is logged
	MaxHops    int                    // internal hops that one chain of connections may pass, at most 65535; 0: 16
	// DrainTime is how long connections live on whose listener or filter chain Apply has
	// removed or replaced; 0: 10 minutes, as Envoy; negative: they are closed at once.
	DrainTime time.Duration

	// For tests: never hand a stream over; never move bytes in event loops.
	forcePipes, goroutinePumps bool

	mu     sync.Mutex
	app    *app.App
	config *discovery.Config
}

// ReadBootstrap reads a configuration file as Envoy does, by its extension: .yaml,
// .yml, .json, .pb, .pb_text or .textproto. The error names every fault with file,
// line and column.
func ReadBootstrap(file string) (*bootstrapv3.Bootstrap, error) {
	r, err := load.Load(load.Source{Path: file}, builtin.Registry())
	if err != nil {
		return nil, err
	}
	return r.Bootstrap, r.Err(false)
}

// Validate compiles the configuration and binds nothing. The error names every fault
// with its field path.
func (p *Proxy) Validate() error {
	_, err := p.compile(p.Bootstrap)
	return err
}

func (p *Proxy) drainTime() time.Duration {
	if p.DrainTime == 0 {
		return 10 * time.Minute
	}
	return max(p.DrainTime, 0)
}

func (p *Proxy) registry() *extension.Registry {
	if p.Extensions == nil {
		return builtin.Registry()
	}
	return p.Extensions
}

func (p *Proxy) compile(b *bootstrapv3.Bootstrap) (*load.Result, error) {
	if b == nil {
		b = &bootstrapv3.Bootstrap{}
	}
	r, err := load.Load(load.Source{Message: b}, p.registry())
	if err != nil {
		return nil, err
	}
	return r, r.Err(false)
}

// Start starts the proxy; it returns when every listener accepts. On an error
// nothing is left running. The proxy stops when ctx ends, as by Close.
func (p *Proxy) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.app != nil {
		return errors.New("ginnel: the proxy has been started before")
	}
	r, err := p.compile(p.Bootstrap)
	if err != nil {
		return err
	}
	c := discovery.New(r.Bootstrap, r.Plan, p.registry(), p.Logger)
	var a *app.App
	err = c.Build(func(s *plan.Server) (apply func(context.Context, *plan.Server) error, store *stats.Store, err error) {
		a, err = app.New(s, app.Options{DrainTime: p.drainTime(), Log: p.Logger, MaxHops: p.MaxHops, ForcePipes: p.forcePipes, GoroutinePumps: p.goroutinePumps})
		if err != nil {
			return nil, nil, err
		}
		return a.Apply, a.Stats(), nil
	})
	if err != nil {
		return err
	}
	forget := context.AfterFunc(ctx, a.Close)
	if err := a.Start(); err != nil {
		forget()
		a.Close()
		return err
	}
	p.app, p.config = a, c
	watching, over := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		c.Run(watching)
	}()
	a.OnStop(func() bool {
		over()
		<-ran
		return forget()
	})
	return nil
}

// Apply makes b the configuration of the running proxy; Bootstrap stays what Start began
// with. It must not be changed afterwards. Clusters, listeners and filter chains that are
// the same as before are not touched, nor are the names of HandleConn and Listen.
// Everything new is built first: addresses are bound, hosts whose health is checked are
// checked; ctx bounds the time for that. Then all of it takes effect, or, with an error,
// nothing. Connections of what was removed or replaced drain for DrainTime.
//
// Only static_resources can change: the error names what else differs. What the sources
// of dynamic_resources have delivered stays.
func (p *Proxy) Apply(ctx context.Context, b *bootstrapv3.Bootstrap) error {
	if _, err := p.running(); err != nil {
		return err
	}
	r, err := p.compile(b)
	if err != nil {
		return err
	}
	return p.config.SetBootstrap(ctx, r.Bootstrap)
}

// Run starts the proxy and returns when it has stopped.
func (p *Proxy) Run(ctx context.Context) error {
	if err := p.Start(ctx); err != nil {
		return err
	}
	return p.Wait()
}

// Wait returns when the proxy has stopped.
func (p *Proxy) Wait() error {
	a, err := p.running()
	if err != nil {
		return err
	}
	a.Wait()
	return nil
}

// Shutdown stops accepting, waits until the open connections have ended or ctx has,
// and closes what is left; the error is then ctx's.
func (p *Proxy) Shutdown(ctx context.Context) error {
	a, err := p.running()
	if err != nil {
		return err
	}
	return a.Shutdown(ctx)
}

// Close stops the proxy at once and returns when nothing of it runs any more. A
// proxy that was never started closes without error.
func (p *Proxy) Close() error {
	if a, err := p.running(); err == nil {
		a.Close()
	}
	return nil
}

var errNotStarted = errors.New("ginnel: the proxy is not running")

func (p *Proxy) running() (*app.App, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.app == nil {
		return nil, errNotStarted
	}
	return p.app, nil
}

// Addr returns the first bound address of a listener: the real port where the
// configured one is 0. It is nil when there is no such listener, or only an internal
// one.
func (p *Proxy) Addr(listener string) net.Addr {
	a, err := p.running()
	if err != nil {
		return nil
	}
	for _, l := range a.Listeners() {
		if addrs := l.Addrs(); l.Info().Name == listener && len(addrs) > 0 {
			return addrs[0]
		}
	}
	return nil
}

// AdminAddr returns the address of the admin server, nil when there is none.
func (p *Proxy) AdminAddr() net.Addr {
	a, err := p.running()
	if err != nil {
		return nil
	}
	return a.AdminAddr()
}

// An Addr leads to an internal listener; Endpoint only tells hosts apart.
type Addr = filter.InternalAddr

// Dial connects as a cluster would. With network "internal" the address is the name
// of an internal listener, or name/endpoint-id if no listener bears the whole text as
// its name; a ":port" after a name that exists without it is ignored, for
// http.Transport adds one. Other networks go to net.Dialer, so that Dial fits
// wherever a dial function is asked for.
//
// What ctx carries from [WithPassthrough] arrives with the connection. The returned
// connection has CloseWrite and Reset beside net.Conn's methods. Dial waits until the
// listener accepts or refuses, or ctx ends.
func (p *Proxy) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "internal" {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	a, err := p.running()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	to := resolve(a.Network(), address)
	d := &inproc.Dial{Addr: to, Cancel: ctx.Done()}
	if pt, ok := PassthroughFrom(ctx); ok {
		d.Passthrough = *pt
	}
	s, err := a.Network().Connect(d)
	if errors.Is(err, filter.ErrCanceled) && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: to, Err: err}
	}
	return s, nil
}

func resolve(n *inproc.Network, address string) Addr {
	if n.Active(address) {
		return Addr{Listener: address}
	}
	if host, _, err := net.SplitHostPort(address); err == nil && n.Active(host) {
		return Addr{Listener: host}
	}
	name, endpoint, _ := strings.Cut(address, "/")
	return Addr{Listener: name, Endpoint: endpoint}
}

// HandleConn serves the connections to an internal name by h, which owns each of
// them. The same name twice is an error; remove takes the name back and closes its
// connections.
func (p *Proxy) HandleConn(name string, h filter.ConnHandler) (remove func(), err error) {
	a, err := p.running()
	if err != nil {
		return nil, err
	}
	if remove, err = a.Handle(name, h); err != nil {
		return nil, fmt.Errorf("ginnel: %w", err)
	}
	return remove, nil
}

type passthroughKey struct{}

// WithPassthrough returns a context whose metadata and filter state travel with the
// connections that are dialled with it.
func WithPassthrough(ctx context.Context, p *filter.Passthrough) context.Context {
	return context.WithValue(ctx, passthroughKey{}, p)
}

// PassthroughFrom returns what ctx carries from WithPassthrough.
func PassthroughFrom(ctx context.Context) (*filter.Passthrough, bool) {
	p, ok := ctx.Value(passthroughKey{}).(*filter.Passthrough)
	return p, ok
}
