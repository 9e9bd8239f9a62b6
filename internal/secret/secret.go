// Package secret keeps the secrets that files deliver while the proxy runs, and tells who
// uses one of each that takes its place.
//
// A secret is a DiscoveryResponse with one resource in a file (SDS by path_config_source).
// The file is read again when another one was moved into its place, and so are the files
// that the resource names, for a certificate and its key are renewed without touching the
// resource. Whatever is wrong with what was read, what there was stays.
package secret

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/filewatch"
	"github.com/ginnel/ginnel/internal/stats"
)

// Options of a Store. All are required.
type Options struct {
	Stats *stats.Store
	Log   *slog.Logger
	// Run runs f in a goroutine of its own, and ends ctx when the proxy ends; false: it has.
	Run func(f func(ctx context.Context)) bool
}

// A Store is the secrets of one proxy. It implements filter.Secrets.
type Store struct {
	opts Options

	mu      sync.Mutex // held while a secret is read, and told
	secrets map[filter.SecretRef]*secret

	list list
}

var (
	_ filter.Secrets   = (*Store)(nil)
	_ filter.FileWatch = (*Store)(nil)
)

// New returns a store without secrets.
func New(o Options) *Store {
	return &Store{opts: o, secrets: make(map[filter.SecretRef]*secret)}
}

// A secret is one that is used. The store's mutex guards it.
type secret struct {
	store  *Store
	ref    filter.SecretRef
	counts *counts
	ctx    context.Context // ends with the last user
	stop   context.CancelFunc

	users   []*user
	named   *tlsv3.Secret // as it was delivered, with names of files; nil: nothing was
	current *tlsv3.Secret // that is in use, with what files hold; nil: none is
	version string
	updated time.Time
	unwatch context.CancelFunc // the files of named; nil: there are none
}

// A user is told of a secret.
type user struct {
	check func(proto.Message) (func(), error)
}

// Use implements filter.Secrets.
func (s *Store) Use(r filter.SecretRef, check func(proto.Message) (func(), error)) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &user{check}
	x := s.secrets[r]
	switch {
	case x == nil:
		x = &secret{store: s, ref: r, counts: newCounts(s.opts.Stats.Scope("sds." + r.Name + "."))}
		x.ctx, x.stop = context.WithCancel(context.Background())
		x.users = []*user{u}
		s.secrets[r] = x
		x.begin()
	case x.current != nil:
		if err := tell([]*user{u}, x.current); err != nil {
			x.reject(err)
		}
		fallthrough
	default:
		x.users = append(x.users, u)
	}
	return sync.OnceFunc(func() { s.leave(x, u) })
}

func (s *Store) leave(x *secret, u *user) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.users = slices.DeleteFunc(x.users, func(y *user) bool { return y == u }); len(x.users) > 0 {
		return
	}
	x.stop()
	x.counts.scope.Close()
	delete(s.secrets, x.ref)
}

// begin reads the secret for the first time, and has its file watched.
func (x *secret) begin() {
	o := filewatch.Options{File: x.ref.Path, Dir: x.ref.Dir, Moved: true}
	o.Since = o.Look()
	x.read()
	x.watch(x.ctx, o, x.read)
}

// watch calls changed, with the store locked, after each change until ctx ends.
func (x *secret) watch(ctx context.Context, o filewatch.Options, changed func()) {
	s := x.store
	s.watch(ctx, o, nil, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if ctx.Err() == nil {
			changed()
		}
	})
}

// watch is filewatch.Watch in a goroutine, until ctx or the proxy ends.
func (s *Store) watch(ctx context.Context, o filewatch.Options, started, changed func()) {
	s.opts.Run(func(proxy context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(proxy, cancel)()
		o.Log = s.opts.Log
		filewatch.Watch(ctx, o, started, changed)
	})
}

// Watch implements filter.FileWatch.
func (s *Store) Watch(path string, changed func() error) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	look := func() {
		if err := changed(); err != nil && ctx.Err() == nil {
			s.opts.Log.Warn(err.Error(), "logger", "config")
		}
	}
	s.watch(ctx, filewatch.Options{File: path}, look, look)
	return cancel
}

// read takes what the secret's file holds.
func (x *secret) read() {
	x.counts.Attempt()
	version, m, err := readResource(x.ref)
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		x.counts.Rejected()
		x.warn("sds: secret '%s' config rejected: %v", x.ref.Name, err)
		x.warn("Filesystem config update rejected: %v", err)
		return
	case err != nil:
		x.counts.Failed()
		x.warn("Filesystem config update failure: in %s, %v", x.ref.Path, err)
		return
	}
	files := filesOf(m)
	var since *filewatch.State
	if files != nil {
		since = files.Look()
	}
	full, err := withFiles(m)
	if err == nil {
		err = tell(x.users, full)
	}
	if err != nil {
		x.reject(err)
		return
	}
	x.named, x.current, x.version, x.updated = m, full, version, time.Now()
	x.counts.Success(version)
	x.follow(files, since)
}

// reject counts and logs a secret that cannot be used.
func (x *secret) reject(err error) {
	x.counts.Rejected()
	x.warn("Filesystem config update rejected: %v", err)
}

// follow has the files that the secret names watched, in place of those of the one before.
func (x *secret) follow(files *filewatch.Options, since *filewatch.State) {
	if x.unwatch != nil {
		x.unwatch()
		x.unwatch = nil
	}
	if files == nil {
		return
	}
	ctx, cancel := context.WithCancel(x.ctx)
	x.unwatch = cancel
	files.Since = since
	x.watch(ctx, *files, x.renew)
}

// renew takes what the files hold now that the secret names.
func (x *secret) renew() {
	full, err := withFiles(x.named)
	switch {
	case err == nil && proto.Equal(full, x.current):
		return
	case err == nil:
		err = tell(x.users, full)
	}
	if err != nil {
		x.counts.rotations.Add(1)
		x.warn("Failed to reload certificates: %v", err)
		return
	}
	x.current, x.updated = full, time.Now()
}

func (x *secret) warn(format string, a ...any) {
	x.store.opts.Log.Warn(fmt.Sprintf(format, a...), "logger", "config")
}

// tell gives a secret to all users, or to none.
func tell(users []*user, m *tlsv3.Secret) error {
	var takes []func()
	for _, u := range users {
		take, err := u.check(m)
		if err != nil {
			return err
		}
		takes = append(takes, take)
	}
	for _, take := range takes {
		take()
	}
	return nil
}

// A State is what a secret is now.
type State struct {
	Name    string
	Version string
	Updated time.Time
	Secret  *tlsv3.Secret // with its private parts; nil: it has not come yet
}

// States returns all secrets, in order of names.
func (s *Store) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []State
	for _, x := range s.secrets {
		out = append(out, State{x.ref.Name, x.version, x.updated, x.current})
	}
	slices.SortFunc(out, func(a, b State) int { return strings.Compare(a.Name, b.Name) })
	return out
}
