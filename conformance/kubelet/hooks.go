package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"
)

// postStart runs the container's hook after its start; the container is not started before it is over.
func (c *container) postStart(r *run) error {
	if c.spec.Lifecycle == nil || c.spec.Lifecycle.PostStart == nil {
		return nil
	}
	return c.hook(r.ctx, r, c.spec.Lifecycle.PostStart, time.Hour)
}

// preStop runs the container's hook before SIGTERM, within the grace. A hook that fails changes nothing else.
func (c *container) preStop(r *run, grace time.Duration) {
	if c.spec.Lifecycle == nil || c.spec.Lifecycle.PreStop == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, grace)
	defer cancel()
	if err := c.hook(ctx, r, c.spec.Lifecycle.PreStop, grace); err != nil && r.ctx.Err() == nil {
		c.w.event(v1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed: "+err.Error())
	}
}

func (c *container) hook(ctx context.Context, r *run, h *v1.LifecycleHandler, limit time.Duration) error {
	switch {
	case h.Exec != nil:
		return c.execute(ctx, r, h.Exec.Command, limit)
	case h.Sleep != nil:
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
			return nil
		}
	case h.HTTPGet != nil:
		req, err := httpprobe.NewRequestForHTTPGetAction(h.HTTPGet, &c.spec, c.w.address(), "lifecycle")
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req.WithContext(ctx))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode >= http.StatusBadRequest {
			return fmt.Errorf("hook answered %s", resp.Status)
		}
	}
	return nil // tcpSocket does nothing in Kubernetes either
}
