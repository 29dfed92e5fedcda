package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

// fault is something that happens while requests are counted.
type fault struct {
	name   string
	what   string
	strike func(ctx context.Context, f *faulty) error
	// restarts tells that proxies end by this fault.
	restarts bool
}

var allFaults = []fault{
	{"controller", "every controller killed and held", holdControllers, false},
	{"apiserver", "the API server killed", killAPIServer, false},
	{"rollout", "rolling updates of the proxies", rollOut, true},
	{"certificates", "certificate rotations", rotate, false},
	{"edits", "route edits", editRoute, false},
}

// nonsensical is a part of faults without counted requests.
const nonsensical = "nonsense"

func faultNames() []string {
	var names []string
	for _, f := range allFaults {
		names = append(names, f.name)
	}
	return append(names, nonsensical)
}

// faulty is a run of faults.
type faulty struct {
	*bench
	address   string // of the load balancer
	proxies   []cluster.Pod
	authority *authority
	judge     judge
}

const loadHost = "load.example"

func faults(ctx context.Context, b *bench, parts []string) error {
	f := &faulty{bench: b}
	b.requests = orDefault(b.requests, choose(b, 100_000, 2000))
	b.rate = orDefault(b.rate, choose(b, 700, 200))
	if err := f.begin(ctx); err != nil {
		return err
	}
	chosen := func(name string) bool { return len(parts) == 0 || slices.Contains(parts, name) }
	for _, fault := range allFaults {
		if chosen(fault.name) {
			if err := f.count(ctx, fault); err != nil {
				return fmt.Errorf("%s: %w", fault.name, err)
			}
		}
	}
	if chosen(nonsensical) {
		return nonsense(ctx, f)
	}
	return nil
}

func (f *faulty) begin(ctx context.Context) (err error) {
	if err = f.namespace(ctx, f.name, nil); err != nil {
		return err
	}
	for _, name := range []string{"a", "b", "c"} {
		_, objects, err := f.backend(name, f.name)
		if err != nil {
			return err
		}
		if err := f.Create(ctx, objects...); err != nil {
			return err
		}
	}
	if f.authority, err = newAuthority(); err != nil {
		return err
	}
	pair, err := f.authority.issue(loadHost)
	if err != nil {
		return err
	}
	f.judge.serial.Store(pair.serial)
	objects := secret(f.name, "certificate", pair.certificate, pair.key)
	objects = append(objects, edge(f.name, 2, plain+encrypted)...)
	objects = append(objects, route(f.name, "load", loadHost, "a", 0))
	if err := f.Create(ctx, objects...); err != nil {
		return err
	}
	if f.address, f.proxies, err = f.programmed(ctx, f.name, 2); err != nil {
		return err
	}
	if _, err := added(direct(f.proxies, "80"), loadHost, "a").served(ctx, time.Now()); err != nil {
		return err
	}
	return f.balanced(ctx)
}

// balanced waits until the load balancer's address answers: kube-proxy is up to a second behind.
func (f *faulty) balanced(ctx context.Context) error {
	client := load.HTTP1(net.JoinHostPort(f.address, "80"))
	defer client.Close()
	return cluster.Until(ctx, time.Minute, "the load balancer", func() string {
		if answer, err := client.Get(ctx, loadHost, "/"); err != nil {
			return err.Error()
		} else if answer.Status != 200 {
			return summary(answer)
		}
		return ""
	})
}

// clients are many that keep their connections, over HTTP/1 and HTTP/2, and some that do not.
func (f *faulty) clients() []*load.Client {
	var all []*load.Client
	roots := f.authority.roots()
	open, closed := net.JoinHostPort(f.address, "80"), net.JoinHostPort(f.address, "443")
	for range 4 {
		all = append(all, load.HTTP1(open), load.HTTP1(open), load.HTTPS1(closed, roots), load.HTTPS2(closed, roots),
			load.HTTP1(open).Fresh(), load.HTTPS1(closed, roots).Fresh(), load.HTTP1(open), load.HTTPS2(closed, roots))
	}
	return all
}

// count sends requests while a fault strikes; none may fail.
func (f *faulty) count(ctx context.Context, fault fault) error {
	f.report.figure("%s: %s", fault.name, fault.what)
	done, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		time.Sleep(time.Second) // some requests before it
		done <- fault.strike(ctx, f)
	}()
	clients := f.clients()
	plan := load.Plan{
		Rate: f.rate, Least: f.requests, Done: done, Settle: 2 * time.Second, Clients: clients, Host: loadHost,
		Before: f.judge.before, Judge: f.judge.after,
	}
	record := plan.Run(ctx)
	<-ended // also when the load was cut off: what was killed is started again
	for _, client := range clients {
		client.Close()
	}
	f.report.figure("%s: %s; %d sent again after a GOAWAY", fault.name, record.Times, record.Again)
	f.report.require(len(record.Failures) == 0, "%s: %d of %d requests failed", fault.name, len(record.Failures), record.Sent)
	var failures []string
	for _, failure := range record.Failures {
		failures = append(failures, failure.String())
	}
	f.report.first(failures)
	if record.Err != nil {
		return record.Err
	}
	if fault.restarts {
		var err error
		_, f.proxies, err = f.programmed(ctx, f.name, 2)
		return err
	}
	f.unchanged(ctx, "proxies", f.proxies, f.name, proxiesOfEdge)
	return nil
}

func orDefault(value, otherwise int) int {
	if value > 0 {
		return value
	}
	return otherwise
}
