package main

import (
	"context"
	"fmt"
	"time"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

// fill adds routes to the full number: a first bulk at once, whose status writes are counted.
func (s *scaling) fill(ctx context.Context) error {
	create := func(i int) error {
		return s.Create(ctx, route(s.name, routeName(i), host(i), s.at(i), 0))
	}
	if err := s.counted(ctx, "created", s.count, s.count+s.bulk, create); err != nil {
		return err
	}
	from := s.count + s.bulk
	s.count = max(s.total, from)
	if err := each(from, s.count, create); err != nil {
		return err
	}
	_, err := added(s.clients, host(s.count-1), s.at(s.count-1)).served(ctx, time.Now())
	return err
}

// steady takes what routes cost that do not change, and what one costs that does.
func (s *scaling) steady(ctx context.Context) error {
	for i := range s.count {
		for _, client := range s.clients {
			answer, err := client.Get(ctx, host(i), "/")
			if err != nil || answer.Status != 200 || answer.Body != s.at(i) {
				s.wrong = append(s.wrong, fmt.Sprintf("%s at %d routes: %v %v", host(i), s.count, answer, err))
			}
		}
	}
	s.memory(s.count)
	return s.edit(ctx, s.count)
}

// shrink takes routes away at once.
func (s *scaling) shrink(ctx context.Context) error {
	from := s.count - s.bulk
	err := s.counted(ctx, "deleted", from, s.count, func(i int) error {
		return s.Delete(ctx, "HTTPRoute", s.name, routeName(i))
	})
	s.count = from
	return err
}

// counted makes a bulk of changes, and judges the status writes of the Gateway.
func (s *scaling) counted(ctx context.Context, what string, from, to int, do func(i int) error) error {
	writes := s.watchGateway(ctx)
	defer writes.stop()
	want := int64(to)
	if what == "deleted" {
		want = int64(from)
	}
	began := time.Now()
	if err := each(from, to, do); err != nil {
		return err
	}
	ended := time.Now()
	err := cluster.Until(ctx, time.Minute, "attachedRoutes", func() string {
		if now := writes.attached.Load(); now != want {
			return fmt.Sprintf("%d, not %d", now, want)
		}
		return ""
	})
	if err != nil {
		s.report.fail("%v", err)
		return nil
	}
	right := time.UnixMicro(writes.since.Load())
	time.Sleep(3 * time.Second) // a write too many would come by then
	s.report.figure("%d routes %s in %.1f s", to-from, what, ended.Sub(began).Seconds())
	s.report.within(max(0, right.Sub(ended)), countLimit, "attachedRoutes is %d after the last of %d routes was %s", want, to-from, what)
	s.report.require(writes.count.Load() <= writesLimit, "%d status writes of the Gateway while %d routes were %s (limit %d)",
		writes.count.Load(), to-from, what, writesLimit)
	s.report.require(writes.attached.Load() == want, "attachedRoutes stays %d", want)
	return nil
}

// churnEndpoints moves Services from one endpoint to another and back, while both serve.
func (s *scaling) churnEndpoints(ctx context.Context) error {
	other, err := load.Serve("other", nodeAddress)
	if err != nil {
		return err
	}
	defer other.Close()
	places := make([]*load.Backend, s.services)
	copy(places, s.backends)
	var times load.Times
	for i := range s.churn {
		service := i % s.services
		from, to := places[service], other
		if from == other {
			to = s.backends[service]
		}
		says := func(b *load.Backend) func(*load.Answer) bool {
			return func(a *load.Answer) bool { return a.Status == 200 && a.Body == b.Name }
		}
		// Any route of the Service will do.
		p := &probe{clients: s.clients, host: host(service), isOld: says(from), isNew: says(to)}
		took, err := s.change(ctx, p, false, func() error { return s.Apply(ctx, endpoints(s.name, serviceName(service), to)) })
		if err != nil {
			return err
		}
		places[service] = to
		times = append(times, took)
	}
	s.report.figure("endpoints, at %d routes, from API write to served: %s", s.count, times)
	s.report.within(times.At(0.99), latencyLimit, "propagation of endpoints p99 at %d routes", s.count)
	return nil
}
