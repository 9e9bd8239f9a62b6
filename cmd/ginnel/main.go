// Command ginnel is an Envoy-compatible proxy that chains connections through
// internal listeners. It takes Envoy's flags; the sub-commands are its own:
//
//	ginnel demo                 run a small chain and show what it does
//	ginnel validate FILE        report everything that is wrong with a configuration
//	ginnel version
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/ginnel/ginnel/internal/cli"
)

func main() { os.Exit(run(os.Args)) }

// run returns the exit code.
func run(args []string) int {
	program, args := args[0], args[1:]
	if len(args) > 0 {
		switch args[0] {
		case "demo":
			return demo(args[1:])
		case "validate":
			return validate(args[1:])
		case "version":
			fmt.Println(versionLine(program))
			return 0
		}
	}
	flags, err := cli.Parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		var parse *cli.ParseError
		if errors.As(err, &parse) && parse.Argument != "" {
			fmt.Fprintln(os.Stderr)
			cli.Brief(os.Stderr, program)
		}
		return 1
	}
	switch {
	case flags.Help:
		cli.Usage(os.Stdout, program)
		return 0
	case flags.Version:
		fmt.Printf("\n%s\n", versionLine(program))
		return 0
	case flags.HotRestartVersion:
		fmt.Fprintln(os.Stderr, "disabled")
		return 0
	case flags.Mode == "validate":
		return validateMode(flags)
	}
	return serve(flags)
}
