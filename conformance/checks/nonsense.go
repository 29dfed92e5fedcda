package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

// absurd is an object that somebody might write.
type absurd struct {
	what    string
	objects objects
	refused string // by the API server: what its message names; else by Fairway, as follows
	kind    string // of which object's status, by name and section
	name    string
	section string
	want    cluster.Condition // type, status and reason; message: what it has to name
	serves  string            // a host that has to be served all the same
}

// nonsense writes objects of every kind of nonsense among good ones.
func nonsense(ctx context.Context, f *faulty) error {
	bad, err := absurdities(f.bench, f.authority)
	if err != nil {
		return err
	}
	controllersBefore, err := f.Pods(ctx, system, controllers)
	if err != nil {
		return err
	}
	clients := direct(f.proxies, "80")
	good := choose(f.bench, 500, 60)
	var times load.Times
	var wrong []string
	for i := range good {
		if share := good / len(bad); i%share == 0 && i/share < len(bad) {
			if err := f.write(ctx, &bad[i/share]); err != nil {
				return err
			}
		}
		name := fmt.Sprintf("good-%03d", i)
		if err := f.Create(ctx, route(f.name, name, name+".example", "a", 0)); err != nil {
			return err
		}
		took, err := added(clients, name+".example", "a").served(ctx, time.Now())
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		times = append(times, took)
	}
	f.report.figure("good routes among nonsense, from API write to served: %s", times)
	f.report.require(len(wrong) == 0, "%d of %d good routes were not served", len(wrong), good)
	f.report.first(wrong)
	f.report.within(times.At(1), time.Second, "the slowest of %d good routes", good)
	for i := range bad {
		f.explained(ctx, clients, &bad[i])
	}
	f.unchanged(ctx, "controllers", controllersBefore, system, controllers)
	f.unchanged(ctx, "proxies", f.proxies, f.name, proxiesOfEdge)
	return nil
}

// write makes the objects; what the API server has to refuse, it must refuse with a reason.
func (f *faulty) write(ctx context.Context, a *absurd) error {
	err := f.Apply(ctx, a.objects...)
	if a.refused == "" {
		return err
	}
	said := (apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err))
	f.report.require(said && strings.Contains(err.Error(), a.refused), "%s: the API server refuses it: %.200v", a.what, err)
	return nil
}

// explained requires that the status says why, and that what can be served is.
func (f *faulty) explained(ctx context.Context, clients []*load.Client, a *absurd) {
	if a.refused != "" {
		return
	}
	var found cluster.Condition
	err := cluster.Until(ctx, patience, "status", func() string {
		object, err := f.Get(ctx, a.kind, f.name, a.name)
		if err != nil {
			return err.Error()
		}
		found = cluster.Find(cluster.Conditions(object, a.section), a.want.Type)
		if !found.IsCurrent || found.Status != a.want.Status || found.Reason != a.want.Reason {
			return found.String()
		}
		return ""
	})
	f.report.require(err == nil && strings.Contains(found.Message, a.want.Message), "%s: %s %s says %v", a.what, a.kind, a.name, found)
	if a.serves != "" {
		_, err := added(clients, a.serves, "a").served(ctx, time.Now())
		f.report.require(err == nil, "%s: %s is served%s", a.what, a.serves, because(err))
	}
}
