package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/internal/app"
	"github.com/ginnel/ginnel/internal/cli"
	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/discovery"
	"github.com/ginnel/ginnel/internal/filewatch"
	"github.com/ginnel/ginnel/internal/load"
)

// A running proxy and where its configuration comes from.
type running struct {
	app    *app.App
	config *discovery.Config
	flags  *cli.Flags
	log    *slog.Logger
	file   filewatch.Options // of the bootstrap
}

// apply reads a bootstrap and applies it.
func (r *running) apply(ctx context.Context, src load.Source) (*load.Result, error) {
	result, err := load.Load(src, builtin.Registry())
	if err != nil {
		return nil, err
	}
	warn(r.log, result.Warnings(false))
	if err := result.Err(false); err != nil {
		return result, err
	}
	return result, r.config.SetBootstrap(ctx, result.Bootstrap)
}

// configure applies what the admin server was given.
func (r *running) configure(ctx context.Context, bootstrap []byte) error {
	src := source(r.flags)
	src.Path, src.Data = "body", bootstrap
	_, err := r.apply(ctx, src)
	return err
}

// watch applies what the sources of the configuration deliver, and with --watch its file
// whenever it has changed, until stop is called.
func (r *running) watch() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { r.config.Run(ctx) })
	if r.flags.Watch {
		watching.Go(func() {
			filewatch.Watch(ctx, r.file, nil, func() { r.reload(ctx) })
		})
	}
	return func() {
		cancel()
		watching.Wait()
	}
}

// reload applies the file, or says why it is left as it is.
func (r *running) reload(ctx context.Context) {
	result, err := r.apply(ctx, source(r.flags))
	path, log := r.flags.ConfigPath, r.log.With("logger", "config")
	var faults config.Issues
	switch {
	case err == nil:
		log.Info(fmt.Sprintf("%s has changed and is in effect: %d listeners, %d clusters", path, len(result.Plan.Listeners), len(result.Plan.Clusters)))
	case ctx.Err() != nil:
	case errors.As(err, &faults):
		for _, i := range faults {
			log.Error(i.String())
		}
		log.Error(fmt.Sprintf("%s has changed and is wrong: the configuration before stays in effect", path))
	default:
		log.Error(fmt.Sprintf("%s has changed and cannot be applied, the configuration before stays in effect: %v", path, err))
	}
}
