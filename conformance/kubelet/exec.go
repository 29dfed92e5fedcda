package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"fairway.dev/conformance/kubelet/process"
)

// enter runs a command in a container, as the container's user and with its variables, until it ends or ctx does.
func (c *container) enter(ctx context.Context, r *run, argv []string, in io.Reader, out, errOut io.Writer) error {
	img, err := findImage(c.w.k.images, c.spec.Image)
	if err != nil {
		return err
	}
	id, err := identity(c.w.podCopy(), &c.spec, img)
	if err != nil {
		return err
	}
	dir := "/"
	if c.spec.WorkingDir != "" {
		dir = c.spec.WorkingDir
	}
	e, err := process.Enter(r.pid, &process.Spec{Argv: argv, Env: r.env, Dir: dir, Identity: id})
	if err != nil {
		return err
	}
	e.Stdout, e.Stderr = out, errOut
	if in != nil {
		pipe, err := e.StdinPipe() // not Stdin: nobody waits for the end of what the command does not read
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(pipe, in)
			pipe.Close()
		}()
	}
	err = e.Run(ctx)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &utilexec.ExitErrorWrapper{ExitError: exit}
	}
	return err
}

// executor serves kubectl exec for one pod. A terminal is not allocated: -t only joins stdout and stderr.
type executor struct{ w *worker }

func (e executor) ExecInContainer(ctx context.Context, _, _, name string, argv []string, in io.Reader, out, errOut io.WriteCloser, tty bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	c := e.w.container(name)
	if c == nil {
		return fmt.Errorf("no container %s", name)
	}
	r := c.running()
	if r == nil {
		return fmt.Errorf("container %s is not running", name)
	}
	both := io.Writer(errOut)
	if tty {
		both = out
	}
	return c.enter(ctx, r, argv, in, writer(out), writer(both))
}

// writer makes a nil stream one that os/exec understands as none.
func writer(w io.Writer) io.Writer {
	if wc, ok := w.(io.WriteCloser); ok && wc == nil {
		return nil
	}
	return w
}

// container gives a container by name.
func (w *worker) container(name string) *container {
	for _, c := range w.containers {
		if c.spec.Name == name {
			return c
		}
	}
	return nil
}
