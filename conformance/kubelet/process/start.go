package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start runs a container's first process in the network namespace at the path netns ("": the kubelet's own) with its
// output going to out. It returns when the program runs; an error says why it could not be started.
func Start(s *Spec, netns string, out *os.File) (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe", stageInit)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Pdeathsig:  syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
	}
	err := launch(cmd, s, nil, func() error { return In(netns, cmd.Start) })
	return cmd, err
}

// Enter prepares one more process in the container whose first process is pid; of s only Argv, Env, Dir and Identity
// count. Set the streams of what it returns, then call its Run.
func Enter(pid int, s *Spec) (*Entry, error) {
	self, err := os.Open("/proc/self/exe") // by descriptor: the container does not see the file
	if err != nil {
		return nil, err
	}
	args := []string{"--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--", "/proc/self/fd/3", stageEnter}
	cmd := exec.Command("nsenter", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	return &Entry{Cmd: cmd, spec: s, self: self}, nil
}

// Entry is a process about to be started in a container.
type Entry struct {
	*exec.Cmd
	spec *Spec
	self *os.File
}

// Run starts the process and waits for its end; when ctx ends first, it is killed, with what it has started in turn.
func (e *Entry) Run(ctx context.Context) error {
	var disarm func() bool
	err := launch(e.Cmd, e.spec, e.self, func() error {
		if err := e.Start(); err != nil {
			return err
		}
		// Now, and not after the launch: nsenter keeps the descriptor that the launch waits for until it ends itself.
		// The group, which the processes inside belong to as well.
		disarm = context.AfterFunc(ctx, func() { _ = syscall.Kill(-e.Process.Pid, syscall.SIGKILL) })
		return nil
	})
	if disarm != nil {
		defer disarm()
	}
	e.self.Close()
	if err != nil {
		return err
	}
	return e.Wait()
}

// ErrNotStarted is wrapped by the errors of programs that could not be started.
var ErrNotStarted = errors.New("cannot start")

// launch hands the specification to the stage and waits until the stage has become the program.
func launch(cmd *exec.Cmd, s *Spec, self *os.File, start func() error) error {
	specR, specW, err := os.Pipe()
	if err != nil {
		return err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		specR.Close()
		specW.Close()
		return err
	}
	defer errR.Close()
	if self != nil { // descriptor 3, see Enter
		cmd.ExtraFiles = append(cmd.ExtraFiles, self)
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, specR, errW)
	err = start()
	specR.Close()
	errW.Close()
	if err != nil {
		specW.Close()
		return err
	}
	encodeErr := json.NewEncoder(specW).Encode(s)
	specW.Close()
	said, _ := io.ReadAll(errR) // ends when the program runs: the descriptor closes itself
	if encodeErr != nil || len(said) > 0 {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("%w %q: %s", ErrNotStarted, s.Argv, said)
	}
	return nil
}

// In calls f on a thread in the network namespace at path ("": the caller's own).
func In(path string, f func() error) error {
	if path == "" {
		return f()
	}
	runtime.LockOSThread()
	origin, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer origin.Close()
	target, err := os.Open(path)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer target.Close()
	if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter %s: %w", path, err)
	}
	result := f()
	if err := unix.Setns(int(origin.Fd()), unix.CLONE_NEWNET); err != nil {
		panic("a thread cannot leave a pod's network namespace: " + err.Error()) // it must not serve anything else
	}
	runtime.UnlockOSThread()
	return result
}
