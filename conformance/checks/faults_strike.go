package main

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairway.dev/conformance/checks/cluster"
)

const outage = 2 * time.Minute

// holdControllers kills every controller, lets none start again for two minutes, and sees that they serve again.
func holdControllers(ctx context.Context, f *faulty) error {
	if _, err := f.Testbed(ctx, "kill", system+"/fairway-controller-*", "--hold"); err != nil {
		return err
	}
	return f.endure(ctx, system+"/fairway-controller-*")
}

// killAPIServer does so with the API server.
func killAPIServer(ctx context.Context, f *faulty) error {
	if _, err := f.Testbed(ctx, "kill", "kube-apiserver"); err != nil {
		return err
	}
	return f.endure(ctx, "kube-apiserver")
}

// endure lets an outage last, ends it, and waits until a change is served again.
func (f *faulty) endure(ctx context.Context, target string) error {
	lasts := choose(f.bench, outage, 4*time.Second)
	select {
	case <-ctx.Done():
	case <-time.After(lasts):
	}
	// Also when the check is cut off: what is held would stay held.
	if _, err := f.Testbed(context.WithoutCancel(ctx), "start", target); err != nil {
		return err
	}
	began := time.Now()
	err := cluster.Until(ctx, 2*time.Minute, "the API server", func() string {
		_, err := f.Get(ctx, "HTTPRoute", f.name, "load")
		return because(err)
	})
	if err != nil {
		return err
	}
	edit := int(f.judge.edit.Load()) + 1
	if err := f.Apply(ctx, route(f.name, "load", loadHost, "a", edit)); err != nil {
		return err
	}
	err = cluster.Until(ctx, 2*time.Minute, "a change after the outage", func() string {
		_, err := edited(direct(f.proxies, "80"), loadHost, edit-1, edit).served(ctx, time.Now())
		return because(err)
	})
	if err != nil {
		return err
	}
	f.judge.edit.Store(int64(edit))
	f.report.figure("outage of %s for %s; a change is served %.1f s after its end", target, lasts, time.Since(began).Seconds())
	return nil
}

// rollOut restarts the proxies as `kubectl rollout restart` does, and waits until the last old one has gone.
func rollOut(ctx context.Context, f *faulty) error {
	for range choose(f.bench, 3, 1) {
		began := time.Now()
		old, err := f.running(ctx)
		if err != nil {
			return err
		}
		if _, err := f.Testbed(ctx, "kubectl", "-n", f.name, "rollout", "restart", "deployment/"+deployment); err != nil {
			return err
		}
		if _, err := f.Testbed(ctx, "kubectl", "-n", f.name, "rollout", "status", "deployment/"+deployment, "--timeout=180s"); err != nil {
			return err
		}
		for uid := range old {
			err := cluster.Until(ctx, 2*time.Minute, "the end of proxy "+uid, func() string {
				now, err := f.running(ctx)
				if err != nil {
					return err.Error()
				}
				if now[uid] {
					return "it still runs"
				}
				return ""
			})
			if err != nil {
				return err
			}
		}
		f.report.figure("rolling update in %.1f s", time.Since(began).Seconds())
	}
	return nil
}

// running gives the proxies by UID, those that are ending too.
func (f *faulty) running(ctx context.Context) (map[string]bool, error) {
	list, err := f.Of("Pod", f.name).List(ctx, metav1.ListOptions{LabelSelector: proxiesOfEdge})
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, pod := range list.Items {
		all[string(pod.GetUID())] = true
	}
	return all, nil
}
