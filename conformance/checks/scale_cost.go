package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

// memory tells, and judges at the full number, what the processes hold.
func (s *scaling) memory(routes int) {
	judge := func(what string, pods []cluster.Pod, limit int64) {
		for _, pod := range pods {
			bytes, err := cluster.Memory(pod.PID)
			text := fmt.Sprintf("%s %s at %d routes: %.1f MB%s", what, pod.Name, routes, float64(bytes)/1e6, because(err))
			if routes < s.total {
				s.report.figure("%s", text)
				continue
			}
			s.report.require(err == nil && bytes <= limit, "%s (limit %d MB)", text, limit/1_000_000)
		}
	}
	judge("controller", s.controllers, controllerLimit)
	judge("proxy", s.proxies, proxyLimit)
}

// costs are those of one change in CPU time, by number of routes: the leader's, and all controllers'.
type costs struct{ leader, all time.Duration }

// edit changes one route again and again, and tells what a change costs the controllers beyond what they use when idle.
func (s *scaling) edit(ctx context.Context, routes int) error {
	time.Sleep(2 * time.Second) // statuses are written by then
	const quiet = 5 * time.Second
	idle, err := s.cpu(func() error { time.Sleep(quiet); return nil })
	if err != nil {
		return err
	}
	var times load.Times
	began := time.Now()
	used, err := s.cpu(func() error {
		for i := 1; i <= s.edits; i++ {
			p := edited(s.clients, host(0), i-1, i)
			took, err := s.change(ctx, p, false, func() error {
				return s.Apply(ctx, route(s.name, routeName(0), p.host, s.at(0), i))
			})
			if err != nil {
				return err
			}
			times = append(times, took)
		}
		time.Sleep(time.Second) // the last status is written by then
		return nil
	})
	if err != nil {
		return err
	}
	lasted := time.Since(began)
	// The next round begins where this one did.
	if err := s.Apply(ctx, route(s.name, routeName(0), host(0), s.at(0), 0)); err != nil {
		return err
	}
	if _, err := edited(s.clients, host(0), s.edits, 0).served(ctx, time.Now()); err != nil {
		return err
	}
	net := func(used, idle time.Duration) time.Duration {
		return (used - time.Duration(float64(idle)*lasted.Seconds()/quiet.Seconds())) / time.Duration(s.edits)
	}
	now := costs{net(used.leader, idle.leader), net(used.all, idle.all)}
	s.report.figure("edits, at %d routes, from API write to served: %s", routes, times)
	s.report.figure("controller CPU of one change at %d routes: leader %.2f ms, all %.2f ms; idle %.1f %% of a core",
		routes, now.leader.Seconds()*1000, now.all.Seconds()*1000, 100*idle.all.Seconds()/quiet.Seconds())
	if routes == s.points[0] {
		s.before = now
		return nil
	}
	s.report.within(times.At(0.99), latencyLimit, "propagation of edits p99 at %d routes", routes)
	ratio := now.leader.Seconds() / s.before.leader.Seconds()
	text := fmt.Sprintf("controller CPU of one change: %.2f times that at %d routes (limit %.0f)", ratio, s.points[0], growthLimit)
	if s.short {
		s.report.figure("%s, not judged", text)
		return nil
	}
	s.report.require(s.before.leader > 0 && ratio <= growthLimit, "%s", text)
	return nil
}

// cpu gives what the controllers use while something is done.
func (s *scaling) cpu(do func() error) (costs, error) {
	take := func() (c costs, err error) {
		for i, pod := range s.controllers {
			used, problem := cluster.CPU(pod.PID)
			err = errors.Join(err, problem)
			c.all += used
			if i == 0 {
				c.leader = used
			}
		}
		return c, err
	}
	from, err := take()
	if err != nil {
		return costs{}, err
	}
	if err := do(); err != nil {
		return costs{}, err
	}
	to, err := take()
	return costs{to.leader - from.leader, to.all - from.all}, err
}

// statusWrites counts the writes of a Gateway's status, as a watch sees them: the API server joins none.
type statusWrites struct {
	count, attached atomic.Int64
	since           atomic.Int64 // when attached became what it is, in microseconds
	stop            func()
}

func (s *scaling) watchGateway(ctx context.Context) *statusWrites {
	ctx, cancel := context.WithCancel(ctx)
	w := &statusWrites{stop: cancel}
	w.attached.Store(-1)
	gateway, err := s.Get(ctx, "Gateway", s.name, "edge")
	if err != nil {
		s.report.fail("%v", err)
		return w
	}
	events, err := s.Of("Gateway", s.name).Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=edge", ResourceVersion: gateway.GetResourceVersion(),
	})
	if err != nil {
		s.report.fail("%v", err)
		return w
	}
	go func() {
		defer events.Stop()
		for event := range events.ResultChan() {
			now, is := event.Object.(*unstructured.Unstructured)
			if !is {
				continue
			}
			w.count.Add(1)
			if attached := cluster.AttachedRoutes(now, "http"); w.attached.Swap(attached) != attached {
				w.since.Store(time.Now().UnixMicro())
			}
		}
		if ctx.Err() == nil {
			s.report.fail("the watch that counts status writes ended early")
		}
	}()
	return w
}
