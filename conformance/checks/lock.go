package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"fairway.dev/conformance/checks/cluster"
)

// locked: pods of ratings can be reached through the waypoint only, by those that its policy lets in; and by all again afterwards.
func locked(ctx context.Context, b *bench) error {
	if _, err := identityBegin(ctx, b); err != nil {
		return err
	}
	pods, err := b.Pods(ctx, bookNamespace, "app=ratings")
	if err != nil || len(pods) != 1 {
		return fmt.Errorf("%d pods of ratings: %w", len(pods), err)
	}
	around := caller{"before: another pod, around the waypoint", "deploy/front", nil, "/", "200 books/ratings", pods[0].Address + ":8080"}
	around.try(ctx, b)

	if err := b.Patch(ctx, "Namespace", "", bookNamespace, `{"metadata":{"labels":{"fairway.dev/lock":"true"}}}`); err != nil {
		return err
	}
	if err := b.bound(ctx, "lets only those reach its pods"); err != nil {
		return err
	}
	for _, one := range []caller{
		{what: "locked: through the waypoint", pod: "deploy/reviews-v2", path: "/", want: "200 books/ratings"},
		{what: "locked: another pod, through the waypoint", pod: "deploy/front", path: "/", want: "403 authz_default"},
	} {
		one.try(ctx, b)
	}
	shut(ctx, b, "locked: another pod, around the waypoint, is not let in", "deploy/front", around.host)
	shut(ctx, b, "locked: nor who is let in by the policy", "deploy/reviews-v2", around.host)

	if err := b.Patch(ctx, "Namespace", "", bookNamespace, `{"metadata":{"labels":{"fairway.dev/lock":null}}}`); err != nil {
		return err
	}
	if err := b.bound(ctx, "NOT enforced"); err != nil {
		return err
	}
	around.what = "unlocked: " + strings.TrimPrefix(around.what, "before: ")
	around.try(ctx, b)

	// A Service that is let go while it is locked is unlocked first.
	if err := b.Patch(ctx, "Namespace", "", bookNamespace, `{"metadata":{"labels":{"fairway.dev/lock":"true"}}}`); err != nil {
		return err
	}
	if err := b.bound(ctx, "lets only those reach its pods"); err != nil {
		return err
	}
	if err := b.Patch(ctx, "Namespace", "", bookNamespace, `{"metadata":{"labels":{"fairway.dev/use-waypoint":null}}}`); err != nil {
		return err
	}
	failed, asked := 0, 0
	err = cluster.Until(ctx, time.Minute, "the Service to be let go", func() string {
		out := ask(ctx, b, caller{pod: "deploy/reviews-v2", path: "/"})
		failed, asked = failed+3-read(out)["200 books/ratings"], asked+3
		service, err := b.Get(ctx, "Service", bookNamespace, "ratings")
		if err != nil {
			return err.Error()
		}
		if _, is := service.GetLabels()[captureLabel]; is {
			return "it is captured"
		}
		if out := ask(ctx, b, caller{pod: "deploy/front", path: "/"}); read(out)["200 books/ratings"] != 3 {
			return out
		}
		return ""
	})
	if err != nil {
		return err
	}
	b.report.require(failed == 0, "let go while locked: %d of %d requests failed", failed, asked)
	return nil
}

// bound waits until the condition of ratings says something.
func (b *bench) bound(ctx context.Context, text string) error {
	return cluster.Until(ctx, time.Minute, "ratings: "+text, func() string {
		service, err := b.Get(ctx, "Service", bookNamespace, "ratings")
		if err != nil {
			return err.Error()
		}
		condition := cluster.Find(cluster.Conditions(service, ""), boundToOne)
		if condition.Status != "True" || !strings.Contains(condition.Message, text) {
			return condition.String()
		}
		return ""
	})
}

// shut: nobody answers this pod there.
func shut(ctx context.Context, b *bench, what, pod, host string) {
	out := ask(ctx, b, caller{pod: pod, host: host, flags: []string{"--timeout", "2s"}})
	problem := ""
	if read(out).of("failed") != 3 {
		problem = ", but it says " + strings.TrimSpace(out)
	}
	b.report.require(problem == "", "%s%s", what, problem)
}
