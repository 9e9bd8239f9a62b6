package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/internal/cli"
	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/load"
)

// validateMode is --mode validate: what it prints, and where, is Envoy's.
func validateMode(f *cli.Flags) int {
	log, err := cli.OpenLog(f)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	logger := log.Logger()
	r, err := load.Load(source(f), builtin.Registry())
	if err == nil {
		warn(logger, r.Warnings(false))
		err = r.Err(false)
	}
	if err != nil {
		logger.Log(context.Background(), cli.LevelCritical, fmt.Sprintf("error initializing configuration '%s': %v", f.ConfigPath, err))
		return 1
	}
	fmt.Printf("configuration '%s' OK\n", f.ConfigPath)
	return 0
}

func warn(log *slog.Logger, issues config.Issues) {
	for _, i := range issues {
		log.Warn(i.String(), "logger", "config")
	}
}

// validate is the sub-command: all faults and warnings of one file.
func validate(args []string) int {
	strict, format, file, err := validateArgs(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\nusage: ginnel validate [--strict] [--format text|json] FILE\n", err)
		return 1
	}
	r, err := load.Load(load.Source{Path: file}, builtin.Registry())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	faults := r.Err(strict)
	if format == "json" {
		printJSON(r, faults == nil)
	} else {
		printText(r, file, strict, faults)
	}
	if faults != nil {
		return 1
	}
	return 0
}

func validateArgs(args []string) (strict bool, format, file string, err error) {
	format = "text"
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		switch {
		case name == "--strict":
			strict = true
		case name == "--format":
			if !inline {
				if i++; i == len(args) {
					return false, "", "", errors.New("--format wants a value")
				}
				value = args[i]
			}
			format = value
		case name == "-c" || name == "--config-path":
			if !inline {
				if i++; i == len(args) {
					return false, "", "", fmt.Errorf("%s wants a value", name)
				}
				value = args[i]
			}
			file = value
		case strings.HasPrefix(name, "-"):
			return false, "", "", fmt.Errorf("unknown flag %s", name)
		default:
			file = args[i]
		}
	}
	if format != "text" && format != "json" {
		return false, "", "", fmt.Errorf("unknown format %q", format)
	}
	if file == "" {
		return false, "", "", errors.New("which file?")
	}
	return strict, format, file, nil
}

func printText(r *load.Result, file string, strict bool, faults error) {
	for _, i := range r.Warnings(strict) {
		note := ""
		if i.Severity == config.Strict {
			note = " (an error with --strict)"
		}
		fmt.Printf("%v%s\n", i, note)
	}
	if faults != nil {
		fmt.Println(faults)
		return
	}
	fmt.Printf("configuration '%s' OK\n", file)
}

func printJSON(r *load.Result, ok bool) {
	issues := r.Issues
	if issues == nil {
		issues = config.Issues{}
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	_ = out.Encode(struct {
		OK     bool          `json:"ok"`
		Issues config.Issues `json:"issues"`
	}{ok, issues})
}

// source is what the flags say about the configuration: the node's names on the
// command line win over those of the file.
func source(f *cli.Flags) load.Source {
	return load.Source{Path: f.ConfigPath, Override: f.ConfigYAML, AllowUnknownFields: f.AllowUnknown, Edit: nodeOf(f)}
}
