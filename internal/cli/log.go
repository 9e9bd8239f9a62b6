package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

// Levels of Envoy that slog does not have.
const (
	LevelTrace    = slog.LevelDebug - 4
	LevelCritical = slog.LevelError + 4
	LevelOff      = slog.LevelError + 8
)

var levelNames = []struct {
	name  string
	level slog.Level
}{
	{"trace", LevelTrace}, {"debug", slog.LevelDebug}, {"info", slog.LevelInfo}, {"warning", slog.LevelWarn},
	{"warn", slog.LevelWarn}, {"error", slog.LevelError}, {"critical", LevelCritical}, {"off", LevelOff},
}

func levelOf(name string) (slog.Level, bool) {
	for _, l := range levelNames {
		if l.name == name {
			return l.level, true
		}
	}
	return 0, false
}

func levelName(level slog.Level) string {
	name := "trace"
	for _, l := range levelNames {
		if level >= l.level {
			name = l.name
		}
		if l.name == "warn" && name == "warn" {
			name = "warning"
		}
	}
	return name
}

// ValidLevel reports whether a level has that name.
func ValidLevel(name string) bool { _, ok := levelOf(name); return ok }

// components are the loggers that lines may name with the attribute "logger", and
// Envoy's others: tools set their levels, and no line of theirs is ever written here.
var components = strings.Fields(`admin alternate_protocols_cache assert aws backtrace basic_auth cache_filter client
compression config conn_handler connection credential_injector decompression dns dubbo dynamic_modules envoy_bug
ext_authz ext_proc file filter forward_proxy geolocation golang grpc happy_eyeballs hc health_checker http http2
hystrix init io jwt kafka key_value_store lua main matcher mcp misc mongo multi_connection oauth2 pool quic quic_stream
rate_limit_quota ratelimit rbac rds redis rocketmq router runtime secret stats tap testing thrift tracing udp upstream
wasm websocket`)

// ValidComponent reports whether Envoy or ginnel has a logger of that name.
func ValidComponent(name string) bool { return slices.Contains(components, name) }

// A Log writes lines in Envoy's default format. Its level may be changed while it is
// used, as a whole or for single components.
type Log struct {
	mu     sync.Mutex
	w      io.Writer
	path   string // "": w is not ours to open anew
	level  slog.Level
	levels map[string]slog.Level
}

// OpenLog opens the log that the flags ask for.
func OpenLog(f *Flags) (*Log, error) {
	l := &Log{w: os.Stderr, path: f.LogPath, levels: make(map[string]slog.Level)}
	l.level, _ = levelOf(f.LogLevel)
	for part := range strings.SplitSeq(f.ComponentLevel, ",") {
		if name, level, ok := strings.Cut(part, ":"); ok {
			l.levels[name], _ = levelOf(level)
		}
	}
	return l, l.Reopen()
}

// Reopen opens the log's file anew, after it was moved away.
func (l *Log) Reopen() error {
	if l.path == "" {
		return nil
	}
	w, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("Failed to open log-file '%s'. e.what(): %w", l.path, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.w.(io.Closer); ok && l.w != io.Writer(os.Stderr) {
		old.Close()
	}
	l.w = w
	return nil
}

// Levels returns the level of every component.
func (l *Log) Levels() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]string, len(components))
	for _, c := range components {
		level, ok := l.levels[c]
		if !ok {
			level = l.level
		}
		out[c] = levelName(level)
	}
	return out
}

// SetLevel changes the level of one component, or of all for "".
func (l *Log) SetLevel(component, level string) error {
	v, ok := levelOf(level)
	if !ok {
		return fmt.Errorf("unknown logger level")
	}
	if component != "" && !slices.Contains(components, component) {
		return fmt.Errorf("unknown logger name")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if component == "" {
		l.level = v
		maps.DeleteFunc(l.levels, func(string, slog.Level) bool { return true })
	} else {
		l.levels[component] = v
	}
	return nil
}

// Logger returns a logger that writes to l.
func (l *Log) Logger() *slog.Logger { return slog.New(&handler{log: l, component: "main"}) }

// A handler writes records as lines: [time][pid][level][component] text key=value.
type handler struct {
	log       *Log
	component string
	attrs     string
}

// Enabled implements slog.Handler. The component may stand in the record, so this is
// only a first sieve.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	for _, l := range h.log.levels {
		if level >= l {
			return true
		}
	}
	return level >= h.log.level
}

// Handle implements slog.Handler.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	component, attrs := h.component, h.attrs
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "logger" {
			component = a.Value.String()
		} else {
			attrs += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	limit, ok := h.log.levels[component]
	if !ok {
		limit = h.log.level
	}
	if r.Level < limit {
		return nil
	}
	_, err := fmt.Fprintf(h.log.w, "[%s][%d][%s][%s] %s%s\n",
		r.Time.UTC().Format("2006-01-02 15:04:05.000"), os.Getpid(), levelName(r.Level), component, r.Message, attrs)
	return err
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		if a.Key == "logger" {
			c.component = a.Value.String()
		} else {
			c.attrs += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
	}
	return &c
}

// WithGroup implements slog.Handler; groups are not told apart.
func (h *handler) WithGroup(string) slog.Handler { return h }
