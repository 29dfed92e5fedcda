package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"fairway.dev/conformance/checks/load"
)

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
