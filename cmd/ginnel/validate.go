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

// validate is the sub-command: all faults and warnings of each file.
func validate(args []string) int {
	strict, format, files, err := validateArgs(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\nusage: ginnel validate [--strict] [--format text|json] FILE...\n", err)
		return 1
	}
	code := 0
	for _, file := range files {
		r, err := load.Load(load.Source{Path: file}, builtin.Registry())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
			continue
		}
		if r.Err(strict) != nil {
			code = 1
		}
		if format == "json" {
			printJSON(r, file, strict)
		} else {
			printText(r, file, strict)
		}
	}
	return code
}

func validateArgs(args []string) (strict bool, format string, files []string, err error) {
	format = "text"
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		switch {
		case name == "--strict":
			strict = true
		case name == "--format":
			if !inline {
				if i++; i == len(args) {
					return false, "", nil, errors.New("--format wants a value")
				}
				value = args[i]
			}
			format = value
		case name == "-c" || name == "--config-path":
			if !inline {
				if i++; i == len(args) {
					return false, "", nil, fmt.Errorf("%s wants a value", name)
				}
				value = args[i]
			}
			files = append(files, value)
		case strings.HasPrefix(name, "-"):
			return false, "", nil, fmt.Errorf("unknown flag %s", name)
		default:
			files = append(files, args[i])
		}
	}
	if format != "text" && format != "json" {
		return false, "", nil, fmt.Errorf("unknown format %q", format)
	}
	if len(files) == 0 {
		return false, "", nil, errors.New("which file?")
	}
	return strict, format, files, nil
}

// printText prints all issues in the order of their places, then the verdict.
func printText(r *load.Result, file string, strict bool) {
	faults := 0
	for _, i := range r.Issues {
		switch {
		case i.Severity == config.Error, i.Severity == config.Strict && strict:
			faults++
			i.Severity = config.Error
			fmt.Println(i)
		case i.Severity == config.Strict:
			fmt.Printf("%v (an error with --strict)\n", i)
		default:
			fmt.Println(i)
		}
	}
	if faults > 0 {
		fmt.Printf("configuration '%s' is not valid: %s\n", file, count(faults, "fault"))
		return
	}
	fmt.Printf("configuration '%s' OK\n", file)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func printJSON(r *load.Result, file string, strict bool) {
	issues := r.Issues
	if issues == nil {
		issues = config.Issues{}
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	_ = out.Encode(struct {
		File   string        `json:"file"`
		OK     bool          `json:"ok"`
		Issues config.Issues `json:"issues"`
	}{file, r.Err(strict) == nil, issues})
}

// source is what the flags say about the configuration: the node's names on the
// command line win over those of the file.
func source(f *cli.Flags) load.Source {
	return load.Source{Path: f.ConfigPath, Override: f.ConfigYAML, AllowUnknownFields: f.AllowUnknown, Edit: nodeOf(f)}
}
