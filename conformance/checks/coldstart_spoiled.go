package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

// spoiled are snapshots not to be used, with what the proxy has to say of them.
var spoiled = []struct {
	what, says string
	spoil      func([]byte) []byte
}{
	{"one byte changed", "damaged", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
	{"cut off", "damaged", func(b []byte) []byte { return b[:len(b)*2/3] }},
	{"empty", "damaged", func([]byte) []byte { return nil }},
	{"another schema", "schema", func(b []byte) []byte { return bytes.Replace(b, []byte("SNAPSHOT 1"), []byte("SNAPSHOT 9"), 1) }},
}

// refused restarts the proxy with a spoiled snapshot: it serves nothing from it, and says so.
func (c *cold) refused(ctx context.Context, what, says string, text []byte) error {
	if err := os.WriteFile(c.snapshot, text, 0o600); err != nil {
		return err
	}
	if err := c.restart(ctx); err != nil {
		return err
	}
	admin := load.HTTP1(c.pod.Address + ":15000").Fresh()
	var ready string
	err := cluster.Until(ctx, patience, "its metrics", func() string {
		metrics, err := admin.Get(ctx, "admin", "/metrics")
		if err != nil {
			return err.Error()
		}
		if !strings.Contains(metrics.Body, "fairway_snapshot_failed{role=\"gateway\"} 1") {
			return "fairway_snapshot_failed is not 1"
		}
		answer, err := admin.Get(ctx, "admin", "/readyz")
		if err != nil {
			return err.Error()
		}
		ready = fmt.Sprint(answer.Status, " ", answer.Body)
		return ""
	})
	c.report.require(err == nil, "snapshot %s: metric fairway_snapshot_failed is 1%s", what, because(err))
	c.report.require(!strings.HasPrefix(ready, "200") && strings.Contains(ready, says), "snapshot %s: not ready, and /readyz says %q", what, ready)
	log, err := c.Testbed(ctx, "kubectl", "-n", c.name, "logs", c.pod.Name)
	c.report.require(err == nil && strings.Contains(log, says), "snapshot %s: the log says so%s", what, because(err))
	answer, err := direct([]cluster.Pod{c.pod}, "80")[0].Get(ctx, host(0), "/")
	c.report.require(err != nil, "snapshot %s: nothing is served from it: %v %v", what, answer, err)
	return nil
}
