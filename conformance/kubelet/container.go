package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type role int

const (
	initRole    role = iota // runs to its end before the next one starts
	sidecarRole             // an init container that restarts always
	mainRole
)

// container is one container of a pod over all its restarts.
type container struct {
	w    *worker
	spec v1.Container
	role role

	mu       sync.Mutex // guards what follows
	state    v1.ContainerState
	last     v1.ContainerState
	restarts int32
	started  bool // the startup probe, if any, has passed
	ready    bool
	run      *run          // nil: not running
	launched bool          // keep has been called
	done     chan struct{} // closed: it will not run (any more)
}

// run is one execution of a container's program.
type run struct {
	pid     int
	env     []string
	began   time.Time
	ctx     context.Context // ends with the program
	stopped sync.Once       // the way to its end has begun
	ended   chan struct{}   // closed when the program has ended
	number  int32           // of restarts before it
}

// keep runs the container until it needs no restart or ctx ends. It does not end a running program when ctx does: that
// is the worker's, in its order.
func (c *container) keep(ctx context.Context) {
	var b backoff
	for ctx.Err() == nil {
		began := time.Now()
		state := c.once(ctx)
		if state == nil || ctx.Err() != nil || !c.again(state.ExitCode) {
			return
		}
		wait := b.next(time.Since(began), c.w.k.backoffMax)
		if wait > 0 {
			c.wait("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s", wait, c.spec.Name, c.w.name(), c.w.namespace()))
			c.w.event(v1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s", c.spec.Name))
		}
		if !c.w.mayRestart(ctx, c.spec.Name, wait) {
			return
		}
		c.mu.Lock()
		c.restarts++
		c.mu.Unlock()
	}
}

// once starts the program, as soon as what it needs is there, and waits for its end; nil when ctx ended before.
func (c *container) once(ctx context.Context) *v1.ContainerStateTerminated {
	for attempt := 0; ; attempt++ {
		r, err := c.start()
		if err == nil {
			<-r.ended
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.state.Terminated
		}
		var cannot *startError
		if errors.As(err, &cannot) { // as an exit: it goes through the restart policy
			return c.failed(cannot)
		}
		reason := "CreateContainerConfigError"
		var missing *imageError
		if errors.As(err, &missing) {
			reason = "ErrImagePull"
		}
		c.wait(reason, err.Error())
		if attempt == 0 {
			c.w.event(v1.EventTypeWarning, "Failed", "Error: "+err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryDelay(attempt)):
		}
	}
}

// again tells whether the restart policy wants another run after this exit code.
func (c *container) again(code int32) bool {
	if c.role == sidecarRole {
		return true
	}
	policy := c.w.spec().RestartPolicy
	return policy == v1.RestartPolicyAlways && c.role == mainRole || policy != v1.RestartPolicyNever && code != 0
}

// wait notes why the container does not run.
func (c *container) wait(reason, message string) {
	c.mu.Lock()
	c.state = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: message}}
	c.mu.Unlock()
	c.w.changed()
}

// failed notes a program that could not be started.
func (c *container) failed(err error) *v1.ContainerStateTerminated {
	now := metav1.Now()
	t := &v1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError", Message: err.Error(), StartedAt: now, FinishedAt: now, ContainerID: c.id()}
	c.mu.Lock()
	c.state = v1.ContainerState{Terminated: t}
	c.last = c.state
	c.mu.Unlock()
	c.w.event(v1.EventTypeWarning, "Failed", "Error: "+err.Error())
	c.w.changed()
	return t
}

// exited notes the end of a run.
func (c *container) exited(r *run, code int32, signal syscall.Signal) {
	t := &v1.ContainerStateTerminated{ExitCode: code, Reason: "Completed", StartedAt: metav1.NewTime(r.began), FinishedAt: metav1.Now(), ContainerID: c.id()}
	if code != 0 {
		t.Reason = "Error"
	}
	if signal != 0 {
		t.Signal = int32(signal)
	}
	c.mu.Lock()
	c.run, c.ready, c.started = nil, false, false
	c.state = v1.ContainerState{Terminated: t}
	c.last = c.state
	c.mu.Unlock()
	close(r.ended)
	c.w.changed()
}

// running gives the present run.
func (c *container) running() *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run
}

func (c *container) id() string { return "process://" + string(c.w.uid()) + "/" + c.spec.Name }

// exit gives the exit code of the last run.
func (c *container) exit() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Terminated == nil {
		return 0
	}
	return c.state.Terminated.ExitCode
}

// awaitStarted waits for a sidecar's startup probe.
func (c *container) awaitStarted(ctx context.Context) bool {
	for {
		c.mu.Lock()
		started := c.started
		c.mu.Unlock()
		if started {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-c.done:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// mark sets what a probe found out about a run; a run that has ended meanwhile is not touched.
func (c *container) mark(r *run, set func()) {
	c.mu.Lock()
	if c.run == r {
		set()
	}
	c.mu.Unlock()
	c.w.changed()
}

// What a program has after SIGTERM at the least, even if its preStop hook took all of its grace; so has Kubernetes.
const minGrace = 2 * time.Second

// stop ends a run: preStop hook, SIGTERM, and when the grace is over, or hurry closed, SIGKILL. It returns when the
// program has ended.
func (c *container) stop(r *run, grace time.Duration, hurry <-chan struct{}) {
	r.stopped.Do(func() {
		deadline := time.Now().Add(grace)
		hooked := make(chan struct{})
		go func() {
			defer close(hooked)
			c.preStop(r, grace)
		}()
		select {
		case <-hooked: // or its time is over
		case <-hurry:
		case <-r.ended:
			return
		}
		_ = syscall.Kill(r.pid, syscall.SIGTERM)
		select {
		case <-r.ended:
			return
		case <-time.After(max(time.Until(deadline), minGrace)):
		case <-hurry:
		}
		_ = syscall.Kill(r.pid, syscall.SIGKILL)
	})
	<-r.ended
}

// backoff is the pause before a restart.
type backoff struct{ last time.Duration }

// next gives the pause after a run of the given length: none for the first restart, then 1 s, doubled up to most. A run
// of ten minutes, or ten times the last pause, is forgiven. Kubernetes starts at 10 s: a test would not wait for that.
func (b *backoff) next(ran, most time.Duration) time.Duration {
	if ran > 10*time.Minute || b.last > 0 && ran > 10*b.last {
		b.last = 0
	}
	pause := b.last
	b.last = min(max(2*b.last, time.Second), most)
	return pause
}

// retryDelay is the pause before looking again for something that a pod needs: such a thing is often made just after it.
func retryDelay(attempt int) time.Duration {
	return min(100*time.Millisecond<<min(attempt, 4), time.Second)
}
