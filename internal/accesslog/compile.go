package accesslog

import (
	"os"
	"path/filepath"
	"sync"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

var logFields = extension.Fields{
	Message: &accesslogv3.AccessLog{},
	Obeyed:  []string{"typed_config", "filter"},
	Ignored: map[string]string{"name": "the type URL decides which extension it is, in Envoy too"},
}

var fileFields = extension.Fields{
	Message: &filev3.FileAccessLog{},
	Obeyed:  []string{"path", "log_format", "format", "json_format", "typed_json_format"},
}

var (
	stdoutFields = extension.Fields{Message: &streamv3.StdoutAccessLog{}, Obeyed: []string{"log_format"}}
	stderrFields = extension.Fields{Message: &streamv3.StderrAccessLog{}, Obeyed: []string{"log_format"}}
)

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return append([]*extension.Fields{&logFields, &fileFields, &stdoutFields, &stderrFields}, filterSupport()...)
}

// Register adds the access loggers to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.AccessLog, compileFile)
	extension.Register(r, extension.AccessLog, compileStdout)
	extension.Register(r, extension.AccessLog, compileStderr)
}

// Compile compiles a list of access logs with their filters; s is the place of the
// list. What cannot be compiled is reported and left out.
func Compile(s *extension.Scope, logs []*accesslogv3.AccessLog) []filter.AccessLogFactory {
	var out []filter.AccessLogFactory
	for i, m := range logs {
		s := s.Index(i)
		logFields.Check(s, m)
		keep := compileFilter(s.Field("filter"), m.GetFilter())
		at := s.Field("typed_config")
		if m.GetTypedConfig() == nil {
			at.Errorf("is required: the access logger %q is found by the type of its configuration", m.GetName())
			continue
		}
		f, ok := extension.Compile(at, extension.AccessLog, m.GetTypedConfig())
		if !ok || f == nil {
			continue
		}
		if keep != nil {
			f = &filtered{f, keep}
		}
		out = append(out, f)
	}
	return out
}

// filtered is an access log with a filter.
type filtered struct {
	filter.AccessLogFactory
	keep predicate
}

// NewAccessLog implements filter.AccessLogFactory.
func (f *filtered) NewAccessLog(env *filter.Env) (filter.AccessLog, error) {
	log, err := f.AccessLogFactory.NewAccessLog(env)
	if err != nil {
		return nil, err
	}
	return &filteredLog{log, f.keep, env.Runtime}, nil
}

type filteredLog struct {
	filter.AccessLog
	keep    predicate
	runtime filter.Runtime
}

// Log implements filter.AccessLog.
func (l *filteredLog) Log(info *filter.Info, t filter.AccessLogType) {
	if l.keep(event{info, t, l.runtime}) {
		l.AccessLog.Log(info, t)
	}
}

func compileFile(s *extension.Scope, m *filev3.FileAccessLog) filter.AccessLogFactory {
	fileFields.Check(s, m)
	if m.GetPath() == "" {
		s.Field("path").Errorf("is required")
	} else {
		checkFolder(s.Field("path"), m.GetPath())
	}
	f := &lineFactory{path: m.GetPath()}
	var ok bool
	switch a := m.GetAccessLogFormat().(type) {
	case *filev3.FileAccessLog_LogFormat:
		f.format, ok = state.CompileFormat(s.Field("log_format"), a.LogFormat)
	case *filev3.FileAccessLog_Format:
		s.Field("format").Warnf("is deprecated; use log_format.text_format_source")
		f.format, ok = state.CompileText(s.Field("format"), orDefault(a.Format), state.Options{})
	case *filev3.FileAccessLog_JsonFormat:
		s.Field("json_format").Warnf("is deprecated; use log_format.json_format")
		f.format, ok = state.CompileStruct(s.Field("json_format"), a.JsonFormat, state.Options{})
	case *filev3.FileAccessLog_TypedJsonFormat:
		s.Field("typed_json_format").Warnf("is deprecated; use log_format.json_format")
		f.format, ok = state.CompileStruct(s.Field("typed_json_format"), a.TypedJsonFormat, state.Options{})
	default:
		f.format, ok = state.CompileText(s, state.DefaultFormat, state.Options{})
	}
	return f.orNil(ok)
}

// File compiles the log of a file in the default format; s is the place of its path, which
// is not empty.
func File(s *extension.Scope, path string) (f filter.AccessLogFactory, ok bool) {
	checkFolder(s, path)
	format, ok := state.CompileText(s, state.DefaultFormat, state.Options{})
	return &lineFactory{path: path, format: format}, ok
}

// checkFolder checks that a file could be made.
func checkFolder(s *extension.Scope, path string) {
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		s.Errorf("unable to open file '%s': %s is not a directory", path, dir)
	}
}

func compileStdout(s *extension.Scope, m *streamv3.StdoutAccessLog) filter.AccessLogFactory {
	stdoutFields.Check(s, m)
	return compileStream(s, Stdout, m.GetLogFormat())
}

func compileStderr(s *extension.Scope, m *streamv3.StderrAccessLog) filter.AccessLogFactory {
	stderrFields.Check(s, m)
	return compileStream(s, Stderr, m.GetLogFormat())
}

func compileStream(s *extension.Scope, path string, format *corev3.SubstitutionFormatString) filter.AccessLogFactory {
	f := &lineFactory{path: path}
	var ok bool
	if format == nil {
		f.format, ok = state.CompileText(s, state.DefaultFormat, state.Options{})
	} else {
		f.format, ok = state.CompileFormat(s.Field("log_format"), format)
	}
	return f.orNil(ok)
}

// orDefault gives the deprecated field its meaning: an empty format is the default.
func orDefault(format string) string {
	if format == "" {
		return state.DefaultFormat
	}
	return format
}

// lineFactory is a compiled logger of lines.
type lineFactory struct {
	path   string
	format state.Formatter
}

func (f *lineFactory) orNil(ok bool) filter.AccessLogFactory {
	if !ok || f.path == "" {
		return nil
	}
	return f
}

// NewAccessLog implements filter.AccessLogFactory: it opens the file.
func (f *lineFactory) NewAccessLog(env *filter.Env) (filter.AccessLog, error) {
	file, err := env.LogFiles.Open(f.path)
	if err != nil {
		return nil, err
	}
	return &lines{file: file, format: f.format}, nil
}

// lines writes a line for each entry.
type lines struct {
	file   filter.LogFile
	format state.Formatter
	bufs   sync.Pool // of *[]byte
}

// longLine is the most memory that is kept for the next line.
const longLine = 64 << 10

// Log implements filter.AccessLog.
func (l *lines) Log(info *filter.Info, t filter.AccessLogType) {
	b, ok := l.bufs.Get().(*[]byte)
	if !ok {
		b = new([]byte)
	}
	*b = l.format.Append((*b)[:0], info, t)
	if len(*b) > 0 {
		l.file.Write(*b) //nolint:errcheck // a dropped line is counted by the file
	}
	if cap(*b) <= longLine {
		l.bufs.Put(b)
	}
}
