// Command checks proves on the testbed what Fairway promises beyond the conformance suite: how it scales, what faults cost,
// how it starts without its controller, what tenants can do to each other, what rollouts do, whether the guide
// of the sample says what comes of it, and what the API server refuses. Start it by
// `conformance/testbed`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"fairway.dev/conformance/checks/cluster"
)

// check is one program.
type check struct {
	name  string
	limit time.Duration // it ends by itself, whatever happens
	parts []string      // that can be chosen
	run   func(ctx context.Context, b *bench, parts []string) error
}

var checks = []check{
	{"scale", 40 * time.Minute, nil, scale},
	{"faults", 60 * time.Minute, faultNames(), faults},
	{"coldstart", 10 * time.Minute, nil, coldstart},
	{"tenants", 10 * time.Minute, nil, tenants},
	{"rollout", 15 * time.Minute, rolloutNames(), rollout},
	{"capture", 60 * time.Minute, captureNames(), capture},
	{"books", 10 * time.Minute, taleNames(), books},
	{"schema", 5 * time.Minute, nil, schema},
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	index := slices.IndexFunc(checks, func(c check) bool { return c.name == os.Args[1] })
	if index < 0 {
		usage()
	}
	c := checks[index]
	flags := flag.NewFlagSet(c.name, flag.ExitOnError)
	short := flags.Bool("short", false, "few objects and requests; times are told, not judged, because the machine may be busy")
	keep := flags.Bool("keep", false, "leave the namespaces, to look at")
	requests := flags.Int("requests", 0, "requests of each fault (100000; short: 2000)")
	rate := flags.Int("rate", 0, "requests a second (700; short: 200)")
	_ = flags.Parse(os.Args[2:]) // it exits
	for _, part := range flags.Args() {
		if !slices.Contains(c.parts, part) {
			fmt.Fprintf(os.Stderr, "checks: %s has no part %q: %s\n", c.name, part, strings.Join(c.parts, " "))
			os.Exit(2)
		}
	}
	os.Exit(run(c, &bench{name: "check-" + c.name, short: *short, keep: *keep, requests: *requests, rate: *rate}, flags.Args()))
}

func run(c check, b *bench, parts []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	b.report = newReport(c.name, !b.short)
	var err error
	if b.Cluster, err = cluster.Open(); err == nil {
		err = c.run(ctx, b, parts)
		b.close()
	}
	if err != nil {
		b.report.fail("%s could not go on: %v", c.name, err)
	}
	return b.report.end()
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: conformance/testbed scale|faults|coldstart|tenants|rollout|capture|books|schema [--short] [--keep] [--requests N] [--rate N] [PART…]")
	os.Exit(2)
}
