package process

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Main runs a stage and does not return, when the program was started as one. Call it first in main.
func Main() {
	if len(os.Args) < 2 {
		return
	}
	switch os.Args[1] {
	case stageInit:
		stage(3, func(s *Spec) error {
			if err := enterRoot(s); err != nil {
				return err
			}
			return unix.Sethostname([]byte(s.Hostname))
		})
	case stageEnter:
		unix.CloseOnExec(3)
		stage(4, func(*Spec) error { return nil })
	}
}

// stage reads the specification from descriptor fd, prepares, and becomes the program; what fails is written to fd+1.
func stage(fd int, prepare func(*Spec) error) {
	// Identity and death signal belong to a thread, and the thread that calls execve is the one that stays.
	runtime.LockOSThread()
	unix.CloseOnExec(fd)
	unix.CloseOnExec(fd + 1)
	var s Spec
	err := json.NewDecoder(os.NewFile(uintptr(fd), "spec")).Decode(&s)
	if err == nil {
		err = prepare(&s)
	}
	if err == nil {
		err = s.exec()
	}
	fmt.Fprint(os.NewFile(uintptr(fd+1), "error"), err)
	os.Exit(exitNotStarted)
}

// exec takes on the identity and becomes the program; it returns only an error.
func (s *Spec) exec() error {
	if len(s.Argv) == 0 {
		return fmt.Errorf("no command")
	}
	if err := os.Chdir(s.Dir); err != nil {
		return err
	}
	if err := s.Identity.assume(); err != nil {
		return err
	}
	unix.Umask(0o022)
	file, err := find(s.Argv[0], s.Env)
	if err != nil {
		return err
	}
	if err := unix.Exec(file, s.Argv, s.Env); err != nil {
		return fmt.Errorf("exec %s: %w", file, err)
	}
	return nil
}

// find looks a program up in the PATH of the environment it will have.
func find(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, e := range env {
		path, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			file := filepath.Join(dir, name)
			if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return file, nil
			}
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}
