package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

const rolloutHost = "rollout.example"

// rollouts that are run, each with another new version.
var rollouts = []struct {
	name   string
	status int
	delay  time.Duration
	phase  string // in which it ends
	kill   bool   // the controller that leads, on the way
}{
	{"healthy", 200, 0, "Succeeded", true},
	{"errors", 503, 0, "RolledBack", false},
	{"latency", 200, 1500 * time.Millisecond, "RolledBack", false},
}

func rolloutNames() []string {
	var all []string
	for _, one := range rollouts {
		all = append(all, one.name)
	}
	return all
}

// rollout takes a route to a healthy version, and to broken ones, under load: nothing may fail but what a broken version answers
// itself while it has a share, and of that it has none after two steps.
func rollout(ctx context.Context, b *bench, parts []string) error {
	if err := b.refusedRollouts(ctx); err != nil {
		return err
	}
	for _, one := range rollouts {
		if len(parts) > 0 && !strings.Contains(strings.Join(parts, " "), one.name) {
			continue
		}
		stable, err := load.Serve("v1", nodeAddress)
		if err != nil {
			return err
		}
		canary, err := load.Serve("v2", nodeAddress)
		if err != nil {
			return err
		}
		b.backends = append(b.backends, stable, canary)
		canary.Behave(one.status, one.delay)
		if err := b.roll(ctx, one.name, one.phase, one.kill, stable, canary); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return nil
}

// roll runs one to its end.
func (b *bench) roll(ctx context.Context, name, phase string, kill bool, stable, canary *load.Backend) error {
	namespace := b.name + "-" + name
	if err := b.namespace(ctx, namespace, nil); err != nil {
		return err
	}
	objects := append(edge(namespace, 2, plain), append(service(namespace, "v1", stable), service(namespace, "v2", canary)...)...)
	objects = append(objects, rules(namespace, "web", rolloutHost, `
  - backendRefs: [{ name: v1, port: 80, weight: 1 }, { name: v2, port: 80, weight: 0 }]`))
	if err := b.Create(ctx, objects...); err != nil {
		return err
	}
	address, _, err := b.programmed(ctx, namespace, 2)
	if err != nil {
		return err
	}
	client := load.HTTP1(address + ":80")
	// kube-proxy learns of the address a moment later.
	err = cluster.Until(ctx, time.Minute, "the stable version", func() string {
		if answer, err := client.Get(ctx, rolloutHost, "/"); err != nil {
			return err.Error()
		} else if answer.Body != "v1" {
			return summary(answer)
		}
		return ""
	})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	plan := load.Plan{Rate: choose(b, 300, 100), Done: done, Settle: 2 * time.Second, Clients: []*load.Client{client}, Host: rolloutHost}
	records := make(chan *load.Record, 1)
	go func() { records <- plan.Run(ctx) }()
	began := time.Now()
	done <- func() error {
		if err := b.Create(ctx, rolloutOf(namespace, "[{ weight: 20, pause: 3s }, { weight: 60, pause: 3s }]", "v2")); err != nil {
			return err
		}
		if kill {
			if err := b.killLeader(ctx, namespace); err != nil {
				return err
			}
		}
		return b.ends(ctx, namespace, phase)
	}()
	record := <-records
	if record.Err != nil {
		return record.Err
	}
	b.report.figure("%s: %d requests, %s after %.1f s", name, record.Sent, phase, time.Since(began).Seconds())
	b.judgeRoll(ctx, name, phase, record, client)
	return nil
}

// judgeRoll requires that only the canary failed, and that all requests go where they should now.
func (b *bench) judgeRoll(ctx context.Context, name, phase string, record *load.Record, client *load.Client) {
	var others []string
	own := 0
	for _, failure := range record.Failures {
		if failure.Err == "status 503: v2" {
			own++
		} else {
			others = append(others, failure.String())
		}
	}
	b.report.require(len(others) == 0, "%s: %d requests failed that the new version did not answer itself (%d it did)", name, len(others), own)
	b.report.first(others)
	wanted := "v1"
	if phase == "Succeeded" {
		wanted = "v2"
	}
	elsewhere := 0
	for range 200 {
		if answer, err := client.Get(ctx, rolloutHost, "/"); err != nil || answer.Body != wanted {
			elsewhere++
		}
	}
	b.report.require(elsewhere == 0, "%s: of 200 requests %d go elsewhere than to %s", name, elsewhere, wanted)
}

// ends waits until a rollout is over, and requires how.
func (b *bench) ends(ctx context.Context, namespace, phase string) error {
	last := int64(0)
	return cluster.Until(ctx, 3*time.Minute, "Rollout "+namespace+"/web", func() string {
		object, err := b.Get(ctx, "Rollout", namespace, "web")
		if err != nil {
			return err.Error()
		}
		now, _, _ := unstructured.NestedString(object.Object, "status", "phase")
		weight, _, _ := unstructured.NestedInt64(object.Object, "status", "weight")
		if weight > last && phase == "RolledBack" {
			b.report.require(weight <= 60, "%s: %d %%", namespace, weight)
		}
		last = weight
		if now != phase {
			return fmt.Sprintf("%s at %d %%, not %s", now, weight, phase)
		}
		accepted := cluster.Find(cluster.Conditions(object, ""), "Accepted")
		healthy := cluster.Find(cluster.Conditions(object, ""), "Healthy")
		b.report.require(accepted.Status == "True", "%s is accepted: %s", namespace, accepted)
		b.report.require((healthy.Status == "True") == (phase == "Succeeded"), "%s: %s", namespace, healthy)
		return ""
	})
}

// killLeader waits for the first step, and ends who leads: another one goes on from status.
func (b *bench) killLeader(ctx context.Context, namespace string) error {
	err := cluster.Until(ctx, time.Minute, "the first step", func() string {
		object, err := b.Get(ctx, "Rollout", namespace, "web")
		if err != nil {
			return err.Error()
		}
		if step, _, _ := unstructured.NestedInt64(object.Object, "status", "step"); step < 1 {
			return "it has not begun"
		}
		return ""
	})
	if err != nil {
		return err
	}
	leader, _, err := b.leader(ctx)
	if err != nil {
		return err
	}
	_, err = b.Testbed(ctx, "kill", system+"/"+leader.Name)
	return err
}

// refusedRollouts requires that the API server takes none that cannot be.
func (b *bench) refusedRollouts(ctx context.Context) error {
	for says, object := range map[string]*unstructured.Unstructured{
		"each step's weight must be more": rolloutOf("default", "[{ weight: 20 }, { weight: 20 }]", "v2"),
		"stable and canary are the same":  rolloutOf("default", "[{ weight: 20 }]", "v1"),
		"spec.steps":                      rolloutOf("default", "[]", "v2"),
	} {
		err := b.Try(ctx, object)
		b.report.require(apierrors.IsInvalid(err) && strings.Contains(err.Error(), says), "refused: %.200v", err)
	}
	return nil
}

func rolloutOf(namespace, steps, canary string) *unstructured.Unstructured {
	return cluster.Parsef(`
apiVersion: fairway.dev/v1alpha1
kind: Rollout
metadata: { name: web, namespace: %s }
spec:
  targetRef: { group: gateway.networking.k8s.io, kind: HTTPRoute, name: web }
  stable: { name: v1, port: 80 }
  canary: { name: %s, port: 80 }
  steps: %s
  analysis: { interval: 1s, minRequests: 20, p99: 1s }
`, namespace, canary, steps)[0]
}
