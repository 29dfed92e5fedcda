package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Where the machine's own root is seen while a container's is being made.
const old = "/.machine"

// enterRoot makes the container's file systems and moves into them.
//
// The move comes first and the mounts after it, so that symbolic links of the container's own files (/var/run is one,
// and absolute) are followed inside the container.
func enterRoot(s *Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	root := filepath.Join(s.Root.Dir, "root")
	if err := mountRoot(&s.Root, root); err != nil {
		return err
	}
	if err := os.MkdirAll(root+old, 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(root, root+old); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := mountKernel(s); err != nil {
		return err
	}
	for _, m := range s.Mounts {
		if err := bind(old+m.Source, m.Target, m.ReadOnly); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	if err := unix.Unmount(old, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the machine's root: %w", err)
	}
	if err := os.Remove(old); err != nil {
		return err
	}
	if !s.Root.ReadOnly {
		return nil
	}
	for _, dir := range []string{"/tmp", "/run", "/"} {
		if s.mounted(dir) {
			continue
		}
		err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
		// EINVAL: not a mount of its own, hence read-only with its parent.
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("make %s read-only: %w", dir, err)
		}
	}
	return nil
}

// mounted tells whether a volume took the place of a directory.
func (s *Spec) mounted(dir string) bool {
	for _, m := range s.Mounts {
		if filepath.Clean(m.Target) == dir {
			return true
		}
	}
	return false
}

// mountRoot mounts the root file system at dir.
func mountRoot(r *Root, dir string) error {
	upper, work := filepath.Join(r.Dir, "upper"), filepath.Join(r.Dir, "work")
	for _, d := range []string{dir, upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if len(r.Paths) == 0 {
		layers := "lowerdir=/,upperdir=" + upper + ",workdir=" + work
		if err := unix.Mount("overlay", dir, "overlay", 0, layers); err != nil {
			return fmt.Errorf("overlay (the state directory must not lie on an overlay itself): %w", err)
		}
		// What programs of the machine keep there is not the container's.
		for target, mode := range map[string]string{"/tmp": "mode=1777", "/run": "mode=755"} {
			if err := unix.Mount("tmpfs", dir+target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, mode); err != nil {
				return fmt.Errorf("mount %s: %w", target, err)
			}
		}
		return nil
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	for _, d := range []string{"/etc", "/run", "/usr/local/bin", "/var/run"} {
		if err := os.MkdirAll(dir+d, 0o755); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir+"/tmp", 0o777); err != nil {
		return err
	}
	if err := os.Chmod(dir+"/tmp", os.ModeSticky|0o777); err != nil {
		return err
	}
	for _, p := range r.Paths {
		if err := show(p, dir); err != nil {
			return err
		}
	}
	return nil
}

// show makes a path of the machine visible below dir; a symbolic link stays one. A path that is missing stays missing.
func show(path, dir string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir+path), 0o755); err != nil {
		return err
	}
	if st.Mode()&os.ModeSymlink != 0 {
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(to, dir+path)
	}
	return bind(path, dir+path, true)
}
