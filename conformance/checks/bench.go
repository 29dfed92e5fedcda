package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

const (
	nodeAddress   = "198.18.0.1"
	system        = "fairway-system"
	controllers   = "app.kubernetes.io/name=fairway-controller"
	proxiesOfEdge = "gateway.networking.k8s.io/gateway-name=edge"
	// The deployment of Gateway edge: GATEWAY-CLASS.
	deployment = "edge-fairway"
)

// bench is what a check works with.
type bench struct {
	*cluster.Cluster
	report         *report
	name           string // of its namespace
	short, keep    bool
	requests, rate int

	backends []*load.Backend
	made     []string // namespaces
}

// choose gives the size of something in a full run and in a short one.
func choose[T any](b *bench, full, short T) T {
	if b.short {
		return short
	}
	return full
}

// namespace makes an empty one, which goes when the check ends.
func (b *bench) namespace(ctx context.Context, name string, labels map[string]string) error {
	b.made = append(b.made, name)
	return b.Fresh(ctx, name, labels)
}

// backend starts one in the node's network, with the objects of a Service for it.
func (b *bench) backend(name, namespace string) (*load.Backend, []*unstructured.Unstructured, error) {
	backend, err := load.Serve(name, nodeAddress)
	if err != nil {
		return nil, nil, err
	}
	b.backends = append(b.backends, backend)
	return backend, service(namespace, name, backend), nil
}

// close ends what the check has made, also after it was cut off.
func (b *bench) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for _, name := range b.made {
		if b.keep {
			break
		}
		if err := b.Gone(ctx, name); err != nil {
			b.report.fail("%v", err)
		}
	}
	for _, backend := range b.backends {
		backend.Close()
	}
}

// programmed waits until Gateway edge is programmed with so many proxies; it gives its address and them.
func (b *bench) programmed(ctx context.Context, namespace string, replicas int) (string, []cluster.Pod, error) {
	var address string
	var pods []cluster.Pod
	err := cluster.Until(ctx, 2*time.Minute, "Gateway "+namespace+"/edge", func() string {
		gateway, err := b.Get(ctx, "Gateway", namespace, "edge")
		if err != nil {
			return err.Error()
		}
		condition := cluster.Find(cluster.Conditions(gateway, ""), "Programmed")
		if condition.Status != "True" || !condition.IsCurrent {
			return condition.String()
		}
		addresses, _, _ := unstructured.NestedSlice(gateway.Object, "status", "addresses")
		if len(addresses) == 0 {
			return "it has no address"
		}
		address, _ = addresses[0].(map[string]any)["value"].(string)
		if pods, err = b.proxies(ctx, namespace); err != nil {
			return err.Error()
		}
		if len(pods) != replicas {
			return fmt.Sprintf("%d proxies, not %d", len(pods), replicas)
		}
		return ""
	})
	return address, pods, err
}

func (b *bench) proxies(ctx context.Context, namespace string) ([]cluster.Pod, error) {
	return b.Pods(ctx, namespace, proxiesOfEdge)
}

// leader gives the controller that leads, and the others.
func (b *bench) leader(ctx context.Context) (cluster.Pod, []cluster.Pod, error) {
	lease, err := b.Of("Lease", system).Get(ctx, "fairway-controller", metav1.GetOptions{})
	if err != nil {
		return cluster.Pod{}, nil, err
	}
	holder, _, _ := unstructured.NestedString(lease.Object, "spec", "holderIdentity")
	pods, err := b.Pods(ctx, system, controllers)
	if err != nil {
		return cluster.Pod{}, nil, err
	}
	for i, pod := range pods {
		if len(holder) > len(pod.Name) && holder[:len(pod.Name)] == pod.Name {
			return pod, append(pods[:i:i], pods[i+1:]...), nil
		}
	}
	return cluster.Pod{}, nil, errors.New("no controller leads: " + holder)
}

// unchanged requires that the pods of before still run, in the same processes.
func (b *bench) unchanged(ctx context.Context, what string, before []cluster.Pod, namespace, selector string) {
	after, err := b.Pods(ctx, namespace, selector)
	same := 0
	for _, old := range before {
		if slices.ContainsFunc(after, old.Same) {
			same++
		}
	}
	b.report.require(same == len(before), "%s: %d of %d run on, not restarted%s", what, same, len(before), because(err))
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}
