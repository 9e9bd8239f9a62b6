// Package cli reads the command line as Envoy does.
package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Flags is a command line of the proxy. Zero values are Envoy's defaults.
type Flags struct {
	ConfigPath string
	ConfigYAML string
	Mode       string // "serve" (default) or "validate"

	Concurrency    uint32 // 0: as many as CPUs
	LogLevel       string // "info" by default
	ComponentLevel string // name:level,...
	LogPath        string // "": standard error
	LogFormat      string
	LogEscaped     bool

	ServiceCluster, ServiceNode, ServiceZone string
	DrainTime                                time.Duration // 600 s by default
	DrainStrategy                            string        // "gradual" (default) or "immediate"
	FileFlushInterval                        time.Duration // 10 s by default
	FileFlushMinKB                           uint32        // 64 by default
	AdminAddressPath                         string
	StatsTags                                []string // tag:value
	LocalAddressIPVersion                    string   // "v4" (default) or "v6"
	AllowUnknown                             bool     // fields of the static configuration

	// Ours.
	DrainOnSIGTERM  time.Duration // 0: end at once
	Watch           bool          // apply ConfigPath again when it changes
	MaxInternalHops uint16        // 0: the default
	ForcePipes      bool
	GoroutinePumps  bool // --force-goroutine-pumps

	Help, Version, HotRestartVersion bool

	Unused []string // flags that have no meaning here, as they were given
}

// A flag is one row of the command line's table.
type flag struct {
	name  string
	short string // "": none
	value string // name of its value; "": it takes none
	help  string
	set   func(f *Flags, v string) error // nil: accepted, without meaning here
}

func text(p func(*Flags) *string) func(*Flags, string) error {
	return func(f *Flags, v string) error { *p(f) = v; return nil }
}

func number[T uint16 | uint32](p func(*Flags) *T) func(*Flags, string) error {
	return func(f *Flags, v string) error {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil || uint64(T(n)) != n {
			return errValue
		}
		*p(f) = T(n)
		return nil
	}
}

func duration(unit time.Duration, p func(*Flags) *time.Duration) func(*Flags, string) error {
	return func(f *Flags, v string) error {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			return errValue
		}
		*p(f) = time.Duration(n) * unit
		return nil
	}
}

func set(p func(*Flags) *bool) func(*Flags, string) error {
	return func(f *Flags, _ string) error { *p(f) = true; return nil }
}

var errValue = errors.New("bad value")

// flags is the table: Envoy 1.40's flags in the order of its help, then ours.
var flags = []flag{
	{"config-path", "c", "string", "Path to configuration file", text(func(f *Flags) *string { return &f.ConfigPath })},
	{"config-yaml", "", "string", "Inline YAML configuration, merges with the contents of --config-path", text(func(f *Flags) *string { return &f.ConfigYAML })},
	{"mode", "", "string", "One of 'serve' (default; validate configs and then serve traffic normally) or 'validate' (validate configs and exit)", text(func(f *Flags) *string { return &f.Mode })},
	{"concurrency", "", "uint32_t", "# of CPUs to use", number(func(f *Flags) *uint32 { return &f.Concurrency })},
	{"log-level", "l", "string", "Log levels: [trace][debug][info][warning|warn][error][critical][off]", text(func(f *Flags) *string { return &f.LogLevel })},
	{"component-log-level", "", "string", "Comma-separated list of component log levels, for example upstream:debug,config:trace", text(func(f *Flags) *string { return &f.ComponentLevel })},
	{"log-path", "", "string", "Path to logfile; opened anew on SIGUSR1", text(func(f *Flags) *string { return &f.LogPath })},
	{"log-format", "", "string", "Log message format (accepted; lines keep Envoy's default format)", text(func(f *Flags) *string { return &f.LogFormat })},
	{"log-format-escaped", "", "", "Escape c-style escape sequences in the application logs", set(func(f *Flags) *bool { return &f.LogEscaped })},
	{"service-cluster", "", "string", "Cluster name", text(func(f *Flags) *string { return &f.ServiceCluster })},
	{"service-node", "", "string", "Node name", text(func(f *Flags) *string { return &f.ServiceNode })},
	{"service-zone", "", "string", "Zone name", text(func(f *Flags) *string { return &f.ServiceZone })},
	{"drain-time-s", "", "uint32_t", "LDS removal drain time in seconds", duration(time.Second, func(f *Flags) *time.Duration { return &f.DrainTime })},
	{"drain-strategy", "", "string", "Drain sequence behaviour, one of 'gradual' (default) or 'immediate'", text(func(f *Flags) *string { return &f.DrainStrategy })},
	{"file-flush-interval-msec", "", "uint32_t", "Interval for log flushing in msec", duration(time.Millisecond, func(f *Flags) *time.Duration { return &f.FileFlushInterval })},
	{"file-flush-min-size-kb", "", "uint32_t", "Minimum size in KB for log flushing", number(func(f *Flags) *uint32 { return &f.FileFlushMinKB })},
	{"admin-address-path", "", "string", "Admin address path", text(func(f *Flags) *string { return &f.AdminAddressPath })},
	{"stats-tag", "", "string", "A universal tag for all stats, tag:value; may be repeated", func(f *Flags, v string) error {
		f.StatsTags = append(f.StatsTags, v)
		return nil
	}},
	{"local-address-ip-version", "", "string", "The local IP address version (v4 or v6)", text(func(f *Flags) *string { return &f.LocalAddressIPVersion })},
	{"help", "h", "", "Displays usage information and exits", set(func(f *Flags) *bool { return &f.Help })},
	{"version", "", "", "Displays version information and exits", set(func(f *Flags) *bool { return &f.Version })},
	{"hot-restart-version", "", "", "Hot restart compatibility version", set(func(f *Flags) *bool { return &f.HotRestartVersion })},

	{"drain-on-sigterm", "", "seconds", "(ginnel) On SIGTERM stop accepting and wait that long for connections to end; a second signal ends it; a third one does not wait for anything", duration(time.Second, func(f *Flags) *time.Duration { return &f.DrainOnSIGTERM })},
	{"watch", "", "", "(ginnel) Apply the file of --config-path again whenever it has changed; what is wrong with it is logged and changes nothing", set(func(f *Flags) *bool { return &f.Watch })},
	{"max-internal-hops", "", "uint16_t", "(ginnel) Internal hops that one chain of connections may pass; 16 by default", number(func(f *Flags) *uint16 { return &f.MaxInternalHops })},
	{"force-pipes", "", "", "(ginnel, for tests) Never hand a connection over to an internal listener: always use a pipe", set(func(f *Flags) *bool { return &f.ForcePipes })},
	{"force-goroutine-pumps", "", "", "(ginnel, for tests) Never move the bytes of a connection in an event loop: always in goroutines", set(func(f *Flags) *bool { return &f.GoroutinePumps })},

	{"base-id", "", "uint32_t", "(no effect) there is no hot restart", nil},
	{"base-id-path", "", "string", "(no effect) there is no hot restart", nil},
	{"use-dynamic-base-id", "", "", "(no effect) there is no hot restart", nil},
	{"skip-hot-restart-on-no-parent", "", "", "(no effect) there is no hot restart", nil},
	{"skip-hot-restart-parent-stats", "", "", "(no effect) there is no hot restart", nil},
	{"restart-epoch", "", "uint32_t", "(no effect) there is no hot restart", nil},
	{"parent-shutdown-time-s", "", "uint32_t", "(no effect) there is no hot restart", nil},
	{"disable-hot-restart", "", "", "there is no hot restart: always the case", func(*Flags, string) error { return nil }},
	{"socket-path", "", "string", "(no effect) there is no hot restart", nil},
	{"socket-mode", "", "string", "(no effect) there is no hot restart", nil},
	{"allow-unknown-fields", "", "", "Allow unknown fields in static configuration, with a warning", set(func(f *Flags) *bool { return &f.AllowUnknown })},
	{"allow-unknown-static-fields", "", "", "Allow unknown fields in static configuration, with a warning", set(func(f *Flags) *bool { return &f.AllowUnknown })},
	{"reject-unknown-dynamic-fields", "", "", "always the case", func(*Flags, string) error { return nil }},
	{"ignore-unknown-dynamic-fields", "", "", "(no effect) unknown fields are always refused", nil},
	{"skip-deprecated-logs", "", "", "(no effect)", nil},
	{"log-stacktrace-single-entry", "", "", "(no effect)", nil},
	{"enable-fine-grain-logging", "", "", "(no effect)", nil},
	{"cpuset-threads", "", "", "the CPUs of the process are always counted so", func(*Flags, string) error { return nil }},
	{"enable-mutex-tracing", "", "", "(no effect) see /debug/pprof/mutex", nil},
	{"disable-extensions", "", "string", "(no effect)", nil},
	{"enable-core-dump", "", "", "(no effect)", nil},
}

// A ParseError is a command line that cannot be read. Its text is Envoy's.
type ParseError struct{ Argument, Problem string }

func (e *ParseError) Error() string {
	if e.Argument == "" {
		return e.Problem
	}
	return fmt.Sprintf("PARSE ERROR: Argument: %s\n             %s", e.Argument, e.Problem)
}

// Parse reads a command line without the program's name.
func Parse(args []string) (*Flags, error) {
	f := &Flags{Mode: "serve", LogLevel: "info", DrainTime: 600 * time.Second, DrainStrategy: "gradual",
		FileFlushInterval: 10 * time.Second, FileFlushMinKB: 64, LocalAddressIPVersion: "v4"}
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		fl := lookup(name)
		if fl == nil {
			return nil, &ParseError{args[i], "Couldn't find match for argument"}
		}
		switch {
		case fl.value == "" && inline:
			return nil, &ParseError{args[i], "Couldn't find match for argument"}
		case fl.value != "" && !inline:
			if i++; i == len(args) {
				return nil, &ParseError{fl.title(), "Missing a value for this argument!"}
			}
			value = args[i]
		}
		if fl.set == nil {
			f.Unused = append(f.Unused, "--"+fl.name)
			continue
		}
		if fl.set(f, value) != nil {
			return nil, &ParseError{"(" + fl.title() + ")", fmt.Sprintf("Couldn't read argument value from string '%s'", value)}
		}
	}
	return f, f.check()
}

func lookup(arg string) *flag {
	for i := range flags {
		if fl := &flags[i]; arg == "--"+fl.name || fl.short != "" && arg == "-"+fl.short {
			return fl
		}
	}
	return nil
}

func (fl *flag) title() string {
	if fl.short == "" {
		return "--" + fl.name
	}
	return fmt.Sprintf("-%s (--%s)", fl.short, fl.name)
}

// check refuses values that are no choice, in Envoy's words.
func (f *Flags) check() error {
	switch {
	case f.Mode != "serve" && f.Mode != "validate" && f.Mode != "init_only":
		return &ParseError{"", fmt.Sprintf("error: unknown mode '%s'", f.Mode)}
	case !ValidLevel(f.LogLevel):
		return &ParseError{"", fmt.Sprintf("error: invalid log level specified '%s'", f.LogLevel)}
	case f.LocalAddressIPVersion != "v4" && f.LocalAddressIPVersion != "v6":
		return &ParseError{"", fmt.Sprintf("error: unknown IP address version '%s'", f.LocalAddressIPVersion)}
	case f.DrainStrategy != "gradual" && f.DrainStrategy != "immediate":
		return &ParseError{"", fmt.Sprintf("error: unknown drain-strategy '%s'", f.DrainStrategy)}
	case f.Watch && f.ConfigPath == "":
		return &ParseError{"", "error: --watch needs --config-path"}
	}
	for _, t := range f.StatsTags {
		if name, value, ok := strings.Cut(t, ":"); !ok || name == "" || value == "" {
			return &ParseError{"", fmt.Sprintf("error: misformatted stats-tag '%s'", t)}
		}
	}
	if f.ComponentLevel == "" {
		return nil
	}
	for part := range strings.SplitSeq(f.ComponentLevel, ",") {
		name, level, ok := strings.Cut(part, ":")
		if !ok {
			return &ParseError{"", fmt.Sprintf("error: component log level not correctly specified '%s'", part)}
		}
		if !ValidLevel(level) {
			return &ParseError{"", fmt.Sprintf("error: invalid log level specified '%s'", level)}
		}
		if !ValidComponent(name) {
			return &ParseError{"", fmt.Sprintf("error: invalid component specified '%s'", name)}
		}
	}
	return nil
}

// Usage writes the table of flags.
func Usage(w io.Writer, program string) {
	fmt.Fprintf(w, "\nUSAGE:\n\n   %s [flags] -c <config>\n   %s demo | validate | version\n\nFlags (both --flag value and --flag=value):\n\n", program, program)
	for i := range flags {
		fl := &flags[i]
		head := "--" + fl.name
		if fl.value != "" {
			head += " <" + fl.value + ">"
		}
		if fl.short != "" {
			head = "-" + fl.short + ", " + head
		}
		fmt.Fprintf(w, "   %s\n     %s\n", head, fl.help)
	}
}

// Brief writes the short usage that follows a mistake.
func Brief(w io.Writer, program string) {
	fmt.Fprintf(w, "Brief USAGE:\n   %s [flags] -c <config>\n   %s demo | validate [--strict] [--format text|json] <config>... | version\n\nFor complete USAGE and HELP type:\n   %s --help\n", program, program, program)
}
