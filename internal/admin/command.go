package admin

import (
	"net/http"
	"slices"
	"strings"
)

// A command is one path of the server.
type command struct {
	path    string // a trailing slash takes all paths below it too
	help    string
	params  []param
	mutates bool // needs POST
	anyHost bool // see Server.ServeHTTP
	body    bool // takes its body itself: it is no form
	serve   http.HandlerFunc
}

// A param is a parameter of a command, for /help and the index page.
type param struct {
	name, help string
	choices    []string // nil: any text
	flag       bool     // counts when it is there, whatever its value
}

// onOff is the choice of the profilers.
var onOff = []string{"y", "n"}

// table lists the commands, in the order of their paths.
func (s *Server) table() []command {
	all := slices.Concat(s.shows(), s.changes(), profilers(), s.statistics())
	slices.SortFunc(all, func(a, b command) int { return strings.Compare(a.path, b.path) })
	return all
}

func get(path, help string, f http.HandlerFunc, params ...param) command {
	return command{path: path, help: help, serve: f, params: params}
}

func post(path, help string, f http.HandlerFunc, params ...param) command {
	return command{path: path, help: help, serve: f, params: params, mutates: true}
}

// open is a get that may be asked by any host.
func open(path, help string, f http.HandlerFunc, params ...param) command {
	return command{path: path, help: help, serve: f, params: params, anyHost: true}
}

// shows are the commands that tell what the proxy does and what it was told to do.
func (s *Server) shows() []command {
	return []command{
		get("/", "Admin home page", s.index),
		get("/certs", "print certs on machine", s.certs),
		get("/clusters", "upstream cluster status", s.clusters,
			param{name: "filter", help: "Regular expression (Google re2) for filtering clusters by name"},
			param{name: "format", help: "File format to use", choices: formats}),
		get("/config_dump", "dump current configs", s.configDump,
			param{name: "resource", help: "The resource to dump"},
			param{name: "mask", help: "The mask to apply. When both resource and mask are specified, the mask is applied to every element in the desired repeated field so that only a subset of fields are returned. The mask is parsed as a Protobuf::FieldMask"},
			param{name: "name_regex", help: "Dump only the currently loaded configurations whose names match the specified regex. Can be used with both resource and mask query parameters."},
			param{name: "include_eds", help: "Dump currently loaded configuration including EDS. See the response definition for more information", flag: true}),
		get("/help", "print out list of admin commands", s.serveHelp),
		get("/hot_restart_version", "print the hot restart compatibility version", fixed("disabled")),
		get("/init_dump", "dump what listeners wait for", s.initDump,
			param{name: "mask", help: "The desired component to dump unready targets. The mask is parsed as a Protobuf::FieldMask."}),
		get("/inproc", "print the in-process network: internal listeners and what is open on them", s.inproc,
			param{name: "format", help: "File format to use", choices: []string{"json", "text"}},
			param{name: "listener", help: "Only the listener of this name"},
			param{name: "limit", help: "Most connections to print for each listener; 1000 by default, 0 for all"}),
		get("/listeners", "print listener info", s.listeners, param{name: "format", help: "File format to use", choices: formats}),
		open("/ready", "print server state, return 200 if LIVE, otherwise return 503", s.ready),
		get("/runtime", "print runtime values", s.runtime),
		get("/server_info", "print server version/status information", s.serverInfo),
	}
}

// changes are the commands that make the proxy do something else.
func (s *Server) changes() []command {
	return []command{
		{path: "/config", help: "apply another configuration: the body is a bootstrap as YAML or JSON. On an error nothing has changed", mutates: true, body: true, serve: s.configure},
		post("/drain_listeners", "drain listeners", s.drainListeners,
			param{name: "graceful", help: "When draining listeners, enter a graceful drain period prior to closing listeners. This behaviour and duration is configurable via server options or CLI", flag: true},
			param{name: "skip_exit", help: "When draining listeners, drain the connections but never stop the listeners. The graceful parameter has no effect when this is set, since the drain period only delays stopping the listeners", flag: true},
			param{name: "inboundonly", help: "Drains all inbound listeners. traffic_direction field in envoy_v3_api_msg_config.listener.v3.Listener is used to determine whether a listener is inbound or outbound.", flag: true}),
		post("/healthcheck/fail", "cause the server to fail health checks", s.failHealth(true)),
		post("/healthcheck/ok", "cause the server to pass health checks", s.failHealth(false)),
		post("/logging", "query/change logging levels", s.logging,
			param{name: "paths", help: "Change multiple logging levels by setting to <logger_name1>:<desired_level1>,<logger_name2>:<desired_level2>."},
			param{name: "level", help: "desired logging level, this will change all loggers's level", choices: append([]string{""}, levels...)}),
		post("/quitquitquit", "exit the server", s.quit),
		post("/reopen_logs", "reopen access logs", s.reopenLogs),
		post("/runtime_modify", "Adds or modifies runtime values as passed in query parameters. To delete a previously added key, use an empty string as the value. Note that deletion only applies to overrides added via this endpoint; values loaded from disk can be modified via override but not deleted. E.g. ?key1=value1&key2=value2...", s.runtimeModify),
	}
}

// profilers are the commands about memory and CPU; those of Envoy's that Go has otherwise say where.
func profilers() []command {
	return []command{
		post("/allocprofiler", "see /debug/pprof/allocs", elsewhere("GET /debug/pprof/allocs"), param{name: "enable", help: "has no effect", choices: onOff}),
		get("/contention", "print the places where goroutines wait for each other (if they are sampled)", contention),
		post("/cpuprofiler", "see /debug/pprof/profile", elsewhere("GET /debug/pprof/profile?seconds=30"), param{name: "enable", help: "has no effect", choices: onOff}),
		get("/debug/pprof/", "profiles for `go tool pprof`", profiles),
		get("/heap_dump", "dump the current heap profile", heapDump),
		post("/heapprofiler", "see /debug/pprof/heap", elsewhere("GET /debug/pprof/heap"), param{name: "enable", help: "has no effect", choices: onOff}),
		get("/memory", "print current allocation/heap usage", memory),
		get("/memory/tcmalloc", "see /memory", elsewhere("GET /memory or GET /debug/pprof/heap")),
		get("/peak_heap_dump", "see /debug/pprof/allocs", elsewhere("GET /debug/pprof/allocs")),
	}
}

// statistics are the commands about statistics.
func (s *Server) statistics() []command {
	return []command{
		post("/reset_counters", "reset all counters to zero", s.resetCounters),
		open("/stats", "print server stats", s.opts.Stats.ServeStats,
			param{name: "usedonly", help: "Only include stats that have been written by system since restart", flag: true},
			param{name: "filter", help: "Regular expression (Google re2) for filtering stats"},
			param{name: "invert_filter", help: "Invert the filter regex", flag: true},
			param{name: "format", help: "Format to use", choices: []string{"html", "active-html", "text", "json"}},
			param{name: "type", help: "Stat types to include.", choices: []string{"All", "Counters", "Histograms", "Gauges", "TextReadouts"}},
			param{name: "histogram_buckets", help: "Histogram bucket display mode", choices: []string{"cumulative", "disjoint", "detailed", "summary"}}),
		open("/stats/prometheus", "print server stats in prometheus format", s.opts.Stats.ServeStats,
			param{name: "usedonly", help: "Only include stats that have been written by system since restart", flag: true},
			param{name: "text_readouts", help: "Render text_readouts as new gaugues with value 0 (increases Prometheus data size)", flag: true},
			param{name: "filter", help: "Regular expression (Google re2) for filtering stats"},
			param{name: "invert_filter", help: "Invert the filter regex", flag: true},
			param{name: "histogram_buckets", help: "Histogram bucket display mode", choices: []string{"cumulative", "summary"}}),
		get("/stats/recentlookups", "Show recent stat-name lookups (none: names are looked up once)", fixed("Lookup tracking is not enabled. Use /stats/recentlookups/enable to enable.\n\ntotal: 0\n")),
		post("/stats/recentlookups/clear", "clear list of stat-name lookups and counter", fixed("OK\n")),
		post("/stats/recentlookups/disable", "disable recording of reset stat-name lookup names", fixed("OK\n")),
		post("/stats/recentlookups/enable", "enable recording of reset stat-name lookup names", fixed("OK\n")),
	}
}

// find returns the command of a path; nil: none.
func (s *Server) find(path string) *command {
	for i := range s.commands {
		c := &s.commands[i]
		below := len(c.path) > 1 && strings.HasSuffix(c.path, "/")
		if path == c.path || below && strings.HasPrefix(path+"/", c.path) {
			return c
		}
	}
	return nil
}

// fixed answers the same to everybody.
func fixed(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, s) }
}

// elsewhere answers for a command of Envoy's allocator that Go does otherwise.
func elsewhere(request string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		text(w, http.StatusNotImplemented, "not available; use "+request+"\n")
	}
}

func (s *Server) serveHelp(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, s.help()) }

// help lists the commands as Envoy does.
func (s *Server) help() string {
	var b strings.Builder
	b.WriteString("admin commands are:\n")
	for i := range s.commands {
		c := &s.commands[i]
		b.WriteString("  " + c.path)
		if c.mutates {
			b.WriteString(" (POST)")
		}
		b.WriteString(": " + c.help + "\n")
		for _, p := range c.params {
			b.WriteString("      " + p.name + ": " + p.help)
			if p.choices != nil {
				b.WriteString("; One of (" + strings.Join(p.choices, ", ") + ")")
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}
