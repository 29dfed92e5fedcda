package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	volumeutil "k8s.io/kubernetes/pkg/volume/util"

	"fairway.dev/conformance/kubelet/process"
)

// files is the content of a volume, by path in it.
type files map[string]volumeutil.FileProjection

// prepareVolumes makes all volumes of the pod, so that its containers can be started.
func (w *worker) prepareVolumes() error {
	pod := w.podCopy()
	for i := range pod.Spec.Volumes {
		if err := w.prepareVolume(pod, &pod.Spec.Volumes[i]); err != nil {
			return fmt.Errorf("volume %s: %w", pod.Spec.Volumes[i].Name, err)
		}
	}
	return nil
}

func (w *worker) prepareVolume(pod *v1.Pod, v *v1.Volume) error {
	dir := w.volumeDir(v.Name)
	switch {
	case v.HostPath != nil:
		return prepareHostPath(v.HostPath)
	case v.EmptyDir != nil || v.Ephemeral != nil:
		return makeOwned(dir, pod)
	case isProjection(v):
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return w.project(pod, v)
	}
	return fmt.Errorf("a kind of volume that the testbed does not know")
}

// project writes a volume's files: all of them change at once, as programs that watch them expect of a kubelet.
func (w *worker) project(pod *v1.Pod, v *v1.Volume) error {
	content, err := w.content(pod, v)
	if err != nil {
		return err
	}
	writer, err := volumeutil.NewAtomicWriter(w.volumeDir(v.Name), "volume "+v.Name)
	if err != nil {
		return err
	}
	group := fsGroup(pod)
	return writer.Write(content, func(dir string) error {
		if group < 0 {
			return nil
		}
		return giveToGroup(filepath.Join(w.volumeDir(v.Name), dir), group)
	})
}

// keepVolumes writes projected volumes anew when what they show has changed, or a token grows old.
func (w *worker) keepVolumes() {
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.refresh:
		case <-w.tokenTimer():
		}
		pod := w.podCopy()
		for i := range pod.Spec.Volumes {
			v := &pod.Spec.Volumes[i]
			if !isProjection(v) {
				continue
			}
			if err := w.project(pod, v); err != nil { // the files stay as they are, as in Kubernetes
				w.event(v1.EventTypeWarning, "FailedMount", fmt.Sprintf("MountVolume.SetUp failed for volume %q: %v", v.Name, err))
			}
		}
	}
}

// isProjection tells whether a volume's files come from the API server.
func isProjection(v *v1.Volume) bool {
	return v.Secret != nil || v.ConfigMap != nil || v.DownwardAPI != nil || v.Projected != nil
}

func (w *worker) volumeDir(name string) string { return filepath.Join(w.dir, "volumes", name) }

// mounts gives what a container sees of the volumes, after the files every container has.
func (w *worker) mounts(pod *v1.Pod, c *v1.Container, env environ) ([]process.Mount, error) {
	mounts, err := w.etcFiles(pod)
	if err != nil {
		return nil, err
	}
	for _, m := range c.VolumeMounts {
		v := findVolume(pod, m.Name)
		if v == nil {
			return nil, fmt.Errorf("no volume %s", m.Name)
		}
		source := w.volumeDir(v.Name)
		if v.HostPath != nil {
			source = v.HostPath.Path
		}
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = env.expand(m.SubPathExpr)
		}
		if sub != "" {
			if source, err = subPath(source, sub, v.EmptyDir != nil); err != nil {
				return nil, err
			}
		} else if v.HostPath != nil {
			if source, err = filepath.EvalSymlinks(source); err != nil {
				return nil, err
			}
		}
		mounts = append(mounts, process.Mount{Source: source, Target: m.MountPath, ReadOnly: m.ReadOnly || isProjection(v)})
	}
	return mounts, nil
}

func findVolume(pod *v1.Pod, name string) *v1.Volume {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return &pod.Spec.Volumes[i]
		}
	}
	return nil
}

// subPath gives a file or directory inside a volume; one that is missing is made in a volume that may be written.
func subPath(volume, sub string, may bool) (string, error) {
	path := filepath.Join(volume, filepath.Clean("/"+sub))
	if may {
		if err := os.MkdirAll(path, 0o750); err != nil && !os.IsExist(err) {
			return "", err
		}
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if base, err := filepath.EvalSymlinks(volume); err != nil || real != base && !strings.HasPrefix(real, base+"/") {
		return "", fmt.Errorf("subPath %q leads out of the volume", sub)
	}
	return real, nil
}

// etcFiles writes the resolver's configuration, the hosts file and the host name.
func (w *worker) etcFiles(pod *v1.Pod) ([]process.Mount, error) {
	content := map[string]string{
		"hosts":       hostsFile(pod, w.address()),
		"hostname":    hostname(pod) + "\n",
		"resolv.conf": resolverFile(pod, w.k.dns),
	}
	var mounts []process.Mount
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		file := filepath.Join(w.dir, "etc", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(content[name]), 0o644); err != nil {
			return nil, err
		}
		mounts = append(mounts, process.Mount{Source: file, Target: "/etc/" + name})
	}
	return mounts, nil
}

func hostsFile(pod *v1.Pod, ip string) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "127.0.0.1\tlocalhost\n::1\tlocalhost\n%s\t%s\n", ip, hostname(pod))
	for _, a := range pod.Spec.HostAliases {
		fmt.Fprintf(b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
	}
	return b.String()
}

// resolverFile points a pod to the cluster's DNS; there is no other here, so dnsPolicy makes no difference but None.
func resolverFile(pod *v1.Pod, server string) string {
	servers := []string{server}
	search := []string{pod.Namespace + ".svc.cluster.local", "svc.cluster.local", "cluster.local"}
	options := []string{"ndots:5"}
	if pod.Spec.DNSPolicy == v1.DNSNone {
		servers, search, options = nil, nil, nil
	}
	if c := pod.Spec.DNSConfig; c != nil {
		servers, search = append(servers, c.Nameservers...), append(search, c.Searches...)
		for _, o := range c.Options {
			name := o.Name
			if o.Value != nil {
				name += ":" + *o.Value
			}
			options = append(options, name)
		}
	}
	b := &strings.Builder{}
	for _, s := range servers {
		fmt.Fprintf(b, "nameserver %s\n", s)
	}
	if len(search) > 0 {
		fmt.Fprintf(b, "search %s\n", strings.Join(search, " "))
	}
	if len(options) > 0 {
		fmt.Fprintf(b, "options %s\n", strings.Join(options, " "))
	}
	return b.String()
}
