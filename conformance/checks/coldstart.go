package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

// coldLimit is from the start of the process to the first answer.
const coldLimit = 2 * time.Second

// cold is a run of coldstart.
type cold struct {
	*bench
	pod      cluster.Pod
	snapshot string // the file
	routes   int
}

// coldstart restarts a proxy while no controller runs: from its snapshot, and from spoiled ones.
func coldstart(ctx context.Context, b *bench, _ []string) error {
	c := &cold{bench: b, routes: choose(b, 500, 50)}
	if err := c.begin(ctx); err != nil {
		return err
	}
	if _, err := c.Testbed(ctx, "kill", system+"/fairway-controller-*", "--hold"); err != nil {
		return err
	}
	held := true
	release := func() error {
		if !held {
			return nil
		}
		held = false
		_, err := c.Testbed(context.WithoutCancel(ctx), "start", system+"/fairway-controller-*")
		return err
	}
	defer func() { _ = release() }()
	for range choose(c.bench, 5, 2) {
		if err := c.warm(ctx); err != nil {
			return err
		}
	}
	good, err := os.ReadFile(c.snapshot)
	if err != nil {
		return err
	}
	for _, s := range choose(c.bench, spoiled, spoiled[:2]) {
		if err := c.refused(ctx, s.what, s.says, s.spoil(bytes.Clone(good))); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := release(); err != nil {
		return err
	}
	return c.recovered(ctx, began)
}

func (c *cold) begin(ctx context.Context) error {
	if err := c.namespace(ctx, c.name, nil); err != nil {
		return err
	}
	_, all, err := c.backend("a", c.name)
	if err != nil {
		return err
	}
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	pair, err := authority.issue(loadHost)
	if err != nil {
		return err
	}
	all = append(all, secret(c.name, "certificate", pair.certificate, pair.key)...)
	all = append(all, edge(c.name, 1, plain+encrypted)...)
	for i := range c.routes {
		all = append(all, route(c.name, routeName(i), host(i), "a", 0))
	}
	if err := c.Create(ctx, all...); err != nil {
		return err
	}
	_, pods, err := c.programmed(ctx, c.name, 1)
	if err != nil {
		return err
	}
	c.pod = pods[0]
	c.snapshot = c.pod.Volume("state") + "/snapshot"
	err = cluster.Until(ctx, patience, "the snapshot", func() string {
		text, err := os.ReadFile(c.snapshot)
		for i := range c.routes {
			if err == nil && !bytes.Contains(text, []byte("/"+routeName(i))) {
				return routeName(i) + " is not in it"
			}
		}
		return because(err)
	})
	if err != nil {
		return err
	}
	text, err := os.ReadFile(c.snapshot)
	c.report.require(err == nil && !bytes.Contains(text, []byte("PRIVATE KEY")), "the snapshot, %d bytes, holds no private key%s", len(text), because(err))
	return nil
}

// restart kills the container, not the pod: its emptyDir stays.
func (c *cold) restart(ctx context.Context) error {
	old := c.pod.PID
	if _, err := c.Testbed(ctx, "kill", c.pod.Target()); err != nil {
		return err
	}
	// The kubelet waits longer and longer between restarts, a minute at most.
	return cluster.Until(ctx, time.Minute+patience, "another process", func() string {
		if err := c.Refresh(&c.pod); err != nil || c.pod.PID == old {
			return "the old one is noted" + because(err)
		}
		return ""
	})
}

// warm restarts the proxy and asks for every route.
func (c *cold) warm(ctx context.Context) error {
	if err := c.restart(ctx); err != nil {
		return err
	}
	client := direct([]cluster.Pod{c.pod}, "80")[0].Fresh()
	var wrong []string
	err := cluster.Until(ctx, patience, "the start from the snapshot", func() string {
		answer, err := client.Get(ctx, host(0), "/")
		if err == nil && answer.Status != 200 {
			wrong = append(wrong, summary(answer))
		}
		if err != nil || answer.Status != 200 {
			return fmt.Sprint(answer, err)
		}
		return ""
	})
	if err != nil {
		return err
	}
	took, err := cluster.Age(c.pod.PID)
	if err != nil {
		return err
	}
	for i := range c.routes {
		if answer, err := client.Get(ctx, host(i), "/"); err != nil || answer.Status != 200 || answer.Body != "a" {
			wrong = append(wrong, fmt.Sprint(host(i), answer, err))
		}
	}
	c.report.within(took, coldLimit, "without a controller: from the start of the process to served")
	c.report.require(len(wrong) == 0, "%d wrong answers of %d routes after the start from the snapshot", len(wrong), c.routes)
	c.report.first(wrong)
	return nil
}

// recovered waits for the controller's configuration, and for a snapshot that is good again.
func (c *cold) recovered(ctx context.Context, began time.Time) error {
	client := direct([]cluster.Pod{c.pod}, "80")[0].Fresh()
	err := cluster.Until(ctx, 2*time.Minute, "the recovery", func() string {
		answer, err := client.Get(ctx, host(c.routes-1), "/")
		if err != nil || answer.Status != 200 {
			return fmt.Sprint(answer, err)
		}
		return ""
	})
	c.report.require(err == nil, "the controller is back: served again after %.1f s%s", time.Since(began).Seconds(), because(err))
	admin := load.HTTP1(c.pod.Address + ":15000").Fresh()
	err = cluster.Until(ctx, patience, "a good snapshot", func() string {
		metrics, err := admin.Get(ctx, "admin", "/metrics")
		if err != nil {
			return err.Error()
		}
		if !strings.Contains(metrics.Body, "fairway_snapshot_failed{role=\"gateway\"} 0") {
			return "fairway_snapshot_failed is not 0"
		}
		return ""
	})
	text, unread := os.ReadFile(c.snapshot)
	c.report.require(err == nil && bytes.Contains(text, []byte("/"+routeName(c.routes-1))), "and the snapshot is good again%s%s", because(err), because(unread))
	return nil
}
