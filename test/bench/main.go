// Command bench measures ginnel beside Envoy, HAProxy and nginx: CPU time, throughput,
// latency and memory as a TCP proxy, with and without chains of internal listeners.
//
//	go run ./test/bench                                   # everything, about 20 minutes
//	go run ./test/bench -short -only bulk-down-1 -peers envoy
//	go run ./test/bench -variant pipes=--force-pipes -peers none
//
// It builds ginnel, starts each proxy as a child with a configuration of its own, and
// loads it over loopback from two more children, a load generator and a backend, which
// are this program again. docs/performance.md says what is measured and how to read it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	if role := os.Getenv(roleEnv); role != "" {
		exit(child(role))
	}
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err == nil {
		err = bench(o)
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// roleEnv tells a child of this program which one it is.
const roleEnv = "GINNEL_BENCH_ROLE"
