package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

// capturing is something that happens to captured Services while requests are counted.
type capturing struct {
	name, what string
	strike     func(ctx context.Context, c *captured) error
	// bound gives how many requests may fail.
	bound func(c *captured) (int, string)
}

var allCaptures = []capturing{
	{"cycles", "Services captured and let go", cycles, none},
	{"rollout", "rolling restarts of the waypoint", restartWaypoint, none},
	{"controller", "every controller killed and held", holdAll, none},
	{"pods", "restarts of pods behind it", restartPods, none},
	{"manifests", "what users do to a captured Service", mistreat, none},
	{"kill", "SIGKILL of one of two pods of the waypoint", killWaypoint, untilSeen},
}

func captureNames() []string {
	var names []string
	for _, c := range allCaptures {
		names = append(names, c.name)
	}
	return names
}

// captured is a run of it.
type captured struct {
	*bench
	services []string
	clients  []*load.Client
}

const (
	waypointPods  = "gateway.networking.k8s.io/gateway-name=waypoint"
	waypointName  = "waypoint-fairway-waypoint"
	boundToOne    = "fairway.dev/WaypointBound"
	ownedSlices   = "endpointslice.kubernetes.io/managed-by=waypoint.fairway.dev"
	captureLabel  = "fairway.dev/captured"
	shadowService = "fairway.dev/shadow-of"
)

func none(*captured) (int, string) { return 0, "none may" }

// untilSeen: connections to an address where nobody listens are refused until the node has heard of it.
func untilSeen(c *captured) (int, string) {
	return c.rate, "until the node hears of it, half of what comes in 2 s at most"
}

func capture(ctx context.Context, b *bench, parts []string) error {
	c := &captured{bench: b}
	b.requests = orDefault(b.requests, choose(b, 100_000, 2000))
	b.rate = orDefault(b.rate, choose(b, 500, 200))
	if err := c.begin(ctx); err != nil {
		return err
	}
	for _, one := range allCaptures {
		if len(parts) == 0 || slices.Contains(parts, one.name) {
			if err := c.count(ctx, one); err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
		}
	}
	return nil
}

// begin makes three pods and twenty Services of them, each with a client that keeps its connection and one that does not.
func (c *captured) begin(ctx context.Context) error {
	if err := c.namespace(ctx, c.name, map[string]string{"fairway.dev/use-waypoint": "auto"}); err != nil {
		return err
	}
	objects := cluster.Parsef(`
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo, namespace: %s }
spec:
  replicas: 3
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo } }
    spec:
      terminationGracePeriodSeconds: 10
      containers:
        - name: echo
          image: gateway-api/echo-basic:v1
          env:
            - { name: POD_NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
            - { name: NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
          readinessProbe: { httpGet: { path: /, port: 3000 }, periodSeconds: 1 }
          lifecycle: { preStop: { sleep: { seconds: 3 } } }
`, c.name)
	if err := c.Create(ctx, objects...); err != nil {
		return err
	}
	for i := range 20 {
		name := fmt.Sprintf("s%d", i)
		c.services = append(c.services, name)
		if err := c.Create(ctx, c.service(name)); err != nil {
			return err
		}
	}
	for _, name := range c.services {
		service, err := c.Get(ctx, "Service", c.name, name)
		if err != nil {
			return err
		}
		address, _, _ := unstructured.NestedString(service.Object, "spec", "clusterIP")
		client := load.HTTP1(net.JoinHostPort(address, "80"))
		c.clients = append(c.clients, client, client.Fresh())
	}
	err := cluster.Until(ctx, time.Minute, "every Service", func() string {
		for i, client := range c.clients {
			if answer, err := client.Get(ctx, "s", "/"); err != nil || answer.Status != 200 {
				return fmt.Sprintf("%s: %v", c.services[i/2], err)
			}
		}
		return ""
	})
	if err != nil {
		return err
	}
	_, err = c.waypoints(ctx, 2)
	return err
}

// service gives a Service as its user writes it.
func (c *captured) service(name string) *unstructured.Unstructured {
	return cluster.Parsef(`
apiVersion: v1
kind: Service
metadata: { name: %s, namespace: %s }
spec:
  selector: { app: echo }
  ports: [{ name: http, port: 80, targetPort: 3000, appProtocol: http }]
`, name, c.name)[0]
}

// waypoints waits for so many ready pods of the waypoint.
func (c *captured) waypoints(ctx context.Context, count int) (pods []cluster.Pod, err error) {
	err = cluster.Until(ctx, 2*time.Minute, "the waypoint", func() string {
		if pods, err = c.Pods(ctx, c.name, waypointPods); err != nil {
			return err.Error()
		}
		if len(pods) != count {
			return fmt.Sprintf("%d pods, not %d", len(pods), count)
		}
		return ""
	})
	return pods, err
}

// want has every Service captured, or none, and waits until it is so.
func (c *captured) want(ctx context.Context, all bool) error {
	value, what := "null", "every Service to be let go"
	if all {
		value, what = `"all"`, "every Service to be captured"
	}
	patch := fmt.Sprintf(`{"metadata":{"labels":{"fairway.dev/capture":%s}}}`, value)
	if err := c.Patch(ctx, "Namespace", "", c.name, patch); err != nil {
		return err
	}
	return cluster.Until(ctx, 2*time.Minute, what, func() string { return c.differs(ctx, all) })
}

// differs says what is not as it shall be.
func (c *captured) differs(ctx context.Context, all bool) string {
	list, err := c.Of("Service", c.name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for i := range list.Items {
		service := &list.Items[i]
		name := service.GetName()
		if _, is := service.GetLabels()[shadowService]; is && !all {
			return name + " is still there"
		}
		if !slices.Contains(c.services, name) {
			continue
		}
		bound := cluster.Find(cluster.Conditions(service, ""), boundToOne)
		if all && (bound.Status != "True" || bound.Reason != "Captured") {
			return name + ": " + bound.String()
		}
		if _, is := service.GetLabels()[captureLabel]; is != all {
			return name + " has other labels"
		}
	}
	if own, err := c.Of("EndpointSlice", c.name).List(ctx, metav1.ListOptions{LabelSelector: ownedSlices}); err != nil {
		return err.Error()
	} else if want := len(c.services); (all && len(own.Items) != want) || (!all && len(own.Items) != 0) {
		return fmt.Sprintf("%d EndpointSlices lead to the waypoint", len(own.Items))
	}
	return ""
}

// count sends requests while something happens.
func (c *captured) count(ctx context.Context, one capturing) error {
	c.report.figure("%s: %s", one.name, one.what)
	if one.name != "cycles" {
		if err := c.want(ctx, true); err != nil {
			return err
		}
		// Connections of before lead to pods, and stay.
		for _, client := range c.clients {
			client.Close()
		}
	}
	done, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		time.Sleep(time.Second)
		done <- one.strike(ctx, c)
	}()
	plan := load.Plan{
		Rate: c.rate, Least: choose(c.bench, 5000, 1000), Done: done, Settle: 2 * time.Second, Clients: c.clients, Host: "s",
	}
	if one.name == "cycles" {
		plan.Least = c.requests
	}
	record := plan.Run(ctx)
	<-ended
	may, why := one.bound(c)
	c.report.figure("%s: %s", one.name, record.Times)
	c.report.require(len(record.Failures) <= may, "%s: %d of %d requests failed, %s", one.name, len(record.Failures), record.Sent, why)
	var failures []string
	for _, failure := range record.Failures {
		failures = append(failures, failure.String())
	}
	c.report.first(failures)
	return record.Err
}
