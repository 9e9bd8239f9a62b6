// Package resource brings parts of a configuration to who asked for them by their names,
// from sources that deliver them while the proxy runs.
//
// A Hub knows what is asked for: subscriptions, by source, kind and name. A client of a
// source is told of the names and calls Hub.deliver with what the source has; here that is
// a file, which has its resources at once, and a stream from a control plane would be
// another one, which is sent the names and answers when it likes.
package resource

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats"
)

// A Hub is the subscriptions of one proxy. It implements filter.Resources.
type Hub struct {
	stats *stats.Store
	log   *slog.Logger
	ctx   context.Context // of the clients
	stop  context.CancelFunc
	tasks sync.WaitGroup // of the clients

	mu      sync.Mutex // held while calling Decode and Deliver of requests
	sources map[filter.ResourceSource]*source
}

// New returns a hub without subscriptions; log may be nil.
func New(store *stats.Store, log *slog.Logger) *Hub {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &Hub{stats: store, log: log, sources: make(map[filter.ResourceSource]*source)}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// Close ends what runs for the subscriptions, and waits for it; nothing is delivered any
// more.
func (h *Hub) Close() {
	h.stop()
	h.tasks.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sources {
		for _, w := range s.watches {
			for _, x := range w.subscriptions {
				x.ready()
			}
		}
	}
}

// A source is one place that resources come from, and what is asked of it.
type source struct {
	client  client
	watches map[key]*watch
}

// A client asks a source. It calls Hub.deliver and Hub.fail, but neither in ask nor in drop.
type client interface {
	// ask is told a name that is wanted from now on, perhaps by several. It returns what the
	// source is known to have; nil: nothing.
	ask(k filter.ResourceKind, name string) (*Delivery, error)
	// drop is told that one who wanted a name does not any more.
	drop(k filter.ResourceKind, name string)
	close()
}

// A key is what tells watches of one source apart.
type key struct {
	kind        filter.ResourceKind
	name, owner string
}

// Subscribe implements filter.Resources.
func (h *Hub) Subscribe(r *filter.ResourceRequest) filter.Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sources[r.Source]
	if s == nil {
		s = &source{watches: make(map[key]*watch)}
		s.client = newFile(h, s, r.Source)
		h.sources[r.Source] = s
	}
	x := &subscription{hub: h, source: s, at: r.Source, request: r, done: make(chan struct{})}
	k := key{r.Kind, r.Name, r.Owner}
	w := s.watches[k]
	if w != nil {
		x.join(w)
		return x
	}
	w = newWatch(h, r)
	s.watches[k] = w
	x.join(w)
	switch d, err := s.client.ask(r.Kind, r.Name); {
	case err != nil:
		w.fail(err)
	case d != nil:
		w.take(d)
	}
	return x
}

// deliver gives what a source has to who has asked for it.
func (h *Hub) deliver(s *source, d *Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range s.watches {
		w.take(d)
	}
}

// fail tells of a source that could not be asked, or whose answer was none.
func (h *Hub) fail(s *source, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range s.watches {
		w.fail(err)
	}
}

// A subscription is what one asked for.
type subscription struct {
	hub     *Hub
	source  *source
	at      filter.ResourceSource
	request *filter.ResourceRequest
	done    chan struct{} // closed when ready

	// Guarded by hub.mu.
	isReady bool
	watch   *watch      // nil: closed
	timer   *time.Timer // nil: none runs
}

// Ready implements filter.Subscription.
func (x *subscription) Ready() <-chan struct{} { return x.done }

// ready tells that nobody has to wait; hub.mu is held.
func (x *subscription) ready() {
	if x.timer != nil {
		x.timer.Stop()
		x.timer = nil
	}
	if !x.isReady {
		x.isReady = true
		close(x.done)
	}
}

// join makes x one of those that a watch is for; hub.mu is held.
func (x *subscription) join(w *watch) {
	x.watch = w
	w.subscriptions = append(w.subscriptions, x)
	if w.value != nil {
		x.request.Deliver(w.value)
	}
	if w.answered {
		x.ready()
	} else if t := x.request.Timeout; t > 0 {
		x.timer = time.AfterFunc(t, x.late)
	}
}

// late is called when the time for the first answer is over.
func (x *subscription) late() {
	x.hub.mu.Lock()
	defer x.hub.mu.Unlock()
	if x.isReady || x.watch == nil {
		return
	}
	x.watch.timeouts.Add(1)
	x.hub.log.Warn(typeNames[x.request.Kind]+" '"+x.request.Name+"': initial fetch timed out", "logger", "config")
	x.ready()
}

// Close implements filter.Subscription.
func (x *subscription) Close() {
	h := x.hub
	client := x.leave()
	if client != nil {
		client.close()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	x.ready()
}

// leave takes x away, and returns the client of its source if nobody asks that any more.
func (x *subscription) leave() client {
	h := x.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	w := x.watch
	if w == nil {
		return nil
	}
	x.watch = nil
	w.subscriptions = slices.DeleteFunc(w.subscriptions, func(y *subscription) bool { return y == x })
	if len(w.subscriptions) > 0 {
		return nil
	}
	w.scope.Close()
	r, s := x.request, x.source
	delete(s.watches, key{r.Kind, r.Name, r.Owner})
	if len(s.watches) == 0 {
		delete(h.sources, x.at)
		return s.client
	}
	s.client.drop(r.Kind, r.Name)
	return nil
}

// A Resource is one that was asked for and has come, or was rejected, for dumps.
type Resource struct {
	Name     string
	Version  string        // that it came with first
	Message  proto.Message // nil: none is in effect
	Updated  time.Time
	Rejected *plan.Rejected // what came last of the name; nil: it is in effect
}

// Resources returns those of a kind, in order of their names.
func (h *Hub) Resources(k filter.ResourceKind) []Resource {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Resource
	for _, s := range h.sources {
		for _, w := range s.watches {
			if w.kind == k && (w.message != nil || w.rejected != nil) {
				out = append(out, Resource{w.name, w.version, w.message, w.updated, w.rejected})
			}
		}
	}
	slices.SortFunc(out, func(a, b Resource) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// A watch is a subscription to one resource as its source sees it.
type watch struct {
	hub           *Hub
	kind          filter.ResourceKind
	name          string
	subscriptions []*subscription // in the order they joined; the first one decodes
	answered      bool

	value    any // nil: none has come
	message  proto.Message
	version  string
	updated  time.Time
	rejected *plan.Rejected

	scope           *stats.Scope
	counts          Counts
	empty, timeouts *stats.Counter
}

func newWatch(h *Hub, r *filter.ResourceRequest) *watch {
	s := h.stats.Scope(r.StatPrefix)
	w := &watch{hub: h, kind: r.Kind, name: r.Name, scope: s,
		empty: s.Counter("update_empty"), timeouts: s.Counter("init_fetch_timeout")}
	w.counts.Show(s)
	if r.Kind == filter.RouteResource {
		w.counts.ShowReloads(s)
	}
	return w
}
