package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPhaseFollowsFromTheContainers(t *testing.T) {
	for name, c := range map[string]struct {
		facts  facts
		policy v1.RestartPolicy
		want   v1.PodPhase
	}{
		"nothing yet":                 {facts{}, v1.RestartPolicyAlways, v1.PodPending},
		"runs":                        {facts{initialised: true, started: true}, v1.RestartPolicyAlways, v1.PodRunning},
		"between two runs":            {facts{initialised: true, started: true, failed: true}, v1.RestartPolicyAlways, v1.PodRunning},
		"all ended well":              {facts{initialised: true, started: true, over: true}, v1.RestartPolicyNever, v1.PodSucceeded},
		"one ended badly":             {facts{initialised: true, started: true, over: true, failed: true}, v1.RestartPolicyNever, v1.PodFailed},
		"init failed for good":        {facts{initFailed: true}, v1.RestartPolicyNever, v1.PodFailed},
		"init failed, is tried again": {facts{initFailed: true}, v1.RestartPolicyAlways, v1.PodPending},
	} {
		if got := c.facts.phase(c.policy); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// running makes a worker whose only container runs and is ready or not.
func running(t *testing.T, pod *v1.Pod, ready bool) *worker {
	w := newWorker(newTestKubelet(t), pod)
	c := w.containers[0]
	c.run, c.started, c.ready, c.launched = &run{}, true, ready, true
	c.state = v1.ContainerState{Running: &v1.ContainerStateRunning{}}
	return w
}

func conditionOf(st v1.PodStatus, kind v1.PodConditionType) v1.PodCondition {
	for _, c := range st.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return v1.PodCondition{}
}

func TestReadinessNeedsContainersAndGates(t *testing.T) {
	const gate = "example.com/programmed"
	pod := testPod(func(p *v1.Pod) { p.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: gate}} })
	w := running(t, pod, true)
	st := w.status(pod)
	if c := conditionOf(st, v1.PodReady); c.Status != v1.ConditionFalse || c.Reason != "ReadinessGatesNotReady" {
		t.Errorf("closed gate: %+v", c)
	}
	if c := conditionOf(st, v1.ContainersReady); c.Status != v1.ConditionTrue {
		t.Errorf("containers: %+v", c)
	}
	pod.Status.Conditions = []v1.PodCondition{{Type: gate, Status: v1.ConditionTrue}}
	if c := conditionOf(w.status(pod), v1.PodReady); c.Status != v1.ConditionTrue {
		t.Errorf("open gate: %+v", c)
	}
	w.containers[0].ready = false
	if c := conditionOf(w.status(pod), v1.PodReady); c.Status != v1.ConditionFalse || c.Reason != "ContainersNotReady" {
		t.Errorf("container not ready: %+v", c)
	}
}

func TestTimeOfTransitionStaysWhenTheStatusDoes(t *testing.T) {
	pod := testPod(nil)
	long := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: long}}
	w := running(t, pod, true)
	if c := conditionOf(w.status(pod), v1.PodReady); !c.LastTransitionTime.Equal(&long) {
		t.Errorf("moved to %s", c.LastTransitionTime)
	}
	w.containers[0].ready = false
	if c := conditionOf(w.status(pod), v1.PodReady); c.LastTransitionTime.Equal(&long) {
		t.Error("did not move")
	}
}

func TestPatchSaysOnlyWhatChangedAndLeavesOthersConditions(t *testing.T) {
	pod := testPod(nil)
	pod.Status.Conditions = []v1.PodCondition{{Type: "example.com/theirs", Status: v1.ConditionTrue}}
	w := running(t, pod, true)
	first := w.status(pod)
	patch, err := statusPatch(pod, first)
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Metadata struct{ UID string }
		Status   struct{ Conditions []v1.PodCondition }
	}
	if err := json.Unmarshal(patch, &said); err != nil {
		t.Fatal(err)
	}
	if said.Metadata.UID != string(pod.UID) || slices.ContainsFunc(said.Status.Conditions, func(c v1.PodCondition) bool { return c.Type == "example.com/theirs" }) {
		t.Errorf("%s", patch)
	}
	pod.Status = first
	if patch, err := statusPatch(pod, w.status(pod)); err != nil || patch != nil {
		t.Errorf("nothing has changed: %s, %v", patch, err)
	}
}

func TestNewerObjectIsNotReplacedByAnOlderOne(t *testing.T) {
	w := newWorker(newTestKubelet(t), testPod(nil))
	for version, want := range map[string]string{"9": "10", "11": "11", "x": "x"} {
		w.pod = testPod(func(p *v1.Pod) { p.ResourceVersion = "10" })
		w.take(testPod(func(p *v1.Pod) { p.ResourceVersion = version }))
		if got := w.pod.ResourceVersion; got != want {
			t.Errorf("%s after 10: %s", version, got)
		}
	}
}

func TestWhyAPodWaitsIsSaid(t *testing.T) {
	w := newWorker(newTestKubelet(t), testPod(nil))
	w.problem = "secret late not found"
	cs := w.status(w.pod).ContainerStatuses[0]
	if cs.State.Waiting == nil || !strings.Contains(cs.State.Waiting.Message, "late") || cs.State.Waiting.Reason != "ContainerCreating" {
		t.Errorf("%+v", cs.State)
	}
}

func TestRestartsAreCountedOverARestartOfTheKubelet(t *testing.T) {
	pod := testPod(func(p *v1.Pod) {
		p.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "main", ContainerID: "process://x", RestartCount: 2}}
	})
	if got := newWorker(newTestKubelet(t), pod).containers[0].restarts; got != 3 {
		t.Errorf("%d", got)
	}
}
