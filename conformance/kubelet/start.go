package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairway.dev/conformance/kubelet/process"
)

// startError is a program that could not be executed; imageError an image without one.
type (
	startError struct{ err error }
	imageError struct{ err error }
)

func (e *startError) Error() string { return e.err.Error() }
func (e *imageError) Error() string { return e.err.Error() }

// start executes the container's program once.
func (c *container) start() (*run, error) {
	w := c.w
	img, err := findImage(w.k.images, c.spec.Image)
	if err != nil {
		return nil, &imageError{err}
	}
	number := c.count()
	spec, err := w.processSpec(c, img, number)
	if err != nil {
		return nil, err
	}
	out, err := openLog(w.logDir(c.spec.Name), number)
	if err != nil {
		return nil, err
	}
	cmd, err := process.Start(spec, w.netnsPath(), out.pipe)
	out.pipe.Close()
	if err != nil {
		return nil, &startError{err}
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{pid: cmd.Process.Pid, env: spec.Env, began: time.Now(), ctx: ctx, ended: make(chan struct{}), number: number}
	c.record(r.pid)
	go func() {
		_ = cmd.Wait()
		<-out.written // all it said is in the log before anybody hears of its end
		cancel()
		code, signal := exitCode(cmd.ProcessState.Sys().(syscall.WaitStatus))
		log.Printf("pod %s/%s: container %s ended with %d", w.namespace(), w.name(), c.spec.Name, code)
		if err := os.RemoveAll(spec.Root.Dir); err != nil {
			log.Print(err)
		}
		c.exited(r, int32(code), signal)
	}()
	c.mu.Lock()
	c.run = r
	c.state = v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.NewTime(r.began)}}
	c.mu.Unlock()
	w.event(v1.EventTypeNormal, "Started", "Started container "+c.spec.Name)
	go c.begin(r)
	return r, nil
}

// begin runs the postStart hook and then the probes. A container whose hook fails is ended, as in Kubernetes.
func (c *container) begin(r *run) {
	if err := c.postStart(r); err != nil {
		c.w.event(v1.EventTypeWarning, "FailedPostStartHook", err.Error())
		c.stop(r, c.w.grace(), nil)
		return
	}
	c.probe(r)
}

func (c *container) count() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restarts
}

// exitCode gives a program's exit code as container runtimes do: 128 and the signal's number for one that was killed.
func exitCode(status syscall.WaitStatus) (int, syscall.Signal) {
	if status.Signaled() {
		return 128 + int(status.Signal()), status.Signal()
	}
	return status.ExitStatus(), 0
}

// record writes the process id where scripts find it, with the time the process started so that they can tell it from a
// later one of the same id.
func (c *container) record(pid int) {
	dir := filepath.Join(c.w.dir, "pids")
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, c.spec.Name), []byte(fmt.Sprintf("%d %s\n", pid, startTime(pid))), 0o644)
	}
	if err != nil {
		log.Printf("record %s: %v", c.spec.Name, err)
	}
}

// processSpec says what the container's first process sees.
func (w *worker) processSpec(c *container, img *image, number int32) (*process.Spec, error) {
	pod := w.podCopy()
	id, err := identity(pod, &c.spec, img)
	if err != nil {
		return nil, err
	}
	env, err := w.environment(pod, &c.spec, img)
	if err != nil {
		return nil, err
	}
	mounts, err := w.mounts(pod, &c.spec, env)
	if err != nil {
		return nil, err
	}
	if img.Path != "" {
		mounts = append([]process.Mount{{Source: img.Path, Target: "/usr/local/bin", ReadOnly: true}}, mounts...)
	}
	s := &process.Spec{
		Root:     process.Root{Dir: filepath.Join(w.dir, "roots", c.spec.Name, strconv.Itoa(int(number))), Paths: img.Root, ReadOnly: readOnlyRoot(&c.spec)},
		Mounts:   mounts,
		Hostname: hostname(pod),
		Dir:      "/",
		Argv:     expandAll(command(&c.spec, img), env),
		Env:      env.list(),
		Identity: id,
	}
	if c.spec.WorkingDir != "" {
		s.Dir = c.spec.WorkingDir
	}
	return s, os.MkdirAll(s.Root.Dir, 0o755)
}

// command gives what a container executes: its own words replace the image's.
func command(c *v1.Container, img *image) []string {
	if len(c.Command) > 0 {
		return append(append([]string{}, c.Command...), c.Args...)
	}
	return append(append([]string{}, img.Cmd...), c.Args...)
}

func hostname(pod *v1.Pod) string {
	name := pod.Name
	if pod.Spec.Hostname != "" {
		name = pod.Spec.Hostname
	}
	return name[:min(len(name), 63)]
}

// startTime gives when a process started, in ticks since boot, as scripts read it too; "" when it has ended.
func startTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	s := string(b)
	fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:]) // the name, in parentheses, may hold anything
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}
