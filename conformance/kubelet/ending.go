package main

import (
	"context"
	"log"
	"os"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A pod ends as in Kubernetes: at once with its deletion (its endpoints are taken away at the same time by others, so a
// server that wants to lose nothing needs a preStop hook or must go on accepting for a moment after SIGTERM), main
// containers together, sidecars after them, each with preStop, SIGTERM, SIGKILL; then its last status, then the object.

// grace is how long the pod may take to end.
func (w *worker) grace() time.Duration {
	pod := w.podCopy()
	seconds := int64(v1.DefaultTerminationGracePeriodSeconds)
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		seconds = *g
	}
	if g := pod.DeletionGracePeriodSeconds; g != nil {
		seconds = *g
	}
	return time.Duration(max(seconds, 1)) * time.Second
}

// end stops the pod and removes what it has on this machine. With finish, the API server is told and the object removed.
func (w *worker) end(grace time.Duration, finish bool) {
	w.ending.Do(func() {
		w.event(v1.EventTypeNormal, "Killing", "Stopping pod "+w.name())
		w.cancel()
		w.stopContainers(grace)
		<-w.ran
		if finish {
			w.lastStatus()
		}
		close(w.gone)
		if !w.spec().HostNetwork {
			if err := deletePodNetwork(w.netnsName()); err != nil {
				log.Print(err)
			}
		}
		if err := os.RemoveAll(w.dir); err != nil {
			log.Print(err)
		}
		if finish {
			remove(w.k, w.podCopy())
		}
		w.mu.Lock()
		if w.ip.IsValid() && !w.pod.Spec.HostNetwork {
			w.k.addresses.release(w.ip)
		}
		w.mu.Unlock()
		w.k.forget(w.podCopy().UID)
	})
}

// stopContainers ends the containers within the grace: main ones together, then sidecars, last first.
func (w *worker) stopContainers(grace time.Duration) {
	deadline := time.Now().Add(grace)
	var mains sync.WaitGroup
	for _, c := range w.containers {
		if c.role != sidecarRole {
			mains.Go(func() { c.halt(deadline) })
		}
	}
	mains.Wait()
	for i := len(w.containers) - 1; i >= 0; i-- {
		if c := w.containers[i]; c.role == sidecarRole {
			c.halt(deadline)
		}
	}
}

// halt ends what runs of a container and returns when nothing will run again. A start that is under way is waited for.
func (c *container) halt(deadline time.Time) {
	c.mu.Lock()
	launched := c.launched
	c.mu.Unlock()
	if !launched {
		return
	}
	for {
		if r := c.running(); r != nil {
			c.stop(r, time.Until(deadline), c.w.hurry)
		}
		select {
		case <-c.done:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// lastStatus tells the API server how the containers ended, unless the object is gone.
func (w *worker) lastStatus() {
	for attempt := 0; ; attempt++ {
		err := w.tell()
		if err == nil || isGone(err) {
			return
		}
		select {
		case <-w.hurry: // forced: nobody wants to know
			return
		case <-w.k.stopped:
			return
		case <-time.After(retryDelay(attempt)):
		}
	}
}

// remove lets the object of a pod that has ended go, trying until it is gone.
func remove(k *kubelet, pod *v1.Pod) {
	zero := int64(0)
	options := metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: new(types.UID)}}
	*options.Preconditions.UID = pod.UID
	for attempt := 0; ; attempt++ {
		err := k.client.CoreV1().Pods(pod.Namespace).Delete(context.Background(), pod.Name, options)
		if err == nil || isGone(err) {
			return
		}
		log.Printf("remove pod %s/%s: %v", pod.Namespace, pod.Name, err)
		select {
		case <-k.stopped:
			return
		case <-time.After(retryDelay(attempt)):
		}
	}
}
