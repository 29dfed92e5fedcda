// Package process starts the first process of a container, and further ones beside it (exec).
//
// The kubelet runs its own program again as a stage inside the new namespaces (Main); the stage builds the container's
// root, takes on its identity and then becomes the container's program. There is no shell in between, so nothing that a
// pod says is ever parsed by one.
//
// A container has mount, UTS, IPC and PID namespaces of its own, and shares the network namespace of its pod. Its
// program is process 1: when that ends, or the kubelet does, the kernel ends everything else in it.
package process

// Spec says what a container's first process is and sees.
type Spec struct {
	Root     Root
	Mounts   []Mount // in this order, parents first
	Hostname string
	Dir      string // working directory, made when missing
	Argv     []string
	Env      []string // NAME=value
	Identity Identity
}

// Root is a container's root file system: either the whole machine under a private writable layer, or an empty
// directory that shows only some of the machine's paths.
type Root struct {
	// Dir is an empty directory of the container: the root is mounted at Dir/root, its writable layer kept in Dir/upper.
	Dir string
	// Paths of the machine that can be seen, read-only. None: all of them, writable without effect on the machine.
	Paths []string
	// ReadOnly makes all of it read-only, except what is mounted into it.
	ReadOnly bool
}

// Mount shows Source, a file or directory of the machine, as Target in the container.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Identity is what a process may do.
type Identity struct {
	UID, GID uint32
	Groups   []uint32
	// Capabilities by number: the bounding set. As in Kubernetes they are effective for UID 0 only, unless the
	// program's file carries them.
	Capabilities    []uintptr
	NoNewPrivileges bool
	Privileged      bool // all capabilities, and nothing of /proc read-only
}

// The stages, as first argument of the kubelet's program.
const (
	stageInit  = "container-init"
	stageEnter = "container-enter"
)

// Exit code of a program that could not be started, as container runtimes have it.
const exitNotStarted = 128
