package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fairway.dev/conformance/checks/cluster"
)

// cycles captures all Services and lets them go, again and again.
func cycles(ctx context.Context, c *captured) error {
	var captures, releases time.Duration
	count := choose(c.bench, 50, 2)
	for range count {
		began := time.Now()
		if err := c.want(ctx, true); err != nil {
			return err
		}
		captures = max(captures, time.Since(began))
		began = time.Now()
		if err := c.want(ctx, false); err != nil {
			return err
		}
		releases = max(releases, time.Since(began))
	}
	c.report.figure("%d times %d Services: captured in %.1f s, let go in %.1f s at most", count, len(c.services), captures.Seconds(), releases.Seconds())
	return nil
}

// restartWaypoint restarts its pods as `kubectl rollout restart` does.
func restartWaypoint(ctx context.Context, c *captured) error {
	for range choose(c.bench, 3, 1) {
		old, err := c.Pods(ctx, c.name, waypointPods)
		if err != nil {
			return err
		}
		if _, err := c.Testbed(ctx, "kubectl", "-n", c.name, "rollout", "restart", "deployment/"+waypointName); err != nil {
			return err
		}
		if _, err := c.Testbed(ctx, "kubectl", "-n", c.name, "rollout", "status", "deployment/"+waypointName, "--timeout=180s"); err != nil {
			return err
		}
		for _, pod := range old {
			err := cluster.Until(ctx, 2*time.Minute, "the end of "+pod.Name, func() string {
				if _, err := c.Get(ctx, "Pod", c.name, pod.Name); err == nil {
					return "it still runs"
				}
				return ""
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// holdAll kills every controller and lets none start again for two minutes.
func holdAll(ctx context.Context, c *captured) error {
	target := system + "/fairway-controller-*"
	if _, err := c.Testbed(ctx, "kill", target, "--hold"); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-time.After(choose(c.bench, outage, 4*time.Second)):
	}
	if _, err := c.Testbed(context.WithoutCancel(ctx), "start", target); err != nil {
		return err
	}
	// Changes are followed again.
	if err := c.want(ctx, false); err != nil {
		return err
	}
	return c.want(ctx, true)
}

// restartPods deletes pods behind the waypoint one by one, and waits for the next each time.
func restartPods(ctx context.Context, c *captured) error {
	for range choose(c.bench, 20, 3) {
		pods, err := c.Pods(ctx, c.name, "app=echo")
		if err != nil {
			return err
		}
		if len(pods) == 0 {
			return fmt.Errorf("no pod is ready")
		}
		if err := c.Delete(ctx, "Pod", c.name, pods[0].Name); err != nil {
			return err
		}
		err = cluster.Until(ctx, time.Minute, "three pods", func() string {
			now, err := c.Pods(ctx, c.name, "app=echo")
			if err != nil {
				return err.Error()
			}
			for _, pod := range now {
				if pod.UID == pods[0].UID {
					return "the old one is still there"
				}
			}
			if len(now) != 3 {
				return fmt.Sprintf("%d are ready", len(now))
			}
			return ""
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// killWaypoint kills the process of one pod; Kubernetes starts it again.
func killWaypoint(ctx context.Context, c *captured) error {
	pods, err := c.Pods(ctx, c.name, waypointPods)
	if err != nil || len(pods) == 0 {
		return fmt.Errorf("no waypoint: %w", err)
	}
	if _, err := c.Testbed(ctx, "kill", pods[0].Target()); err != nil {
		return err
	}
	if _, err = c.waypoints(ctx, 2); err != nil {
		return err
	}
	return cluster.Until(ctx, time.Minute, "captured Services", func() string { return c.differs(ctx, true) })
}

// mistreat does to a captured Service what users, controllers of rollouts and GitOps do; it stays captured.
func mistreat(ctx context.Context, c *captured) error {
	const name = "s0"
	still := func(what string) error {
		err := cluster.Until(ctx, 30*time.Second, what, func() string { return c.differs(ctx, true) })
		c.report.require(err == nil, "still captured after %s%s", what, because(err))
		return nil
	}
	if err := c.Apply(ctx, c.service(name)); err != nil {
		return err
	}
	_ = still("its manifest was applied again")
	for _, selector := range []string{`{"app":"echo","pod-template-hash":null}`, `{"app":"echo"}`} {
		if err := c.Patch(ctx, "Service", c.name, name, fmt.Sprintf(`{"spec":{"selector":%s}}`, selector)); err != nil {
			return err
		}
	}
	_ = still("its selector was patched")
	if err := c.Patch(ctx, "Service", c.name, name, fmt.Sprintf(`{"metadata":{"labels":{%q:null}}}`, captureLabel)); err != nil {
		return err
	}
	_ = still("its label was taken away")
	if err := c.Delete(ctx, "EndpointSlice", c.name, name+"-wp-4"); err != nil {
		return err
	}
	_ = still("its EndpointSlice was deleted")
	if err := c.fails(ctx, name, "open", "nothing is about it"); err != nil {
		return err
	}
	policy := cluster.Parsef(`
apiVersion: fairway.dev/v1alpha1
kind: SecurityPolicy
metadata: { name: guard, namespace: %s }
spec:
  targetRefs: [{ group: "", kind: Service, name: %s }]
  cors: { allowOrigins: ["https://a.example"] }
`, c.name, name)[0]
	if err := c.Apply(ctx, policy); err != nil {
		return err
	}
	if err := c.fails(ctx, name, "closed", "a SecurityPolicy is about it"); err != nil {
		return err
	}
	if err := c.Delete(ctx, "SecurityPolicy", c.name, "guard"); err != nil {
		return err
	}
	return c.fails(ctx, name, "open", "the SecurityPolicy is gone")
}

// fails waits until a Service has a failure mode.
func (c *captured) fails(ctx context.Context, name, mode, why string) error {
	err := cluster.Until(ctx, 30*time.Second, "failure mode "+mode, func() string {
		service, err := c.Get(ctx, "Service", c.name, name)
		if err != nil {
			return err.Error()
		}
		now, _, _ := unstructured.NestedString(service.Object, "metadata", "labels", "fairway.dev/capture-failure-mode")
		if now != mode {
			return "it is " + now
		}
		return c.differs(ctx, true)
	})
	c.report.require(err == nil, "%s, and it fails %s%s", why, mode, because(err))
	return nil
}
