package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// These run real processes in namespaces of their own, on the test's network.

// start runs a pod in a kubelet with a fake API server, and ends it with the test.
func start(t *testing.T, pod *v1.Pod) *worker {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("needs root, for namespaces")
	}
	k := newTestKubelet(t, pod)
	w := newWorker(k, pod)
	k.workers[pod.UID] = w
	go w.run()
	t.Cleanup(func() {
		w.rush()
		w.end(time.Second, false)
	})
	return w
}

// await waits until the API server says of the pod what is wanted.
func await(t *testing.T, w *worker, what string, is func(*v1.Pod) bool) *v1.Pod {
	t.Helper()
	var pod *v1.Pod
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var err error
		if pod, err = w.k.client.CoreV1().Pods("shop").Get(context.Background(), "cart", metav1.GetOptions{}); err == nil && is(pod) {
			return pod
		}
	}
	t.Fatalf("%s: never; at last %+v", what, pod.Status)
	return nil
}

func logOfRun(t *testing.T, w *worker, number int32) string {
	t.Helper()
	out := &strings.Builder{}
	if err := copyLog(context.Background(), out, func() {}, logFile(w.logDir("main"), number), logQuery{tail: -1}, nil); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func isReady(p *v1.Pod) bool { return conditionOf(p.Status, v1.PodReady).Status == v1.ConditionTrue }

func TestPodRunsToItsEndAndTellsItsExitCode(t *testing.T) {
	w := start(t, testPod(func(p *v1.Pod) { p.Spec.Containers[0].Args = []string{"echo pid $$$$; exit 7"} }))
	pod := await(t, w, "failure", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
	if got := pod.Status.ContainerStatuses[0].State.Terminated; got == nil || got.ExitCode != 7 || got.Reason != "Error" {
		t.Errorf("%+v", pod.Status.ContainerStatuses[0].State)
	}
	if got := logOfRun(t, w, 0); got != "pid 1\n" {
		t.Errorf("log %q", got)
	}
}

func TestProgramThatIsNotThereIsAStartError(t *testing.T) {
	w := start(t, testPod(func(p *v1.Pod) { p.Spec.Containers[0].Command = []string{"no-such-program"} }))
	pod := await(t, w, "failure", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
	got := pod.Status.ContainerStatuses[0].State.Terminated
	if got == nil || got.Reason != "StartError" || got.ExitCode != 128 || !strings.Contains(got.Message, "no-such-program") {
		t.Errorf("%+v", got)
	}
}

func TestContainerSeesOnlyWhatItsImageShowsAndCannotWriteIt(t *testing.T) {
	w := newWorker(newTestKubelet(t), testPod(nil))
	w.k.images[0].Root = []string{"/bin", "/usr/bin", "/lib", "/lib64", "/usr/lib", "/usr/lib64"}
	yes := true
	pod := testPod(func(p *v1.Pod) {
		p.Spec.Containers[0].SecurityContext = &v1.SecurityContext{ReadOnlyRootFilesystem: &yes}
		p.Spec.Containers[0].Args = []string{"ls -d /root /home /var/lib; for f in /x /tmp/x /etc/x /run/x; do echo x >$f && echo wrote $f; done; true"}
	})
	k := newTestKubelet(t, pod)
	k.images = w.k.images
	w = newWorker(k, pod)
	k.workers[pod.UID] = w
	go w.run()
	defer w.end(time.Second, false)
	await(t, w, "end", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodSucceeded })
	got := logOfRun(t, w, 0)
	if strings.Contains(got, "wrote") || strings.Count(got, "No such file") != 3 || strings.Count(got, "Read-only file system") != 4 {
		t.Errorf("%s", got)
	}
}

func TestDeletionRunsTheHookThenSignalsThenKills(t *testing.T) {
	grace := int64(2)
	w := start(t, testPod(func(p *v1.Pod) {
		p.Spec.TerminationGracePeriodSeconds = &grace
		c := &p.Spec.Containers[0]
		c.Args = []string{`trap 'echo signalled' TERM; echo started; while :; do sleep 0.05; done`}
		c.Lifecycle = &v1.Lifecycle{PreStop: &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"/bin/sh", "-c", "echo hook >/proc/1/fd/1"}}}}
	}))
	await(t, w, "readiness", isReady)
	pod := w.podCopy().DeepCopy()
	now := metav1.Now()
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &now, &grace
	began := time.Now()
	w.heard(pod)
	for end := time.Now().Add(time.Minute); w.k.worker(pod.UID) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not end")
		}
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("killed after %s, before its grace was over", took)
	}
	if got := logOfRun(t, w, 0); got != "started\nhook\nsignalled\n" {
		t.Errorf("log %q", got)
	}
	if _, err := w.k.client.CoreV1().Pods("shop").Get(context.Background(), "cart", metav1.GetOptions{}); !errors.IsNotFound(err) {
		t.Errorf("the object is still there: %v", err)
	}
	if _, err := os.Stat(w.dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", w.dir, err)
	}
}

func TestFailedLivenessProbeRestartsWithAFreshRoot(t *testing.T) {
	w := start(t, testPod(func(p *v1.Pod) {
		p.Spec.RestartPolicy = v1.RestartPolicyAlways
		grace := int64(1)
		p.Spec.TerminationGracePeriodSeconds = &grace
		c := &p.Spec.Containers[0]
		c.Args = []string{`test -e /var/was-here && echo stale; touch /var/was-here; exec sleep 1000`}
		c.LivenessProbe = &v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"false"}}}, PeriodSeconds: 1, FailureThreshold: 1}
	}))
	pod := await(t, w, "restart", func(p *v1.Pod) bool {
		return p.Status.ContainerStatuses != nil && p.Status.ContainerStatuses[0].RestartCount > 0 && p.Status.ContainerStatuses[0].State.Running != nil
	})
	if last := pod.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 137 { // PID 1 without a handler
		t.Errorf("%+v", pod.Status.ContainerStatuses[0])
	}
	if got := logOfRun(t, w, 1); got != "" {
		t.Errorf("log %q", got)
	}
}
