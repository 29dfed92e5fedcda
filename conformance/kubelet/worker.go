package main

import (
	"context"
	"log"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// worker runs one pod from its binding to its end.
type worker struct {
	k      *kubelet
	dir    string          // what the pod has on this machine
	ctx    context.Context // ends when the pod is to end: nothing is started or restarted any more
	cancel context.CancelFunc

	telling sync.Mutex // one status at a time

	mu         sync.Mutex // guards what follows
	pod        *v1.Pod    // as last heard of from the API server
	ip         netip.Addr
	problem    string       // why it cannot be started yet
	containers []*container // init containers first, in the order of the pod
	networked  bool
	tokens     map[string]token // by audience and life time

	dirty   chan struct{} // the status is to be told anew
	refresh chan struct{} // the volumes are to be looked at again
	hurry   chan struct{} // closed: no grace (any more)
	hurried sync.Once
	ending  sync.Once
	ran     chan struct{} // closed: run has returned
	gone    chan struct{} // closed: nothing of the pod is left here
}

func newWorker(k *kubelet, pod *v1.Pod) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{k: k, dir: filepath.Join(k.root, string(pod.UID)), ctx: ctx, cancel: cancel, pod: pod, tokens: map[string]token{},
		dirty: make(chan struct{}, 1), refresh: make(chan struct{}, 1), hurry: make(chan struct{}),
		ran: make(chan struct{}), gone: make(chan struct{})}
	for _, spec := range pod.Spec.InitContainers {
		c := &container{w: w, spec: spec, role: initRole}
		if spec.RestartPolicy != nil && *spec.RestartPolicy == v1.ContainerRestartPolicyAlways {
			c.role = sidecarRole
		}
		w.containers = append(w.containers, c)
	}
	for _, spec := range pod.Spec.Containers {
		w.containers = append(w.containers, &container{w: w, spec: spec, role: mainRole})
	}
	for _, c := range w.containers {
		c.done = make(chan struct{})
		c.state.Waiting = &v1.ContainerStateWaiting{Reason: "PodInitializing"}
		if c.role != mainRole || len(pod.Spec.InitContainers) == 0 {
			c.state.Waiting.Reason = "ContainerCreating"
		}
		c.restarts = restartsBefore(pod, c.spec.Name)
	}
	return w
}

// restartsBefore continues the count of a kubelet that ran the pod before this one.
func restartsBefore(pod *v1.Pod, name string) int32 {
	for _, list := range [][]v1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, s := range list {
			if s.Name == name && s.ContainerID != "" {
				return s.RestartCount + 1
			}
		}
	}
	return 0
}

// run starts the pod. It returns when all containers have been started, or the pod is to end.
func (w *worker) run() {
	defer close(w.ran)
	go w.report()
	w.changed()
	if !w.prepare() {
		return
	}
	go w.keepVolumes()
	for _, c := range w.containers {
		w.launch(c)
		if c.role == initRole {
			select {
			case <-c.done:
				if c.exit() != 0 { // the restart policy gave it up
					return
				}
			case <-w.ctx.Done():
				return
			}
		}
		if c.role == sidecarRole && !c.awaitStarted(w.ctx) {
			return
		}
		if w.ctx.Err() != nil {
			return
		}
	}
	go w.complete()
}

// prepare makes network and volumes, trying again until what they need is there.
func (w *worker) prepare() bool {
	for attempt := 0; ; attempt++ {
		reason, err := "FailedCreatePodSandBox", w.network()
		if err == nil {
			reason, err = "FailedMount", w.prepareVolumes()
		}
		if err == nil {
			w.setProblem("")
			return w.ctx.Err() == nil
		}
		w.setProblem(err.Error())
		if attempt == 0 {
			w.event(v1.EventTypeWarning, reason, err.Error())
		}
		select {
		case <-w.ctx.Done():
			return false
		case <-w.refresh:
		case <-time.After(retryDelay(attempt)):
		}
	}
}

// network gives the pod its address; on the node's own network it has the node's.
func (w *worker) network() error {
	pod := w.podCopy()
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.networked {
		return nil
	}
	if pod.Spec.HostNetwork {
		w.ip, w.networked = w.k.nodeIP, true
		return nil
	}
	if !w.ip.IsValid() {
		ip, err := w.k.addresses.take()
		if err != nil {
			return err
		}
		w.ip = ip
	}
	if err := addPodNetwork(w.netnsName(), "v"+string(pod.UID)[:8], w.ip, w.k.nodeIP); err != nil {
		return err
	}
	if s := pod.Spec.SecurityContext; s != nil {
		if err := setSysctls(filepath.Join(netnsDir, w.netnsName()), s.Sysctls); err != nil {
			return err
		}
	}
	w.networked = true
	return nil
}

// launch lets a container run.
func (w *worker) launch(c *container) {
	c.mu.Lock()
	c.launched = true
	c.mu.Unlock()
	go func() {
		defer w.changed()
		defer close(c.done)
		c.keep(w.ctx)
	}()
}

// complete waits for the main containers to end for good; sidecars end after them.
func (w *worker) complete() {
	for _, c := range w.containers {
		if c.role == mainRole {
			<-c.done
		}
	}
	if w.ctx.Err() == nil {
		w.cancel()
		w.stopContainers(w.grace())
		w.changed()
	}
}

// mayRestart waits for a restart: for the pause, and as long as somebody holds the container (see `testbed kill --hold`).
func (w *worker) mayRestart(ctx context.Context, name string, pause time.Duration) bool {
	for wait := pause; ; wait = 100 * time.Millisecond {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
		if _, err := os.Stat(filepath.Join(w.dir, "hold", name)); err != nil {
			return true
		}
	}
}

func (w *worker) setProblem(s string) {
	w.mu.Lock()
	same := w.problem == s
	w.problem = s
	w.mu.Unlock()
	if !same {
		if s != "" {
			log.Printf("pod %s/%s: %s", w.namespace(), w.name(), s)
		}
		w.changed()
	}
}

// changed has the status told anew; reread the volumes.
func (w *worker) changed() { poke(w.dirty) }
func (w *worker) reread()  { poke(w.refresh) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// podCopy gives the pod as last heard of; its content is shared and must not be changed.
func (w *worker) podCopy() *v1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod
}

func (w *worker) address() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ip.IsValid() {
		return ""
	}
	return w.ip.String()
}

func (w *worker) namespace() string { return w.podCopy().Namespace }
func (w *worker) name() string      { return w.podCopy().Name }
func (w *worker) uid() types.UID    { return w.podCopy().UID }
func (w *worker) spec() *v1.PodSpec { return &w.podCopy().Spec }

// netnsName begins with the name of the testbed, so that what is left of one can be found and removed.
func (w *worker) netnsName() string { return w.k.netnsPrefix + filepath.Base(w.dir)[:8] }

// netnsPath is where the pod's network namespace is; "" for the node's own.
func (w *worker) netnsPath() string {
	if w.spec().HostNetwork {
		return ""
	}
	return filepath.Join(netnsDir, w.netnsName())
}

func (w *worker) event(kind, reason, message string) {
	w.k.events.Event(w.podCopy(), kind, reason, message)
}
