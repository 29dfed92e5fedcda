package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Pod is a pod that runs, with the process of its one container.
type Pod struct {
	Namespace, Name, UID, Address, Container string
	Restarts                                 int64
	PID                                      int
	volumes                                  string
}

// ticks of the kernel's accounting in a second, as /proc shows it everywhere.
const ticks = 100

// Pods gives the ready pods with these labels.
func (c *Cluster) Pods(ctx context.Context, namespace, selector string) ([]Pod, error) {
	list, err := c.Of("Pod", namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	var pods []Pod
	for i := range list.Items {
		o := &list.Items[i]
		if o.GetDeletionTimestamp() != nil || Find(Conditions(o, ""), "Ready").Status != "True" {
			continue
		}
		pod := Pod{Namespace: o.GetNamespace(), Name: o.GetName(), UID: string(o.GetUID())}
		pod.Address, _, _ = unstructured.NestedString(o.Object, "status", "podIP")
		statuses, _, _ := unstructured.NestedSlice(o.Object, "status", "containerStatuses")
		if len(statuses) != 1 {
			return nil, fmt.Errorf("pod %s: %d containers", pod.Name, len(statuses))
		}
		container, _ := statuses[0].(map[string]any)
		pod.Container, _ = container["name"].(string)
		pod.Restarts, _ = container["restartCount"].(int64)
		if err := c.Refresh(&pod); err != nil {
			return nil, err
		}
		pods = append(pods, pod)
	}
	return pods, nil
}

// Refresh finds the container's process in what the kubelet noted last; no API server is asked.
func (c *Cluster) Refresh(pod *Pod) error {
	found, err := filepath.Glob(filepath.Join(c.state, "pods", pod.UID+"*", "pids", pod.Container))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("pod %s: %d processes are noted: %w", pod.Name, len(found), err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	pod.volumes = filepath.Join(filepath.Dir(filepath.Dir(found[0])), "volumes")
	first, _, _ := strings.Cut(string(text), " ")
	pod.PID, err = strconv.Atoi(first)
	return err
}

// Volume gives where a volume of the pod lies on this machine.
func (p *Pod) Volume(name string) string { return filepath.Join(p.volumes, name) }

// Target names the container for `conformance/testbed kill`.
func (p *Pod) Target() string { return p.Namespace + "/" + p.Name + "/" + p.Container }

// Same tells whether both are the same run of the same process.
func (p *Pod) Same(other Pod) bool {
	return p.UID == other.UID && p.PID == other.PID && p.Restarts == other.Restarts
}

// Memory is the resident memory of a process, in bytes.
func Memory(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no memory", pid)
}

// CPU is the processor time that a process has used, user and system, to 10 ms.
func CPU(pid int) (time.Duration, error) {
	user, err := stat(pid, 11)
	if err != nil {
		return 0, err
	}
	kernel, err := stat(pid, 12)
	return user + kernel, err
}

// Age is how long ago a process was started, to 10 ms.
func Age(pid int) (time.Duration, error) {
	started, err := stat(pid, 19)
	if err != nil {
		return 0, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, err
	}
	return time.Duration(now.Nano()) - started, nil
}

// stat gives a time of /proc/PID/stat; fields count from the state of the process, behind its name.
func stat(pid, field int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // the name may hold anything
	if len(fields) <= field {
		return 0, fmt.Errorf("process %d: /proc shows %d fields", pid, len(fields))
	}
	n, err := strconv.ParseInt(fields[field], 10, 64)
	return time.Duration(n) * time.Second / ticks, err
}
