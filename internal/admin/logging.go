package admin

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// levels are Envoy's names.
var levels = []string{"trace", "debug", "info", "warning", "error", "critical", "off"}

func (s *Server) logging(w http.ResponseWriter, r *http.Request) {
	status, trouble := http.StatusOK, ""
	if err := s.setLevels(r.Form); err != nil {
		status, trouble = http.StatusBadRequest, fmt.Sprintf("error: %v\n\n", err)+loggingUsage()
	}
	text(w, status, trouble+s.loggers())
}

func loggingUsage() string {
	return "usage: /logging?<name>=<level> (change single level)\n" +
		"usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n" +
		"usage: /logging?level=<level> (change all levels)\n" +
		"usage: /logging?group=<group_name>:<level> (change group of loggers)\n" +
		"levels: " + strings.Join(levels, " ") + " \n"
}

func (s *Server) loggers() string {
	var b strings.Builder
	b.WriteString("active loggers:\n")
	if s.opts.Levels != nil {
		all := s.opts.Levels.Levels()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			b.WriteString("  " + name + ": " + all[name] + "\n")
		}
	}
	b.WriteByte('\n')
	return b.String()
}

// Errors of /logging in Envoy's words.
var (
	errParameters  = errors.New("invalid number of parameters")
	errLoggerGroup = errors.New("group parameter requires fine-grain logging to be enabled")
	errEmptyLevel  = errors.New("empty logger name or empty logger level")
	errNoLogger    = errors.New("unknown logger name")
	errNoLevel     = errors.New("unknown logger level")
)

// setLevels does what the one parameter asks for; without one it does nothing.
func (s *Server) setLevels(form url.Values) error {
	if len(form) > 1 {
		return errParameters
	}
	for name := range form {
		v := form.Get(name)
		switch {
		case name == "level" && v == "", name == "paths" && v == "":
			return nil // as the home page sends it: only the list is wanted
		case name == "level":
			return s.change([][2]string{{"", v}})
		case name == "paths":
			return s.changePaths(v)
		case name == "group":
			return errLoggerGroup
		}
		return s.change([][2]string{{name, v}})
	}
	return nil
}

func (s *Server) changePaths(paths string) error {
	var todo [][2]string
	for p := range strings.SplitSeq(paths, ",") {
		name, level, _ := strings.Cut(p, ":")
		if name == "" || level == "" {
			return errEmptyLevel
		}
		todo = append(todo, [2]string{name, level})
	}
	return s.change(todo)
}

// change sets levels of components; nothing when one of them is wrong.
func (s *Server) change(todo [][2]string) error {
	if s.opts.Levels == nil {
		return errNoLogger
	}
	known := s.opts.Levels.Levels()
	for _, t := range todo {
		if t[0] != "" && t[1] == "" {
			return errEmptyLevel
		}
		if !slices.Contains(levels, t[1]) {
			return errNoLevel
		}
		if _, ok := known[t[0]]; !ok && t[0] != "" {
			return errNoLogger
		}
	}
	for _, t := range todo {
		if err := s.opts.Levels.SetLevel(t[0], t[1]); err != nil {
			return err
		}
	}
	return nil
}
