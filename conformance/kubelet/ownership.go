package main

import (
	"fmt"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
)

// fsGroup gives the group that owns a pod's volumes, -1 if none.
func fsGroup(pod *v1.Pod) int64 {
	if s := pod.Spec.SecurityContext; s != nil && s.FSGroup != nil {
		return *s.FSGroup
	}
	return -1
}

// commonUser gives the user that all containers of a pod name, nil if they name none or several.
func commonUser(pod *v1.Pod) *int64 {
	var user *int64
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			u := userOf(pod, &list[i])
			if u == nil || user != nil && *u != *user {
				return nil
			}
			user = u
		}
	}
	return user
}

func userOf(pod *v1.Pod, c *v1.Container) *int64 {
	if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
		return c.SecurityContext.RunAsUser
	}
	if pod.Spec.SecurityContext != nil {
		return pod.Spec.SecurityContext.RunAsUser
	}
	return nil
}

// makeOwned makes a directory that every user of the pod may write.
func makeOwned(dir string, pod *v1.Pod) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o777); err != nil { // whatever the umask
		return err
	}
	group := fsGroup(pod)
	if group < 0 {
		return nil
	}
	if err := os.Chown(dir, -1, int(group)); err != nil {
		return err
	}
	return os.Chmod(dir, os.ModeSetgid|0o777)
}

// giveToGroup lets a group read all below dir, which nobody writes.
func giveToGroup(dir string, group int64) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil || st.Mode()&os.ModeSymlink != 0 {
			return err
		}
		if err := os.Lchown(path, -1, int(group)); err != nil {
			return err
		}
		more := os.FileMode(0o440)
		if st.IsDir() {
			more = os.ModeSetgid | 0o550
		}
		return os.Chmod(path, st.Mode()|more)
	})
}

// prepareHostPath checks or makes a path of the machine, as its type says.
func prepareHostPath(h *v1.HostPathVolumeSource) error {
	kind := v1.HostPathUnset
	if h.Type != nil {
		kind = *h.Type
	}
	st, err := os.Stat(h.Path)
	switch kind {
	case v1.HostPathDirectoryOrCreate:
		if os.IsNotExist(err) {
			return os.MkdirAll(h.Path, 0o755)
		}
	case v1.HostPathFileOrCreate:
		if os.IsNotExist(err) {
			return os.WriteFile(h.Path, nil, 0o644)
		}
	case v1.HostPathUnset: // Docker made a directory, and so do we
		if os.IsNotExist(err) {
			return os.MkdirAll(h.Path, 0o755)
		}
	}
	if err != nil {
		return fmt.Errorf("hostPath: %w", err)
	}
	if wantsDir := kind == v1.HostPathDirectory || kind == v1.HostPathDirectoryOrCreate; wantsDir && !st.IsDir() {
		return fmt.Errorf("hostPath type check failed: %s is not a directory", h.Path)
	}
	return nil
}
