package main

import (
	"context"
	"log"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// podEvents is what the kubelet does when it hears of pods.
func (k *kubelet) podEvents() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { k.onPod(o.(*v1.Pod)) },
		UpdateFunc: func(_, o any) { k.onPod(o.(*v1.Pod)) },
		DeleteFunc: func(o any) {
			if t, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = t.Obj
			}
			if pod, ok := o.(*v1.Pod); ok {
				k.onRemoved(pod)
			}
		},
	}
}

func (k *kubelet) onPod(pod *v1.Pod) {
	if pod.Spec.NodeName == "" {
		if k.bind && pod.DeletionTimestamp == nil && len(pod.Spec.SchedulingGates) == 0 && pod.Spec.SchedulerName == v1.DefaultSchedulerName {
			go k.bindPod(pod)
		}
		return
	}
	if pod.Spec.NodeName != k.node {
		return
	}
	over := pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
	k.mu.Lock()
	w := k.workers[pod.UID]
	if w == nil && pod.DeletionTimestamp == nil && !over && !k.ending {
		w = newWorker(k, pod)
		k.workers[pod.UID] = w
		k.mu.Unlock()
		go w.run()
		return
	}
	k.mu.Unlock()
	switch {
	case w != nil:
		w.heard(pod)
	case pod.DeletionTimestamp != nil:
		go remove(k, pod) // of an earlier kubelet, or it never started
	}
}

// heard takes in what the API server says of a pod that runs here.
func (w *worker) heard(pod *v1.Pod) {
	w.take(pod)
	w.changed() // somebody else may have set the condition of a readiness gate
	w.reread()  // labels may be shown in a volume
	if pod.DeletionTimestamp == nil {
		return
	}
	if g := pod.DeletionGracePeriodSeconds; g != nil && *g == 0 {
		w.rush()
	}
	go w.end(w.grace(), true)
}

// take keeps a pod's object unless a later one is known: answers to our own writes come before the watch tells of them.
func (w *worker) take(pod *v1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, err := strconv.ParseUint(w.pod.ResourceVersion, 10, 64)
	version, err2 := strconv.ParseUint(pod.ResourceVersion, 10, 64)
	if err != nil || err2 != nil || version >= known {
		w.pod = pod
	}
}

// rush takes away what grace is left.
func (w *worker) rush() { w.hurried.Do(func() { close(w.hurry) }) }

// onRemoved ends a pod whose object went away without waiting for it (a deletion by force).
func (k *kubelet) onRemoved(pod *v1.Pod) {
	if w := k.worker(pod.UID); w != nil {
		w.rush()
		go w.end(time.Second, false)
	}
}

// bindPod puts a pod on this node, as the scheduler does where there is one.
func (k *kubelet) bindPod(pod *v1.Pod) {
	k.mu.Lock()
	busy := k.binding[pod.UID]
	k.binding[pod.UID] = true
	k.mu.Unlock()
	if busy {
		return
	}
	defer func() {
		k.mu.Lock()
		delete(k.binding, pod.UID)
		k.mu.Unlock()
	}()
	target := &v1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID}, Target: v1.ObjectReference{Kind: "Node", Name: k.node}}
	for attempt := 0; ; attempt++ {
		err := k.client.CoreV1().Pods(pod.Namespace).Bind(context.Background(), target, metav1.CreateOptions{})
		// Conflict: bound already, or the object is another by now.
		if err == nil || errors.IsConflict(err) || errors.IsNotFound(err) {
			return
		}
		log.Printf("bind %s/%s: %v", pod.Namespace, pod.Name, err)
		select {
		case <-k.stopped:
			return
		case <-time.After(retryDelay(attempt)):
		}
	}
}

func (k *kubelet) worker(uid types.UID) *worker {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.workers[uid]
}

// find gives the worker of a pod by its name; of two, the one that is not ending.
func (k *kubelet) find(namespace, name string) *worker {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found *worker
	for _, w := range k.workers {
		if p := w.podCopy(); p.Namespace == namespace && p.Name == name && (found == nil || p.DeletionTimestamp == nil) {
			found = w
		}
	}
	return found
}

// inNamespace gives the workers of all pods of a namespace.
func (k *kubelet) inNamespace(namespace string) []*worker {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found []*worker
	for _, w := range k.workers {
		if w.podCopy().Namespace == namespace {
			found = append(found, w)
		}
	}
	return found
}

func (k *kubelet) forget(uid types.UID) {
	k.mu.Lock()
	delete(k.workers, uid)
	k.mu.Unlock()
}
