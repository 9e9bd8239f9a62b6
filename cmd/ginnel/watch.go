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
	"github.com/ginnel/ginnel/internal/filewatch"
	"github.com/ginnel/ginnel/internal/load"
	"github.com/ginnel/ginnel/internal/plan"
)

// compiled returns the plan of a configuration, having warned of what is odd about it.
func compiled(src load.Source, log *slog.Logger) (*plan.Server, error) {
	r, err := load.Load(src, builtin.Registry())
	if err != nil {
		return nil, err
	}
	warn(log, r.Warnings(false))
	if err := r.Err(false); err != nil {
		return nil, err
	}
	return r.Plan, nil
}

// watch applies the configuration file again whenever it has changed, if --watch says so,
// until stop is called.
func watch(a *app.App, f *cli.Flags, log *slog.Logger) (stop func()) {
	if !f.Watch {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		filewatch.Watch(ctx, filewatch.Options{File: f.ConfigPath}, nil, func() { reload(ctx, a, f, log) })
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// reload applies the file, or says why it is left as it is.
func reload(ctx context.Context, a *app.App, f *cli.Flags, log *slog.Logger) {
	p, err := compiled(source(f), log)
	if err == nil {
		err = a.Apply(ctx, p)
	}
	var faults config.Issues
	switch {
	case err == nil:
		log.Info(fmt.Sprintf("%s has changed and is in effect: %d listeners, %d clusters", f.ConfigPath, len(p.Listeners), len(p.Clusters)), "logger", "config")
	case ctx.Err() != nil:
	case errors.As(err, &faults):
		for _, i := range faults {
			log.Error(i.String(), "logger", "config")
		}
		log.Error(fmt.Sprintf("%s has changed and is wrong: the configuration before stays in effect", f.ConfigPath), "logger", "config")
	default:
		log.Error(fmt.Sprintf("%s has changed and cannot be applied, the configuration before stays in effect: %v", f.ConfigPath, err), "logger", "config")
	}
}
