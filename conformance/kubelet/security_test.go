package main

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

func TestContainerSaysMoreThanPodAndPodMoreThanImage(t *testing.T) {
	img := &image{User: "65532:65532"}
	pod := testPod(nil)
	c := &pod.Spec.Containers[0]
	check := func(uid, gid uint32) {
		t.Helper()
		id, err := identity(pod, c, img)
		if err != nil || id.UID != uid || id.GID != gid {
			t.Errorf("%d:%d, %v; want %d:%d", id.UID, id.GID, err, uid, gid)
		}
	}
	check(65532, 65532)
	pod.Spec.SecurityContext = &v1.PodSecurityContext{RunAsUser: new(int64), RunAsGroup: new(int64)}
	*pod.Spec.SecurityContext.RunAsUser = 1000
	check(1000, 0)
	c.SecurityContext = &v1.SecurityContext{RunAsUser: new(int64)}
	*c.SecurityContext.RunAsUser = 2000
	check(2000, 0)
}

func TestRootIsRefusedWhereItMustNotBe(t *testing.T) {
	yes, no := true, false
	pod := testPod(func(p *v1.Pod) { p.Spec.SecurityContext = &v1.PodSecurityContext{RunAsNonRoot: &yes} })
	c := &pod.Spec.Containers[0]
	if _, err := identity(pod, c, &image{}); err == nil {
		t.Error("an image of root was taken")
	}
	if _, err := identity(pod, c, &image{User: "1"}); err != nil {
		t.Error(err)
	}
	c.SecurityContext = &v1.SecurityContext{RunAsNonRoot: &no}
	if _, err := identity(pod, c, &image{}); err != nil {
		t.Errorf("the container allows it: %v", err)
	}
}

func TestCapabilitiesAreDroppedAndAdded(t *testing.T) {
	for name, c := range map[string]struct {
		caps *v1.Capabilities
		want func([]uintptr) bool
	}{
		"default": {nil, func(n []uintptr) bool {
			return len(n) == len(defaultCapabilities) && !slices.Contains(n, unix.CAP_SYS_ADMIN)
		}},
		"drop one": {&v1.Capabilities{Drop: []v1.Capability{"NET_RAW"}}, func(n []uintptr) bool {
			return len(n) == len(defaultCapabilities)-1 && !slices.Contains(n, unix.CAP_NET_RAW)
		}},
		"drop all, add one": {&v1.Capabilities{Drop: []v1.Capability{"ALL"}, Add: []v1.Capability{"NET_BIND_SERVICE"}}, func(n []uintptr) bool {
			return slices.Equal(n, []uintptr{unix.CAP_NET_BIND_SERVICE})
		}},
		"add all": {&v1.Capabilities{Add: []v1.Capability{"ALL"}}, func(n []uintptr) bool { return len(n) == len(capabilities) }},
		"prefix":  {&v1.Capabilities{Drop: []v1.Capability{"all"}, Add: []v1.Capability{"CAP_KILL"}}, func(n []uintptr) bool { return slices.Equal(n, []uintptr{unix.CAP_KILL}) }},
	} {
		if got, err := bounding(c.caps); err != nil || !c.want(got) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := bounding(&v1.Capabilities{Add: []v1.Capability{"FLY"}}); err == nil {
		t.Error("an unknown capability was taken")
	}
}

func TestEveryDefaultCapabilityIsKnown(t *testing.T) {
	for _, name := range defaultCapabilities {
		if _, ok := capabilities[name]; !ok {
			t.Errorf("%s has no number", name)
		}
	}
}
