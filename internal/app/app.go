// Package app runs a plan: it wires the packages that make up a proxy, starts and
// stops them, and is the only one that knows them all.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/accesslog"
	"github.com/ginnel/ginnel/internal/admin"
	"github.com/ginnel/ginnel/internal/cli"
	"github.com/ginnel/ginnel/internal/drain"
	"github.com/ginnel/ginnel/internal/eventlog"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/listener"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/pump"
	"github.com/ginnel/ginnel/internal/resource"
	"github.com/ginnel/ginnel/internal/secret"
	"github.com/ginnel/ginnel/internal/stats"
	"github.com/ginnel/ginnel/internal/upstream"
)

// Options of a proxy that do not come from its configuration.
type Options struct {
	Concurrency    int           // worker_N statistics, server.concurrency and event loops; 0: GOMAXPROCS
	DrainTime      time.Duration // how long connections of a removed listener or filter chain live on
	DrainAtOnce    bool          // connections are asked to end at once, not spread over the drain time
	LogFlushEvery  time.Duration // access logs; 0: 10 s
	LogFlushBytes  int           // access logs; 0: 64 KiB
	MaxHops        int           // internal hops of one chain, at most inproc.MostHops; 0: inproc.DefaultMaxHops
	ForcePipes     bool          // for tests: internal hops never hand a stream over
	GoroutinePumps bool          // for tests: bytes never move in event loops
	AdminAddrFile  string        // where the admin address is written; "": nowhere
	StatsTags      []string      // tag:value for all statistics
	Log            *slog.Logger  // nil: discard
	Levels         admin.Levels  // nil: log levels cannot be changed
	Version        string        // for /server_info
	Flags          *cli.Flags    // for /server_info; nil: defaults
	// Configure reads and applies a bootstrap for /config of the admin server. nil: it
	// takes none.
	Configure func(ctx context.Context, bootstrap []byte) error
}

// An App is a running proxy.
type App struct {
	opts    Options
	plan    atomic.Pointer[plan.Server] // that was applied last
	log     *slog.Logger
	started time.Time

	store     *stats.Store
	root      filter.Scope
	logs      *accesslog.Files
	network   *inproc.Network
	pumps     *pump.Group
	hangups   netconn.Hangups
	hosts     *upstream.Set
	beside    background
	secrets   *secret.Store
	resources *resource.Hub
	runtime   *runtime
	env       *filter.Env
	server    *serverStats
	admin     *admin.Server // nil: none

	adminSocket *netconn.Listener // nil: none

	applying  sync.Mutex // held for the whole of a change; taken before handling
	mu        sync.Mutex
	listeners []*entry            // in the order of the configuration, then those of the Go program
	warming   map[string]*warming // listeners that take their place later; written with applying held, too
	draining  map[*entry]bool     // what was removed or replaced and has connections
	handling  sync.Mutex          // names of the Go program, changes, the graceful drain and the end, one after the other; taken before mu
	stops     []scopeOfDrain      // of listeners that were stopped for good; guarded by handling
	drains    [scopes]drain.Drain // that the admin has asked for
	state     atomic.Int32
	unhealthy atomic.Bool  // the admin said so
	total     atomic.Int64 // open connections from sockets
	table     listener.Table
	limit     listener.Limit
	stopping  chan struct{} // closed when the app begins to stop
	stopped   chan struct{} // closed when nothing of it runs any more
	once      sync.Once
	tasks     sync.WaitGroup
	told      sync.Map // refusals that were warned of
	forget    func() bool
}

// New builds a proxy from a plan. Addresses are bound, so that conflicts show now;
// nothing is served before Start. On an error nothing is left behind.
func New(p *plan.Server, o Options) (*App, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Concurrency <= 0 {
		o.Concurrency = goruntime.GOMAXPROCS(0)
	}
	if o.MaxHops > inproc.MostHops {
		return nil, fmt.Errorf("limit of %d internal hops: %d is the most", o.MaxHops, inproc.MostHops)
	}
	a := &App{
		opts: o, log: o.Log, started: time.Now(), draining: make(map[*entry]bool),
		stopping: make(chan struct{}), stopped: make(chan struct{}),
	}
	a.plan.Store(p)
	a.state.Store(int32(PreInitializing))
	if err := a.build(); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// build makes the parts in the order in which they need each other.
func (a *App) build() error {
	p := a.plan.Load()
	store, err := newStore(p, a.opts.StatsTags)
	if err != nil {
		return err
	}
	a.store, a.root = store, scope{store.Scope("")}
	a.server = newServerStats(a)
	a.logs = accesslog.NewFiles(a.logOptions())
	a.pumps = &pump.Group{Loops: a.loops()}
	a.store.OnRead(a.pumps.Settle)
	a.network = inproc.New(inproc.Options{
		BufferBytes: p.InternalBufferBytes,
		MaxHops:     a.opts.MaxHops, ForcePipes: a.opts.ForcePipes,
		Refused: a.refused,
	})
	a.runtime = newRuntime(p.Runtime)
	a.secrets = secret.New(secret.Options{Stats: store, Log: a.log, Run: a.beside.run})
	a.resources = resource.New(store, a.log)
	outliers, err := a.outlierLog(p.OutlierLog)
	if err != nil {
		return err
	}
	a.hosts = upstream.NewSet(upstream.Options{
		Secrets: a.secrets, Resources: a.resources, Stats: a.root, Network: a.network, Runtime: a.runtime, Hangups: &a.hangups,
		LogFiles: a.logs, Outliers: outliers,
	})
	a.store.OnRead(a.hosts.Settle)
	if err := a.hosts.Apply(p.Clusters); err != nil {
		return err
	}
	a.env = &filter.Env{
		Stats: a.root, Clusters: a.hosts, Pumps: a.pumps, Hangups: &a.hangups,
		Log: a.log, Node: p.Node, Runtime: a.runtime, LogFiles: a.logs,
		HealthFailed: a.unhealthy.Load, Background: a.beside.run, Secrets: a.secrets, Resources: a.resources,
	}
	a.limit.Most = p.MaxConnections
	for _, l := range p.Listeners {
		if _, err := a.add(l, false); err != nil {
			return err
		}
	}
	return a.bindAdmin()
}

// loops is how many event loops move bytes.
func (a *App) loops() int {
	if a.opts.GoroutinePumps {
		return 0
	}
	return a.opts.Concurrency
}

// Start begins to serve, in an order that docs/architecture.md tells: the admin server
// answers, what listeners have asked for by name is there, internal listeners are, so that
// no connection from outside finds a hop missing, hosts are found and checked, all sockets
// listen, so that what one cannot do shows before anything is accepted, and then all of them
// accept. It returns ErrStopped if Close was called meanwhile.
func (a *App) Start() error {
	var ctx context.Context
	var cancel context.CancelFunc
	err := a.unlessEnded(func() error {
		ctx, cancel = a.whileRunning(context.Background())
		if err := a.pumps.Open(); err != nil {
			return fmt.Errorf("event loops: %w", err)
		}
		return a.startAdmin()
	})
	if cancel != nil {
		defer cancel()
	}
	if err == nil {
		err = a.await(ctx)
	}
	if err == nil {
		err = a.unlessEnded(func() error {
			a.startListeners(true)
			return nil
		})
	}
	if err != nil {
		return err
	}
	a.hosts.Start(ctx)
	return a.unlessEnded(a.serve)
}

// unlessEnded calls f, and Close waits for that, if the proxy is not about to stop.
func (a *App) unlessEnded(f func() error) error {
	a.handling.Lock()
	defer a.handling.Unlock()
	if a.ended() {
		return ErrStopped
	}
	return f()
}

// serve is the last part of Start.
func (a *App) serve() error {
	for _, e := range a.snapshot() {
		if err := e.listener.Listen(); err != nil {
			a.server.createFailure.Add(1)
			return &listener.Error{Name: e.listener.Info().Name, Err: err}
		}
	}
	a.startListeners(false)
	a.server.workersStarted.Add(1)
	a.tasks.Go(a.flushStats)
	a.state.Store(int32(Live))
	a.server.live(a)
	return nil
}

// startListeners makes the internal listeners, or the others, reachable.
func (a *App) startListeners(internal bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.listeners {
		if e.listener.Plan().Internal == internal {
			e.start(a)
		}
	}
}

// outlierLog opens the file that ejections of hosts are written to, if there is to be one.
func (a *App) outlierLog(path string) (*eventlog.Log, error) {
	if path == "" {
		return nil, nil
	}
	return eventlog.Open(a.logs, []string{path})
}

// Wait returns when the proxy has stopped.
func (a *App) Wait() { <-a.stopped }

// Stats returns the statistics.
func (a *App) Stats() *stats.Store { return a.store }

// ReopenLogs opens the access logs' files anew.
func (a *App) ReopenLogs() { a.logs.Reopen() }

// OnStop keeps a function that gives back what would keep the proxy reachable once it
// has stopped; it is called then. It must be set before Start's caller goes on.
func (a *App) OnStop(forget func() bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget = forget
}

// Done is closed when the proxy has stopped.
func (a *App) Done() <-chan struct{} { return a.stopped }

// Shutdown stops accepting and waits for open connections to end, until ctx ends;
// then it closes what is left.
func (a *App) Shutdown(ctx context.Context) error {
	a.state.Store(int32(Draining))
	a.StopListeners(everything)
	for _, e := range a.snapshot() {
		e.listener.DrainAll()
	}
	idle := make(chan struct{})
	go func() {
		for _, e := range a.all() {
			e.listener.Wait()
		}
		close(idle)
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = ctx.Err()
	}
	a.Close()
	return err
}

// Close ends the proxy at once: connections are closed in an orderly way, access
// logs are written out. It returns when nothing of it runs any more.
func (a *App) Close() {
	a.once.Do(func() {
		a.handling.Lock()
		close(a.stopping)
		a.handling.Unlock()
		a.lastChange()
		a.closeAll()
		a.tasks.Wait()
		a.mu.Lock()
		forget := a.forget
		a.mu.Unlock()
		if forget != nil {
			forget()
		}
		close(a.stopped)
	})
	<-a.stopped
}

// lastChange returns when a change that was under way has given up, or come to its end.
// None begins any more.
func (a *App) lastChange() {
	a.applying.Lock()
	defer a.applying.Unlock()
}

// What connections log that the end of the process cut short (Envoy).
const (
	purged         = "purging_socket_that_have_not_progressed_to_connections"
	purgedInternal = "Active_Internal_Listener_destructor"
)

func endReason(l *listener.Listener) string {
	if l.Plan().Internal {
		return purgedInternal
	}
	return purged
}

func (a *App) closeAll() {
	a.stopAdmin()
	a.dropWarming()
	all := a.all()
	for _, e := range all {
		a.unlist(e)
		e.listener.Stop()
	}
	for _, e := range all {
		e.listener.Doom(endReason(e.listener)) // all of them, before one hop's end is another's
	}
	for _, e := range all {
		e.listener.CloseConns(endReason(e.listener))
	}
	for _, e := range all {
		e.listener.Wait()
	}
	if a.pumps != nil {
		a.pumps.Close(purged)
		a.pumps.Wait()
	}
	a.beside.end()
	if a.hosts != nil {
		a.hosts.Close()
	}
	if a.resources != nil {
		a.resources.Close()
	}
	a.hangups.Close()
	if a.network != nil {
		a.network.Wait()
	}
	if a.logs != nil {
		if err := a.logs.Close(); err != nil {
			a.log.Error("access logs are not whole: " + err.Error())
		}
	}
}

// refused says why an internal dial came to nothing, which Envoy's texts in access
// logs do not: as a warning at the hop where it began, the first time for each name
// and reason.
func (a *App) refused(by *inproc.Dial, err *inproc.RefusedError) {
	if err.Reason == inproc.ErrHopLimit { // not of a hop further in
		a.server.hopLimit.Add(1)
	}
	level, reason := slog.LevelDebug, root(err)
	if reason == err.Reason {
		if _, again := a.told.LoadOrStore(err.Addr.Listener+"|"+reason.Error(), true); !again {
			level = slog.LevelWarn
		}
	}
	if !a.log.Enabled(context.Background(), level) {
		return
	}
	path, chain := cmp.Or(by.By, "a Go program"), uint64(0)
	if from := by.From; from != nil {
		path, chain = joinPath(from.Path()), from.ChainID
	}
	a.log.Log(context.Background(), level, fmt.Sprintf("internal dial refused: %v: %s -> %s", reason, path, err.Addr.Listener),
		"logger", "connection", "chain_id", fmt.Sprintf("%016x", chain))
}

// root is the innermost reason of a chain of refusals.
func root(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}
