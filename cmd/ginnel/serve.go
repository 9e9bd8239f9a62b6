package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/internal/app"
	"github.com/ginnel/ginnel/internal/cli"
	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/discovery"
	"github.com/ginnel/ginnel/internal/filewatch"
	"github.com/ginnel/ginnel/internal/load"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats"
)

// serve runs the proxy until a signal or the admin ends it.
func serve(f *cli.Flags) int {
	log, err := cli.OpenLog(f)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	logger := log.Logger()
	for _, name := range f.Unused {
		logger.Warn(name + " has no meaning here and is ignored")
	}
	if f.Concurrency > 0 {
		runtime.GOMAXPROCS(int(f.Concurrency))
	}
	// Before the proxy serves: from then on others count on them.
	signal.Ignore(syscall.SIGPIPE) // a reader of our output that goes away does not end the proxy
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Stop(signals)
	proxy, err := build(f, log, logger)
	if err == nil {
		err = proxy.start(signals)
	}
	if errors.Is(err, app.ErrStopped) {
		logger.Info("exiting")
		return 0
	}
	if err != nil {
		logger.Log(context.Background(), cli.LevelCritical,
			fmt.Sprintf("error `%v` initializing config '%s'", err, f.ConfigPath))
		logger.Info("exiting")
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop := proxy.watch()
	logger.Info("starting main dispatch loop")
	debug.FreeOSMemory() // what reading the configuration leaves: of 1,000 listeners a fifth of all memory
	code := waitForEnd(proxy.app, signals, f, log, logger)
	stop()
	logger.Info("exiting")
	return code
}

// start begins to serve, which may have to wait for what sources deliver. It returns
// app.ErrStopped if a signal, or the admin, ends the proxy meanwhile.
func (r *running) start(signals <-chan os.Signal) error {
	started := make(chan error, 1)
	go func() { started <- r.app.Start() }()
	for {
		select {
		case err := <-started:
			if err != nil {
				r.app.Close()
			}
			return err
		case s := <-signals:
			if s == syscall.SIGTERM || s == syscall.SIGINT {
				r.log.Warn(fmt.Sprintf("caught %s", signalName(s)))
				go r.app.Close()
			}
		}
	}
}

// build takes the flags to a proxy that is ready to start.
func build(f *cli.Flags, log *cli.Log, logger *slog.Logger) (*running, error) {
	file := filewatch.Options{File: f.ConfigPath, Log: logger}
	file.Since = file.Look() // what changes while the file is read counts
	r, err := load.Load(source(f), builtin.Registry())
	if errors.Is(err, config.ErrNoInput) {
		return nil, errors.New("At least one of --config-path or --config-yaml or Options::configProto() should be non-empty")
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("Invalid path: %s", f.ConfigPath)
	}
	if err != nil {
		return nil, err
	}
	warn(logger, r.Warnings(false))
	if err := r.Err(false); err != nil {
		return nil, err
	}
	proxy := &running{flags: f, log: logger, file: file, config: discovery.New(r.Bootstrap, r.Plan, builtin.Registry(), logger)}
	err = proxy.config.Build(func(p *plan.Server) (apply func(context.Context, *plan.Server) error, store *stats.Store, err error) {
		proxy.app, err = app.New(p, app.Options{
			Concurrency: int(f.Concurrency), DrainTime: f.DrainTime, DrainAtOnce: f.DrainStrategy == "immediate",
			LogFlushEvery: f.FileFlushInterval, LogFlushBytes: int(f.FileFlushMinKB) << 10,
			MaxHops: int(f.MaxInternalHops), ForcePipes: f.ForcePipes, GoroutinePumps: f.GoroutinePumps,
			AdminAddrFile: f.AdminAddressPath, StatsTags: f.StatsTags,
			Log: logger, Levels: log, Version: versionText(), Flags: f,
			Configure: proxy.configure,
		})
		if err != nil {
			return nil, nil, err
		}
		return proxy.app.Apply, proxy.app.Stats(), nil
	})
	if err != nil {
		return nil, err
	}
	return proxy, nil
}

// nodeOf puts the node's names of the command line over those of the file.
func nodeOf(f *cli.Flags) func(*bootstrapv3.Bootstrap) {
	return func(b *bootstrapv3.Bootstrap) {
		if f.ServiceCluster == "" && f.ServiceNode == "" && f.ServiceZone == "" {
			return
		}
		if b.Node == nil {
			b.Node = &corev3.Node{}
		}
		if f.ServiceCluster != "" {
			b.Node.Cluster = f.ServiceCluster
		}
		if f.ServiceNode != "" {
			b.Node.Id = f.ServiceNode
		}
		if f.ServiceZone != "" {
			if b.Node.Locality == nil {
				b.Node.Locality = &corev3.Locality{}
			}
			b.Node.Locality.Zone = f.ServiceZone
		}
	}
}

// waitForEnd handles signals as Envoy does until the proxy has stopped, or must not wait
// for that, and returns the exit code.
func waitForEnd(a *app.App, signals <-chan os.Signal, f *cli.Flags, log *cli.Log, logger *slog.Logger) int {
	draining, ending := false, false
	for {
		select {
		case <-a.Done():
			return 0
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				logger.Warn("caught and eating SIGHUP. See documentation for how to hot restart.")
			case syscall.SIGUSR1:
				logger.Warn("caught SIGUSR1. Reopening access logs.")
				a.ReopenLogs()
				if err := log.Reopen(); err != nil {
					logger.Error(err.Error())
				}
			default:
				logger.Warn(fmt.Sprintf("caught %s", signalName(s)))
				if f.DrainOnSIGTERM > 0 && !draining {
					draining = true
					go drain(a, f)
					continue
				}
				if ending { // perhaps for the reader of an access log, who reads no more
					logger.Error("ending without waiting: access logs may not be whole")
					return 1
				}
				ending = true
				go a.Close()
			}
		}
	}
}

func drain(a *app.App, f *cli.Flags) {
	ctx, cancel := context.WithTimeout(context.Background(), f.DrainOnSIGTERM)
	defer cancel()
	_ = a.Shutdown(ctx) // running out of time is the point of the limit
}

func signalName(s os.Signal) string {
	if s == syscall.SIGINT {
		return "SIGINT"
	}
	return "SIGTERM"
}
