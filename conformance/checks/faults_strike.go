package main

import (
	"context"
	"fmt"
	"net"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
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

// every is the pause between so many changes, for them to fill the time of all requests.
func (f *faulty) every(changes int) time.Duration {
	return time.Duration(f.requests) * time.Second / time.Duration(f.rate*changes)
}

// rotate replaces the certificate again and again; each must be shown by every proxy within a second.
func rotate(ctx context.Context, f *faulty) error {
	var clients []*load.Client
	for _, pod := range f.proxies {
		clients = append(clients, load.HTTPS1(net.JoinHostPort(pod.Address, "443"), f.authority.roots()).Fresh())
	}
	rotations := choose(f.bench, 100, 5)
	var times load.Times
	for range rotations {
		next := time.After(f.every(rotations))
		pair, err := f.authority.issue(loadHost)
		if err != nil {
			return err
		}
		if err := f.Apply(ctx, secret(f.name, "certificate", pair.certificate, pair.key)...); err != nil {
			return err
		}
		shows := func(a *load.Answer) bool { return serialOf(a) == pair.serial }
		p := &probe{clients: clients, host: loadHost, isNew: shows, isOld: func(a *load.Answer) bool { return serialOf(a) == pair.serial-1 }}
		took, err := p.served(ctx, time.Now())
		if err != nil {
			return fmt.Errorf("certificate %d: %w", pair.serial, err)
		}
		times = append(times, took)
		f.judge.serial.Store(pair.serial)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next:
		}
	}
	f.report.figure("certificates, from API write to shown by all proxies: %s", times)
	f.report.within(times.At(1), time.Second, "the slowest of %d certificates", rotations)
	return nil
}

// editRoute changes backends, weights, filters and matches of the route under load.
func editRoute(ctx context.Context, f *faulty) error {
	clients := direct(f.proxies, "80")
	first := int(f.judge.edit.Load())
	edits := choose(f.bench, 200, 20)
	for i := first + 1; i <= first+edits; i++ {
		next := time.After(f.every(edits))
		if err := f.Apply(ctx, rules(f.name, "load", loadHost, variant(i))); err != nil {
			return err
		}
		if _, err := edited(clients, loadHost, i-1, i).served(ctx, time.Now()); err != nil {
			return fmt.Errorf("edit %d: %w", i, err)
		}
		f.judge.edit.Store(int64(i))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next:
		}
	}
	return nil
}

// variant gives the rules of an edit: every one another shape, all of which answer GET /.
func variant(edit int) string {
	set := fmt.Sprintf(`{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: X-Edit, value: "%d" }] } }`, edit)
	shapes := []string{
		`
  - backendRefs: [{ name: a, port: 80, weight: %[2]d }, { name: b, port: 80, weight: 100 }]
    filters: [%[1]s]`,
		`
  - backendRefs: [{ name: c, port: 80 }]
    filters: [%[1]s, { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: X-More, value: "%[2]d" }] } }]`,
		`
  - matches: [{ path: { type: PathPrefix, value: /never } }]
    backendRefs: [{ name: a, port: 80, weight: 0 }]
  - matches: [{ path: { type: Exact, value: / } }]
    backendRefs: [{ name: a, port: 80 }, { name: b, port: 80, weight: 0 }, { name: c, port: 80, weight: %[2]d }]
    filters: [%[1]s]`,
		`
  - backendRefs: [{ name: b, port: 80, filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: [X-%[2]d] } }] }]
    filters: [%[1]s, { type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: /x%[2]d } } }]
    timeouts: { request: 5s }`,
	}
	return fmt.Sprintf(shapes[edit%len(shapes)], set, edit%100)
}
