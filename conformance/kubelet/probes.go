package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/kubernetes/pkg/probe"
	grpcprobe "k8s.io/kubernetes/pkg/probe/grpc"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"
	tcpprobe "k8s.io/kubernetes/pkg/probe/tcp"
)

// While a container is not ready, its readiness probe runs at least this often, whatever its period: a test waits for it.
const eager = 250 * time.Millisecond

// threshold turns results of a probe into a verdict, which changes after so many equal results in a row.
type threshold struct {
	verdict          bool
	success, failure int32
	row              int32
	last             bool
}

func newThreshold(p *v1.Probe, initially bool) *threshold {
	return &threshold{verdict: initially, success: max(p.SuccessThreshold, 1), failure: max(p.FailureThreshold, 1)}
}

// add takes a result in and tells whether the verdict is decided anew.
func (t *threshold) add(ok bool) bool {
	if t.row > 0 && t.last == ok {
		t.row++
	} else {
		t.row, t.last = 1, ok
	}
	if ok && t.row < t.success || !ok && t.row < t.failure {
		return false
	}
	t.verdict = ok
	return true
}

// probe runs a container's probes: the startup probe alone, then the other two until the program ends.
func (c *container) probe(r *run) {
	if p := c.spec.StartupProbe; p != nil {
		passed := false
		c.repeat(r, p, "Startup", newThreshold(p, false), func(ok bool) bool {
			if passed = ok; !ok {
				c.condemn(r, p, "startup")
			}
			return false
		})
		if !passed {
			return
		}
	}
	c.mark(r, func() { c.started, c.ready = true, c.spec.ReadinessProbe == nil })
	if p := c.spec.ReadinessProbe; p != nil {
		go c.repeat(r, p, "Readiness", newThreshold(p, false), func(ok bool) bool {
			c.mark(r, func() { c.ready = ok })
			return true
		})
	}
	if p := c.spec.LivenessProbe; p != nil {
		go c.repeat(r, p, "Liveness", newThreshold(p, true), func(ok bool) bool {
			if !ok {
				c.condemn(r, p, "liveness")
			}
			return ok
		})
	}
}

// repeat runs a probe in its period and calls decided with each verdict, as long as that returns true.
func (c *container) repeat(r *run, p *v1.Probe, kind string, t *threshold, decided func(bool) bool) {
	pause := time.Duration(p.InitialDelaySeconds) * time.Second
	period := time.Duration(max(p.PeriodSeconds, 1)) * time.Second
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(pause):
		}
		if c.w.ctx.Err() != nil && kind != "Readiness" { // it is being stopped: nothing to restart
			return
		}
		before := t.verdict
		err := c.ask(r.ctx, r, p)
		if r.ctx.Err() != nil {
			return
		}
		if err != nil && before {
			c.w.event(v1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: %v", kind, err))
		}
		if t.add(err == nil) && !decided(t.verdict) {
			return
		}
		if pause = period; !t.verdict {
			pause = min(period, eager)
		}
		if kind == "Startup" { // its failures are counted against a time that its author chose
			pause = period
		}
	}
}

// condemn ends a run because of a probe; the restart policy does the rest.
func (c *container) condemn(r *run, p *v1.Probe, kind string) {
	c.w.event(v1.EventTypeNormal, "Killing", fmt.Sprintf("Container %s failed %s probe, will be restarted", c.spec.Name, kind))
	grace := c.w.grace()
	if p.TerminationGracePeriodSeconds != nil {
		grace = time.Duration(*p.TerminationGracePeriodSeconds) * time.Second
	}
	go c.stop(r, grace, c.w.hurry)
}

// ask runs a probe once; nil is health.
func (c *container) ask(ctx context.Context, r *run, p *v1.Probe) error {
	timeout := time.Duration(max(p.TimeoutSeconds, 1)) * time.Second
	var result probe.Result
	var said string
	var err error
	switch {
	case p.Exec != nil:
		return c.execute(ctx, r, p.Exec.Command, timeout)
	case p.HTTPGet != nil:
		req, e := httpprobe.NewRequestForHTTPGetAction(p.HTTPGet, &c.spec, c.w.address(), "probe")
		if e != nil {
			return e
		}
		result, said, err = httpprobe.New(false).Probe(req, timeout)
	case p.TCPSocket != nil:
		port, e := containerPort(&c.spec, p.TCPSocket.Port)
		if e != nil {
			return e
		}
		host := p.TCPSocket.Host
		if host == "" {
			host = c.w.address()
		}
		result, said, err = tcpprobe.New().Probe(host, port, timeout)
	case p.GRPC != nil:
		service := ""
		if p.GRPC.Service != nil {
			service = *p.GRPC.Service
		}
		result, said, err = grpcprobe.New().Probe(c.w.address(), service, int(p.GRPC.Port), timeout)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if result != probe.Success && result != probe.Warning {
		return errors.New(said)
	}
	return nil
}

// execute runs a command in the container for a probe or a hook.
func (c *container) execute(ctx context.Context, r *run, argv []string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out := &head{limit: 10 << 10}
	err := c.enter(ctx, r, argv, nil, out, out)
	if ctx.Err() == context.DeadlineExceeded {
		return fmt.Errorf("command %q timed out after %s", argv, timeout)
	}
	if err != nil {
		return fmt.Errorf("command %q: %w: %s", argv, err, out.b)
	}
	return nil
}

// head keeps the beginning of what is written to it.
type head struct {
	b     []byte
	limit int
}

func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), h.limit-len(h.b))]...)
	return len(p), nil
}

var _ io.Writer = (*head)(nil)

// containerPort gives a port's number, looking its name up among the container's ports.
func containerPort(c *v1.Container, port intstr.IntOrString) (int, error) {
	if port.Type == intstr.Int {
		return port.IntValue(), nil
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return int(p.ContainerPort), nil
		}
	}
	return 0, fmt.Errorf("container %s has no port named %q", c.Name, port.StrVal)
}
