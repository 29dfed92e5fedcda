package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

// sizes of a run of scale, in routes unless said otherwise.
type sizes struct {
	points   []int // after so many, figures are taken; the last is how many come one by one
	window   int   // of changes that a figure sums up
	total    int
	bulk     int // come at once, and go at once
	edits    int // changes of one object, at the first point and at the end
	services int // Services that routes share
	churn    int // changes of endpoints
}

const (
	latencyLimit    = 30 * time.Millisecond // p99, from API write to served
	controllerLimit = 150_000_000           // bytes
	proxyLimit      = 60_000_000            // bytes
	growthLimit     = 2.0                   // CPU of one change, from the first point to the end
	countLimit      = time.Second           // until attachedRoutes is right
	writesLimit     = 50                    // of the Gateway's status, for one bulk
)

// scaling is a run of scale.
type scaling struct {
	*bench
	sizes
	proxies     []cluster.Pod
	clients     []*load.Client
	controllers []cluster.Pod // the leader first
	count       int           // routes that there are
	wrong       []string
	before      costs // at the first point
}

func scale(ctx context.Context, b *bench, _ []string) error {
	s := &scaling{bench: b, sizes: choose(b,
		sizes{[]int{500, 1000, 2000, 3000}, 500, 5000, 1000, 200, 100, 300},
		sizes{[]int{50, 100}, 50, 300, 100, 20, 10, 20})}
	if err := s.begin(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{s.grow, s.fill, s.steady, s.churnEndpoints, s.shrink} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	s.report.require(len(s.wrong) == 0, "%d wrong answers: only 404, then 200", len(s.wrong))
	s.report.first(s.wrong)
	s.unchanged(ctx, "controllers", s.controllers, system, controllers)
	s.unchanged(ctx, "proxies", s.proxies, s.name, proxiesOfEdge)
	return nil
}

func (s *scaling) begin(ctx context.Context) error {
	if err := s.namespace(ctx, s.name, nil); err != nil {
		return err
	}
	for i := range s.services {
		_, objects, err := s.backend(serviceName(i), s.name)
		if err != nil {
			return err
		}
		if err := s.Create(ctx, objects...); err != nil {
			return err
		}
	}
	if err := s.Create(ctx, edge(s.name, 1, plain)...); err != nil {
		return err
	}
	_, proxies, err := s.programmed(ctx, s.name, 1)
	if err != nil {
		return err
	}
	leader, others, err := s.leader(ctx)
	s.proxies, s.clients, s.controllers = proxies, direct(proxies, "80"), append([]cluster.Pod{leader}, others...)
	return err
}

func serviceName(i int) string     { return fmt.Sprintf("s%03d", i) }
func host(i int) string            { return fmt.Sprintf("r%05d.scale.example", i) }
func routeName(i int) string       { return fmt.Sprintf("r%05d", i) }
func (s *scaling) at(i int) string { return serviceName(i % s.services) }

// grow adds routes one by one, each watched until it is served.
func (s *scaling) grow(ctx context.Context) error {
	writes := s.watchGateway(ctx)
	defer writes.stop()
	began := time.Now()
	var times load.Times
	for _, point := range s.points {
		for ; s.count < point; s.count++ {
			p := added(s.clients, host(s.count), s.at(s.count))
			took, err := s.change(ctx, p, true, func() error {
				return s.Create(ctx, route(s.name, routeName(s.count), p.host, s.at(s.count), 0))
			})
			if err != nil {
				return err
			}
			times = append(times, took)
		}
		last := times[len(times)-s.window:]
		s.report.figure("routes %d, from API write to served, of the last %d: %s", point, s.window, last)
		s.memory(point)
		if point == s.points[len(s.points)-1] {
			s.report.within(last.At(0.99), latencyLimit, "propagation p99 at %d routes", point)
		}
		if point == s.points[0] {
			if err := s.edit(ctx, point); err != nil {
				return err
			}
		}
	}
	s.report.figure("one by one: %d status writes of the Gateway in %.0f s", writes.count.Load(), time.Since(began).Seconds())
	return nil
}

// change makes a change and watches it. A wrong answer is remembered; only what cannot be written ends the check.
func (s *scaling) change(ctx context.Context, p *probe, isNew bool, write func() error) (time.Duration, error) {
	if isNew {
		for _, client := range s.clients {
			if answer, err := client.Get(ctx, p.host, "/"); err != nil || !p.isOld(answer) {
				s.wrong = append(s.wrong, fmt.Sprintf("%s, before it was written: %v %v", p.host, answer, err))
			}
		}
	}
	if err := write(); err != nil {
		return 0, err
	}
	took, err := p.served(ctx, time.Now())
	if err != nil {
		s.wrong = append(s.wrong, err.Error())
		return patience, ctx.Err()
	}
	return took, nil
}

// each calls do for numbers from..to, eight at a time.
func each(from, to int, do func(i int) error) error {
	var group errgroup.Group
	group.SetLimit(8)
	for i := from; i < to; i++ {
		group.Go(func() error { return do(i) })
	}
	return group.Wait()
}
