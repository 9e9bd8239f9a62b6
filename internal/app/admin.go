package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/admin"
	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/listener"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/resource"
	"github.com/ginnel/ginnel/internal/secret"
	"github.com/ginnel/ginnel/internal/upstream"
)

// bindAdmin takes the admin server's address.
func (a *App) bindAdmin() error {
	p := a.plan.Load().Admin
	if p == nil {
		return nil
	}
	logs, err := a.adminLogs(p)
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	var addr net.Addr = filter.IPAddr{AddrPort: p.Address.Addr}
	if p.Address.Path != "" {
		addr = filter.UnixAddr{Path: p.Address.Path}
	}
	l, err := netconn.Bind(addr, netconn.ListenOptions{NoReusePort: true, Mode: os.FileMode(p.Address.Mode), Namespace: p.Address.Namespace})
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	a.adminSocket = l
	o := admin.Options{
		Logs: logs, NextID: listener.NextID,
		Proxy: shown{a}, Stats: a.store, Levels: a.opts.Levels,
		Version: a.opts.Version, Flags: a.opts.Flags, Log: a.log,
	}
	if a.opts.Configure != nil {
		o.Configure = a.configure
	}
	a.admin = admin.New(o)
	if file := a.opts.AdminAddrFile; file != "" {
		return os.WriteFile(file, []byte(l.Addr().String()), 0o644)
	}
	return nil
}

// adminLogs opens the logs of what the admin server is asked.
func (a *App) adminLogs(p *plan.Admin) ([]filter.AccessLog, error) {
	var logs []filter.AccessLog
	for _, f := range p.AccessLogs {
		log, err := f.NewAccessLog(a.env)
		if err != nil {
			return nil, err
		}
		logs = append(logs, log)
	}
	return logs, nil
}

// configure applies what the admin was given.
func (a *App) configure(ctx context.Context, bootstrap []byte) error {
	err := a.opts.Configure(ctx, bootstrap)
	if err == nil {
		a.log.Info("the configuration of POST /config is in effect", "logger", "main")
		return nil
	}
	a.log.Error("the configuration of POST /config was not applied: "+err.Error(), "logger", "main")
	var faults config.Issues
	var fixed *FixedError
	if errors.As(err, &faults) || errors.As(err, &fixed) {
		return &admin.ConfigError{Err: err}
	}
	return err
}

// startAdmin lets the admin server answer, from before the listeners accept.
func (a *App) startAdmin() error {
	if a.admin == nil {
		return nil
	}
	if err := a.adminSocket.Listen(); err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	a.tasks.Go(func() {
		if err := a.admin.Serve(adminListener{a.adminSocket}); err != nil {
			a.log.Error("serving ended: "+err.Error(), "logger", "admin")
		}
	})
	a.log.Info("admin address: "+a.adminSocket.Addr().String(), "logger", "main")
	return nil
}

func (a *App) stopAdmin() {
	if a.admin != nil {
		a.admin.Close()
		a.adminSocket.Close()
	}
}

// AdminAddr returns the admin server's address, nil when there is none.
func (a *App) AdminAddr() net.Addr {
	if a.adminSocket == nil {
		return nil
	}
	return a.adminSocket.Addr()
}

// adminListener gives net/http what netconn accepts.
type adminListener struct{ *netconn.Listener }

// Accept implements net.Listener.
func (l adminListener) Accept() (net.Conn, error) {
	s, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return s, nil
}

// shown is the proxy as the admin server sees it.
type shown struct{ *App }

// State implements admin.Proxy.
func (s shown) State() adminv3.ServerInfo_State { return adminv3.ServerInfo_State(s.App.State()) }

// Started implements admin.Proxy.
func (s shown) Started() time.Time { return s.started }

// Plan implements admin.Proxy.
func (s shown) Plan() *plan.Server { return s.plan.Load() }

// Secrets implements admin.Proxy.
func (s shown) Secrets() []secret.State { return s.secrets.States() }

// Certificates implements admin.Proxy.
func (s shown) Certificates() []filter.CertificatesInUse { return s.secrets.Certificates() }

// Inproc implements admin.Proxy.
func (s shown) Inproc() inproc.Stats { return s.network.Stats() }

// Listeners implements admin.Proxy.
func (s shown) Listeners() []admin.Listener {
	var out []admin.Listener
	for _, l := range s.App.listed() {
		p := l.listener.Plan()
		a := admin.Listener{Name: p.Info.Name, Addrs: l.listener.Addrs(), Proto: p.Proto, Updated: l.updated, Dynamic: p.Dynamic, Version: p.Version}
		if p.Internal {
			a.Addrs = []net.Addr{filter.InternalAddr{Listener: p.Info.Name}}
		}
		out = append(out, a)
	}
	return out
}

// WarmingListeners implements admin.Proxy.
func (s shown) WarmingListeners() (out []admin.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.warming {
		p := w.plan
		out = append(out, admin.Listener{Name: p.Info.Name, Proto: p.Proto, Updated: w.began, Dynamic: p.Dynamic, Version: p.Version})
	}
	return out
}

// DrainingListeners implements admin.Proxy.
func (s shown) DrainingListeners() (out []admin.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := range s.draining {
		p := e.listener.Plan()
		out = append(out, admin.Listener{Name: p.Info.Name, Proto: p.Proto, Updated: e.updated, Dynamic: p.Dynamic, Version: p.Version})
	}
	slices.SortFunc(out, func(x, y admin.Listener) int { return y.Updated.Compare(x.Updated) })
	return out
}

// WarmingClusters implements admin.Proxy.
func (s shown) WarmingClusters() (out []admin.Cluster) {
	for _, c := range s.hosts.Warming() {
		p := c.Plan
		out = append(out, admin.Cluster{Name: p.Name, Proto: p.Proto, Updated: c.Updated, Dynamic: p.Dynamic, Version: p.Version})
	}
	return out
}

// Unready implements admin.Proxy.
func (s shown) Unready() []admin.Unready { return s.unready() }

// Routes implements admin.Proxy.
func (s shown) Routes() []resource.Resource { return s.resources.Resources(filter.RouteResource) }

// Clusters implements admin.Proxy.
func (s shown) Clusters() []admin.Cluster {
	var out []admin.Cluster
	for _, c := range s.hosts.Status() {
		p := c.Plan
		a := admin.Cluster{
			Name: p.Name, StatName: p.StatName, Proto: p.Proto, Updated: c.Updated, Dynamic: p.Dynamic, Version: p.Version,
			Breakers: p.Breakers, Assignment: p.Assignment,
		}
		if c.Assignment != nil {
			a.Assignment = *c.Assignment
		}
		if p.EDS != nil {
			a.Service = p.EDS.Service
		}
		for _, h := range c.Hosts {
			a.Hosts = append(a.Hosts, shownHost(h))
		}
		out = append(out, a)
	}
	return out
}

func shownHost(h upstream.HostStatus) admin.Host {
	return admin.Host{
		Addr: h.Host.Addr, Additional: h.Host.Additional, Hostname: h.Host.Hostname,
		Health: h.Health, Weight: h.Weight,
		Metadata: h.Host.Metadata, Locality: h.Host.Locality, Priority: h.Host.Priority,
		CxActive: h.Host.Active.Load(), CxConnectFail: h.Host.ConnectFail.Load(), CxTotal: h.Host.Total.Load(),
		RqActive: h.RequestsActive, RqPending: h.RequestsPending, RqTotal: h.RequestsTotal,
		RqSuccess: h.RequestsSucceeded, RqError: h.RequestsFailed, RqTimeout: h.RequestsTimedOut,
		CheckFailed: h.CheckFailed, CheckDegraded: h.CheckDegraded, CheckPending: h.CheckPending, CheckExcluded: h.CheckExcluded,
		Ejected: h.Ejected, Rated: true, SuccessRate: h.SuccessRate, LocalSuccessRate: h.LocalSuccessRate,
	}
}

// Connections implements admin.Proxy.
func (s shown) Connections() []admin.InprocConn {
	s.pumps.Settle()
	var out []admin.InprocConn
	for _, e := range s.all() {
		if !e.listener.Plan().Internal {
			continue
		}
		for _, c := range e.listener.Connections() {
			out = append(out, admin.InprocConn(c))
		}
	}
	return out
}

// Runtime implements admin.Proxy.
func (s shown) Runtime() []plan.RuntimeLayer { return s.runtime.all() }

// ModifyRuntime implements admin.Proxy.
func (s shown) ModifyRuntime(values map[string]string) error { return s.runtime.modify(values) }

// Drain implements admin.Proxy.
func (s shown) Drain(o admin.DrainOptions) {
	which := everything
	if o.InboundOnly {
		which = inbound
	}
	if !o.Graceful && !o.SkipExit {
		s.StopListeners(which)
	}
	s.drain(which, o.Graceful && !o.SkipExit)
}

// Quit implements admin.Proxy.
func (s shown) Quit() { go s.Close() }

// ReopenLogs implements admin.Proxy.
func (s shown) ReopenLogs() error {
	s.App.ReopenLogs()
	if l, ok := s.opts.Levels.(interface{ Reopen() error }); ok {
		return l.Reopen()
	}
	return nil
}
