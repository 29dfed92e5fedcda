package main

import (
	v1 "k8s.io/api/core/v1"
)

// facts is what the phase and the conditions of a pod follow from.
type facts struct {
	initialised bool // all init containers have done their work
	initFailed  bool // one will not be tried again
	ready       bool // all that should be ready is
	started     bool // a main container runs or has run
	over        bool // no main container will run (again)
	failed      bool // and one of them ended badly
}

func (w *worker) facts() facts {
	f := facts{initialised: true, ready: true, over: true}
	for _, c := range w.containers {
		c.mu.Lock()
		done := isClosed(c.done)
		ended := c.state.Terminated
		switch c.role {
		case initRole:
			f.initialised = f.initialised && done && ended != nil && ended.ExitCode == 0
			f.initFailed = f.initFailed || done && ended != nil && ended.ExitCode != 0
		case sidecarRole:
			f.initialised = f.initialised && (c.started || done)
			f.ready = f.ready && c.ready
		case mainRole:
			f.ready = f.ready && c.ready
			f.started = f.started || c.run != nil || c.last.Terminated != nil
			f.over = f.over && done && ended != nil
			f.failed = f.failed || ended != nil && ended.ExitCode != 0
		}
		c.mu.Unlock()
	}
	return f
}

// phase gives the pod's phase. A failed init container fails the pod only where it is not tried again.
func (f facts) phase(policy v1.RestartPolicy) v1.PodPhase {
	switch {
	case f.initFailed && policy == v1.RestartPolicyNever:
		return v1.PodFailed
	case f.over && f.failed:
		return v1.PodFailed
	case f.over:
		return v1.PodSucceeded
	case f.started:
		return v1.PodRunning
	}
	return v1.PodPending
}

// status gives a container's entry in the status of its pod; problem is why the pod cannot start it.
func (c *container) status(problem string) v1.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	started := c.started
	s := v1.ContainerStatus{Name: c.spec.Name, Image: c.spec.Image, ImageID: "process://" + c.spec.Image, Ready: c.ready, Started: &started,
		RestartCount: c.restarts, State: *c.state.DeepCopy()}
	if c.role == initRole { // ready means done
		s.Ready = c.state.Terminated != nil && c.state.Terminated.ExitCode == 0
	}
	if c.run != nil || c.last.Terminated != nil {
		s.ContainerID = c.id()
	}
	if c.state.Terminated == nil {
		s.LastTerminationState = *c.last.DeepCopy()
	}
	if s.State.Waiting != nil && problem != "" && !c.launched {
		s.State.Waiting.Message = problem
	}
	return s
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
