// Package stats holds the counters, gauges, histograms and text readouts of one
// proxy under Envoy's names and renders them as Envoy's admin interface does.
//
// Writing a stat is one atomic operation on an object that its owner keeps;
// names, tags and formats cost something only when somebody reads.
package stats

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// Options configures a [Store]. The zero value means Envoy's defaults.
type Options struct {
	// Tags extracts the tags that Prometheus shows as labels. nil: Envoy's
	// default tags.
	Tags *Tagger
	// Rejects reports whether the stat of this full name must not exist; its
	// object then works and is never listed. nil: none is rejected.
	Rejects func(name string) bool
	// Buckets returns the upper bounds, ascending, of the histogram of this full
	// name. nil, or a nil result: Envoy's default bounds.
	Buckets func(name string) []float64
	// CustomNamespaces are the first name segments that Prometheus names drop
	// instead of taking the prefix envoy_, such as "istiocustom".
	CustomNamespaces []string
	// FlushOnAdmin flushes the histograms before every answer of
	// [Store.ServeStats].
	FlushOnAdmin bool
}

// A Store holds all stats of one proxy. Make it with [New]. All its methods may
// be called at any time from any goroutine.
type Store struct {
	opts Options

	mu     sync.RWMutex
	scopes map[string]*family // by prefix; a family is here while refs > 0

	hooksMu sync.Mutex
	hooks   map[*func()]struct{}
}

// New returns an empty store.
func New(o Options) *Store {
	if o.Tags == nil {
		o.Tags = DefaultTagger()
	}
	return &Store{opts: o, scopes: map[string]*family{}, hooks: map[*func()]struct{}{}}
}

// Scope opens the scope of the stats whose names begin with prefix, for example
// "listener.127.0.0.1_80."; "" is the root. The prefix is sanitised as Envoy
// does: "://", ":/", ":" and NUL become "_", and outer dots do not count.
//
// Scopes of one prefix share their stats. The stats are listed until the last
// of them is closed; a scope that is opened before that continues the counts.
// Names that two scopes build differently ("a." + "b.c", "a.b." + "c") are two
// objects, listed as one with their sum.
func (s *Store) Scope(prefix string) *Scope {
	return s.open(joinPrefix("", prefix))
}

func (s *Store) open(prefix string) *Scope {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.scopes[prefix]
	if f == nil {
		f = &family{store: s, prefix: prefix}
		s.scopes[prefix] = f
	}
	f.refs++
	return &Scope{family: f}
}

func (s *Store) release(f *family) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.refs--; f.refs == 0 {
		delete(s.scopes, f.prefix)
	}
}

// families returns the open families in the order of their prefixes.
func (s *Store) families() []*family {
	s.mu.RLock()
	fs := slices.Collect(maps.Values(s.scopes))
	s.mu.RUnlock()
	slices.SortFunc(fs, func(a, b *family) int { return strings.Compare(a.prefix, b.prefix) })
	return fs
}

// OnRead registers f to be called before stats are read, so that open
// connections can add what they have not counted yet. f must not read the store.
// remove takes it out again; a read that began before may still call f once.
func (s *Store) OnRead(f func()) (remove func()) {
	h := &f
	s.hooksMu.Lock()
	defer s.hooksMu.Unlock()
	s.hooks[h] = struct{}{}
	return func() {
		s.hooksMu.Lock()
		defer s.hooksMu.Unlock()
		delete(s.hooks, h)
	}
}

func (s *Store) settle() {
	s.hooksMu.Lock()
	hs := slices.Collect(maps.Keys(s.hooks))
	s.hooksMu.Unlock()
	for _, h := range hs {
		(*h)()
	}
}

// Flush ends the current interval of all histograms: what was recorded since
// the last Flush becomes the interval that readers see. The server calls it
// every stats_flush_interval (Envoy: 5 s).
func (s *Store) Flush() {
	var scratch []binCount
	for _, f := range s.families() {
		for _, h := range f.allHistograms() {
			scratch = h.flush(scratch[:0])
		}
	}
}

// ResetCounters sets all counters to 0. Gauges, histograms and text readouts
// keep their values, as with Envoy's /reset_counters. What open connections moved
// before is counted before.
func (s *Store) ResetCounters() {
	s.settle()
	for _, f := range s.families() {
		f.mu.RLock()
		for _, c := range f.counters {
			c.Reset()
		}
		f.mu.RUnlock()
	}
}
