package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"net"
	"strings"
	"time"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

// tenantsTable is the matrix: what tenants write, and what status and traffic have to say of it.
//
//go:embed tenants.yaml
var tenantsTable string

// removalLimit is how long traffic or a certificate may outlive the grant that was taken away.
const removalLimit = 2 * time.Second

// tenancy is a run of tenants: `a` owns Gateway edge, `b` is let in by a label, `c` is not.
type tenancy struct {
	*bench
	authority *authority
	proxies   []cluster.Pod
}

func tenants(ctx context.Context, b *bench, _ []string) error {
	t := &tenancy{bench: b}
	cases, err := readCases(tenantsTable)
	if err != nil {
		return err
	}
	if err := t.begin(ctx); err != nil {
		return err
	}
	for _, c := range cases {
		for i, step := range c.Steps {
			name := c.Case
			if len(c.Steps) > 1 {
				name = fmt.Sprintf("%s (%d)", c.Case, i+1)
			}
			if err := t.step(ctx, name, step); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

func (t *tenancy) begin(ctx context.Context) (err error) {
	if t.authority, err = newAuthority(); err != nil {
		return err
	}
	for name, labels := range map[string]map[string]string{"tenant-a": {"edge": "yes"}, "tenant-b": {"edge": "yes"}, "tenant-c": nil} {
		if err := t.namespace(ctx, name, labels); err != nil {
			return err
		}
		// The backend says whose it is.
		backend, err := load.Serve(name, nodeAddress)
		if err != nil {
			return err
		}
		t.backends = append(t.backends, backend)
		pair, err := t.authority.issue(name + ".tls.example")
		if err != nil {
			return err
		}
		if err := t.Create(ctx, append(service(name, "web", backend), secret(name, "certificate", pair.certificate, pair.key)...)...); err != nil {
			return err
		}
	}
	if err := t.Create(ctx, edge("tenant-a", 1, `
  - { name: own, port: 80, protocol: HTTP }
  - name: chosen
    port: 81
    protocol: HTTP
    hostname: "*.chosen.example"
    allowedRoutes: { namespaces: { from: Selector, selector: { matchLabels: { edge: "yes" } } }, kinds: [{ kind: HTTPRoute }] }
  - { name: all, port: 82, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }
  - { name: ours, port: 443, protocol: HTTPS, hostname: tenant-a.tls.example, tls: { certificateRefs: [{ name: certificate }] } }
  - { name: theirs, port: 443, protocol: HTTPS, hostname: tenant-b.tls.example, tls: { certificateRefs: [{ name: certificate, namespace: tenant-b }] } }`)...); err != nil {
		return err
	}
	_, t.proxies, err = t.programmed(ctx, "tenant-a", 1)
	return err
}

// step writes, and waits until everything is as expected; then it has to stay so.
func (t *tenancy) step(ctx context.Context, name string, s step) error {
	time.Sleep(time.Duration(s.Pause) * time.Millisecond)
	if err := t.Apply(ctx, cluster.Parse(s.Apply)...); err != nil {
		return err
	}
	for _, o := range s.Delete {
		if err := t.Delete(ctx, o.Kind, o.Namespace, o.Name); err != nil {
			return err
		}
	}
	began := time.Now()
	missing := func() string {
		var all []string
		for _, want := range s.Traffic {
			if left := t.traffic(ctx, want); left != "" {
				all = append(all, left)
			}
		}
		for _, want := range s.Status {
			if left := t.status(ctx, want); left != "" {
				all = append(all, left)
			}
		}
		return strings.Join(all, "; ")
	}
	err := cluster.Until(ctx, 10*time.Second, name, missing)
	took := time.Since(began)
	if err == nil {
		time.Sleep(50 * time.Millisecond)
		if left := missing(); left != "" {
			err = fmt.Errorf("%s: not for long: %s", name, left)
		}
	}
	if err != nil {
		t.report.fail("%v", err)
		return nil
	}
	t.report.require(true, "%s: %d statuses, %d kinds of traffic", name, len(s.Status), len(s.Traffic))
	if len(s.Delete) > 0 {
		t.report.within(took, removalLimit, "%s: after the grant was removed", name)
	}
	return nil
}

func (t *tenancy) status(ctx context.Context, want wantStatus) string {
	object, err := t.Get(ctx, want.Kind, want.Namespace, want.Name)
	if err != nil {
		return err.Error()
	}
	found := cluster.Find(cluster.Conditions(object, want.Section), want.Type)
	if found.IsCurrent && found.Status == want.Status && found.Reason == want.Reason {
		return ""
	}
	return fmt.Sprintf("%s %s/%s says %v, not %s=%s, %s", want.Kind, want.Namespace, want.Name, found, want.Type, want.Status, want.Reason)
}

func (t *tenancy) traffic(ctx context.Context, want wantTraffic) string {
	address := net.JoinHostPort(t.proxies[0].Address, fmt.Sprint(want.Port))
	client := load.HTTP1(address)
	if want.TLS {
		client = load.HTTPS1(address, t.authority.roots())
	}
	answer, err := client.Fresh().Get(ctx, want.Host, cmp.Or(want.Path, "/"))
	switch {
	case want.Refused && err != nil:
		return ""
	case want.Refused:
		return fmt.Sprintf("%s:%d is served: %d by %q", want.Host, want.Port, answer.Status, answer.Body)
	case err != nil:
		return fmt.Sprintf("%s:%d: %v", want.Host, want.Port, err)
	case answer.Status != want.Code || want.By != "" && answer.Body != want.By:
		return fmt.Sprintf("%s:%d: %d by %.40q, not %d %s", want.Host, want.Port, answer.Status, answer.Body, want.Code, want.By)
	}
	return ""
}
