package main

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"fairway.dev/conformance/kubelet/process"
)

// capabilities by the names Kubernetes uses, without the CAP_ prefix.
var capabilities = map[string]uintptr{
	"CHOWN": unix.CAP_CHOWN, "DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE, "DAC_READ_SEARCH": unix.CAP_DAC_READ_SEARCH,
	"FOWNER": unix.CAP_FOWNER, "FSETID": unix.CAP_FSETID, "KILL": unix.CAP_KILL, "SETGID": unix.CAP_SETGID,
	"SETUID": unix.CAP_SETUID, "SETPCAP": unix.CAP_SETPCAP, "LINUX_IMMUTABLE": unix.CAP_LINUX_IMMUTABLE,
	"NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE, "NET_BROADCAST": unix.CAP_NET_BROADCAST, "NET_ADMIN": unix.CAP_NET_ADMIN,
	"NET_RAW": unix.CAP_NET_RAW, "IPC_LOCK": unix.CAP_IPC_LOCK, "IPC_OWNER": unix.CAP_IPC_OWNER,
	"SYS_MODULE": unix.CAP_SYS_MODULE, "SYS_RAWIO": unix.CAP_SYS_RAWIO, "SYS_CHROOT": unix.CAP_SYS_CHROOT,
	"SYS_PTRACE": unix.CAP_SYS_PTRACE, "SYS_PACCT": unix.CAP_SYS_PACCT, "SYS_ADMIN": unix.CAP_SYS_ADMIN,
	"SYS_BOOT": unix.CAP_SYS_BOOT, "SYS_NICE": unix.CAP_SYS_NICE, "SYS_RESOURCE": unix.CAP_SYS_RESOURCE,
	"SYS_TIME": unix.CAP_SYS_TIME, "SYS_TTY_CONFIG": unix.CAP_SYS_TTY_CONFIG, "MKNOD": unix.CAP_MKNOD,
	"LEASE": unix.CAP_LEASE, "AUDIT_WRITE": unix.CAP_AUDIT_WRITE, "AUDIT_CONTROL": unix.CAP_AUDIT_CONTROL,
	"SETFCAP": unix.CAP_SETFCAP, "MAC_OVERRIDE": unix.CAP_MAC_OVERRIDE, "MAC_ADMIN": unix.CAP_MAC_ADMIN,
	"SYSLOG": unix.CAP_SYSLOG, "WAKE_ALARM": unix.CAP_WAKE_ALARM, "BLOCK_SUSPEND": unix.CAP_BLOCK_SUSPEND,
	"AUDIT_READ": unix.CAP_AUDIT_READ, "PERFMON": unix.CAP_PERFMON, "BPF": unix.CAP_BPF,
	"CHECKPOINT_RESTORE": unix.CAP_CHECKPOINT_RESTORE,
}

// What container runtimes give when a pod says nothing.
var defaultCapabilities = []string{"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID",
	"SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"}

// identity works out who a container's processes are, from the image, the pod and the container, in this order.
// Seccomp and AppArmor profiles are accepted and not applied.
func identity(pod *v1.Pod, c *v1.Container, img *image) (process.Identity, error) {
	p, s := pod.Spec.SecurityContext, c.SecurityContext
	if p == nil {
		p = &v1.PodSecurityContext{}
	}
	if s == nil {
		s = &v1.SecurityContext{}
	}
	uid, gid, err := img.user()
	if err != nil {
		return process.Identity{}, err
	}
	uid = first(s.RunAsUser, p.RunAsUser, uid)
	gid = first(s.RunAsGroup, p.RunAsGroup, gid)
	if uid == 0 && (s.RunAsNonRoot != nil && *s.RunAsNonRoot || s.RunAsNonRoot == nil && p.RunAsNonRoot != nil && *p.RunAsNonRoot) {
		return process.Identity{}, fmt.Errorf("container has runAsNonRoot and image will run as root (container: %s)", c.Name)
	}
	id := process.Identity{UID: uint32(uid), GID: uint32(gid)}
	for _, g := range p.SupplementalGroups {
		id.Groups = append(id.Groups, uint32(g))
	}
	if p.FSGroup != nil {
		id.Groups = append(id.Groups, uint32(*p.FSGroup))
	}
	id.Privileged = s.Privileged != nil && *s.Privileged
	id.NoNewPrivileges = s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation
	id.Capabilities, err = bounding(s.Capabilities)
	return id, err
}

// bounding gives the numbers of the default capabilities with what a container adds and drops; ALL is allowed in both.
func bounding(c *v1.Capabilities) ([]uintptr, error) {
	set := map[string]bool{}
	for _, name := range defaultCapabilities {
		set[name] = true
	}
	if c != nil {
		for _, name := range c.Add {
			if err := change(set, name, true); err != nil {
				return nil, err
			}
		}
		// Dropping ALL keeps what is added by name, whatever the order: so runtimes read it.
		if slices.ContainsFunc(c.Drop, func(n v1.Capability) bool { return strings.EqualFold(string(n), "ALL") }) {
			clear(set)
			for _, name := range c.Add {
				if err := change(set, name, true); err != nil {
					return nil, err
				}
			}
		}
		for _, name := range c.Drop {
			if strings.EqualFold(string(name), "ALL") {
				continue
			}
			if err := change(set, name, false); err != nil {
				return nil, err
			}
		}
	}
	var numbers []uintptr
	for name := range set {
		numbers = append(numbers, capabilities[name])
	}
	slices.Sort(numbers)
	return numbers, nil
}

func change(set map[string]bool, name v1.Capability, has bool) error {
	n := strings.TrimPrefix(strings.ToUpper(string(name)), "CAP_")
	if n == "ALL" {
		for n := range capabilities {
			set[n] = has
		}
		return nil
	}
	if _, ok := capabilities[n]; !ok {
		return fmt.Errorf("unknown capability %q", name)
	}
	if set[n] = has; !has {
		delete(set, n)
	}
	return nil
}

// first gives the most specific value that is set.
func first(container, pod *int64, otherwise int64) int64 {
	if container != nil {
		return *container
	}
	if pod != nil {
		return *pod
	}
	return otherwise
}

// readOnlyRoot tells whether a container's root must not be written.
func readOnlyRoot(c *v1.Container) bool {
	return c.SecurityContext != nil && c.SecurityContext.ReadOnlyRootFilesystem != nil && *c.SecurityContext.ReadOnlyRootFilesystem
}
