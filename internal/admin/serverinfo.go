package admin

import (
	"net/http"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ginnel/ginnel/internal/cli"
)

func (s *Server) serverInfo(w http.ResponseWriter, _ *http.Request) {
	up := durationpb.New(time.Since(s.opts.Proxy.Started()).Truncate(time.Second))
	message(w, &adminv3.ServerInfo{
		Version:            s.opts.Version,
		State:              s.opts.Proxy.State(),
		UptimeCurrentEpoch: up,
		UptimeAllEpochs:    up,
		HotRestartVersion:  "disabled",
		CommandLineOptions: commandLine(s.opts.Flags),
		Node:               s.opts.Proxy.Plan().Node,
	}, true)
}

// commandLine gives the flags as the API has them. There is no hot restart, and
// unknown fields of the dynamic configuration are refused.
func commandLine(f *cli.Flags) *adminv3.CommandLineOptions {
	if f == nil {
		f = &cli.Flags{LogLevel: "info", DrainTime: 600 * time.Second, FileFlushInterval: 10 * time.Second, FileFlushMinKB: 64}
	}
	return &adminv3.CommandLineOptions{
		Concurrency:                f.Concurrency,
		ConfigPath:                 f.ConfigPath,
		ConfigYaml:                 f.ConfigYAML,
		AllowUnknownStaticFields:   f.AllowUnknown,
		RejectUnknownDynamicFields: true,
		AdminAddressPath:           f.AdminAddressPath,
		LocalAddressIpVersion:      adminv3.CommandLineOptions_IpVersion(adminv3.CommandLineOptions_IpVersion_value[f.LocalAddressIPVersion]),
		LogLevel:                   f.LogLevel,
		ComponentLogLevel:          f.ComponentLevel,
		LogFormat:                  f.LogFormat,
		LogFormatEscaped:           f.LogEscaped,
		LogPath:                    f.LogPath,
		ServiceCluster:             f.ServiceCluster,
		ServiceNode:                f.ServiceNode,
		ServiceZone:                f.ServiceZone,
		FileFlushInterval:          durationpb.New(f.FileFlushInterval),
		FileFlushMinSize:           f.FileFlushMinKB,
		DrainTime:                  durationpb.New(f.DrainTime),
		DrainStrategy:              drainStrategy(f.DrainStrategy),
		ParentShutdownTime:         durationpb.New(0),
		Mode:                       mode(f.Mode),
		DisableHotRestart:          true,
		CpusetThreads:              true,
		StatsTag:                   f.StatsTags,
	}
}

func drainStrategy(name string) adminv3.CommandLineOptions_DrainStrategy {
	if name == "immediate" {
		return adminv3.CommandLineOptions_Immediate
	}
	return adminv3.CommandLineOptions_Gradual
}

func mode(name string) adminv3.CommandLineOptions_Mode {
	switch name {
	case "validate":
		return adminv3.CommandLineOptions_Validate
	case "init_only":
		return adminv3.CommandLineOptions_InitOnly
	}
	return adminv3.CommandLineOptions_Serve
}
