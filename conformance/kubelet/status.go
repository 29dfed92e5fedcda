package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	utilpod "k8s.io/kubernetes/pkg/util/pod"
)

// report tells the API server of every change until nothing of the pod is left.
func (w *worker) report() {
	for {
		select {
		case <-w.gone:
			return
		case <-w.dirty:
		}
		for attempt := 0; ; attempt++ {
			err := w.tell()
			if err == nil || isGone(err) {
				break
			}
			log.Printf("status of %s/%s: %v", w.namespace(), w.name(), err)
			select {
			case <-w.gone:
				return
			case <-time.After(retryDelay(attempt)): // the API server may be down; what is new by then is told instead
			}
		}
	}
}

// isGone tells whether an error means that the object is not there, or another of its name is.
func isGone(err error) bool { return errors.IsNotFound(err) || errors.IsConflict(err) }

// tell writes what differs between the pod's status and the truth. Conditions that others have set stay.
func (w *worker) tell() error {
	w.telling.Lock()
	defer w.telling.Unlock()
	pod := w.podCopy()
	patch, err := statusPatch(pod, w.status(pod))
	if err != nil || patch == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	patched, err := w.k.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return err
	}
	w.take(patched)
	return nil
}

// statusPatch is what leads from a pod's known status to another; nil if nothing does. The UID in it makes the API server
// refuse it for a later pod of the same name.
func statusPatch(pod *v1.Pod, status v1.PodStatus) ([]byte, error) {
	from, err := json.Marshal(v1.Pod{Status: pod.Status})
	if err != nil {
		return nil, err
	}
	to, err := json.Marshal(v1.Pod{Status: status})
	if err != nil || bytes.Equal(from, to) {
		return nil, err
	}
	if to, err = json.Marshal(v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: pod.UID}, Status: status}); err != nil {
		return nil, err
	}
	return strategicpatch.CreateTwoWayMergePatch(from, to, v1.Pod{})
}

// status is what the API server should say of the pod.
func (w *worker) status(pod *v1.Pod) v1.PodStatus {
	st := *pod.Status.DeepCopy()
	st.ObservedGeneration = pod.Generation
	st.HostIP = w.k.nodeIP.String()
	st.HostIPs = []v1.HostIP{{IP: st.HostIP}}
	if ip := w.address(); ip != "" {
		st.PodIP, st.PodIPs = ip, []v1.PodIP{{IP: ip}}
	}
	if st.StartTime == nil {
		now := metav1.Now()
		st.StartTime = &now
	}
	w.mu.Lock()
	problem, networked := w.problem, w.networked
	w.mu.Unlock()
	st.InitContainerStatuses, st.ContainerStatuses = nil, nil
	for _, c := range w.containers {
		cs := c.status(problem)
		if c.role == mainRole {
			st.ContainerStatuses = append(st.ContainerStatuses, cs)
		} else {
			st.InitContainerStatuses = append(st.InitContainerStatuses, cs)
		}
	}
	f := w.facts()
	st.Phase = f.phase(pod.Spec.RestartPolicy)
	ready := f.ready && st.Phase == v1.PodRunning
	set := func(kind v1.PodConditionType, is bool, reason, message string) {
		st.Conditions = utilpod.ReplaceOrAppendPodCondition(st.Conditions, condition(st.Conditions, kind, is, reason, message, pod.Generation))
	}
	set(v1.PodReadyToStartContainers, networked, "", "")
	set(v1.PodInitialized, f.initialised, "ContainersNotInitialized", "containers with incomplete status")
	reason, message := "ContainersNotReady", "containers with unready status"
	if st.Phase == v1.PodSucceeded {
		reason, message = "PodCompleted", ""
	}
	set(v1.ContainersReady, ready, reason, message)
	if ready {
		if missing := closedGate(pod, st.Conditions); missing != "" {
			ready, reason, message = false, "ReadinessGatesNotReady", "condition "+missing+" is not True"
		}
	}
	set(v1.PodReady, ready, reason, message)
	return st
}

// condition makes a condition; its time of transition stays when its status does. Reason and message are of False only.
func condition(old []v1.PodCondition, kind v1.PodConditionType, is bool, reason, message string, generation int64) *v1.PodCondition {
	c := v1.PodCondition{Type: kind, Status: v1.ConditionTrue, LastTransitionTime: metav1.Now(), ObservedGeneration: generation}
	if !is {
		c.Status, c.Reason, c.Message = v1.ConditionFalse, reason, message
	}
	for _, o := range old {
		if o.Type == kind && o.Status == c.Status {
			c.LastTransitionTime, c.LastProbeTime = o.LastTransitionTime, o.LastProbeTime
		}
	}
	return &c
}

// closedGate names a readiness gate whose condition is not True, if there is one.
func closedGate(pod *v1.Pod, conditions []v1.PodCondition) string {
gates:
	for _, gate := range pod.Spec.ReadinessGates {
		for _, c := range conditions {
			if c.Type == gate.ConditionType && c.Status == v1.ConditionTrue {
				continue gates
			}
		}
		return string(gate.ConditionType)
	}
	return ""
}
