package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"

	"fairway.dev/conformance/kubelet/process"
)

func TestMain(m *testing.M) {
	process.Main() // tests start containers: this program again
	os.Exit(m.Run())
}

// newTestKubelet makes a kubelet whose API server is a fake that knows the given objects.
func newTestKubelet(t *testing.T, objects ...runtime.Object) *kubelet {
	t.Helper()
	dir := t.TempDir()
	client := fake.NewClientset(objects...)
	k := &kubelet{client: client, events: record.NewFakeRecorder(1000), node: "testbed", nodeIP: netip.MustParseAddr("198.18.0.1"),
		root: filepath.Join(dir, "pods"), logs: filepath.Join(dir, "logs"), netnsPrefix: "test.", dns: "198.19.0.10", svcHost: "198.19.0.1", svcPort: "443",
		backoffMax: time.Second, workers: map[types.UID]*worker{}, binding: map[types.UID]bool{}, stopped: make(chan struct{}),
		addresses: newAddresses(netip.MustParsePrefix("198.18.0.0/16"), ""),
		images:    []image{{Match: "shell", Cmd: []string{"/bin/sh", "-c"}}}}
	f := informers.NewSharedInformerFactory(client, 0)
	core := f.Core().V1()
	k.services, k.secrets, k.configMaps = core.Services().Lister(), core.Secrets().Lister(), core.ConfigMaps().Lister()
	for _, o := range objects {
		var err error
		switch o := o.(type) {
		case *v1.Secret:
			err = core.Secrets().Informer().GetStore().Add(o)
		case *v1.ConfigMap:
			err = core.ConfigMaps().Informer().GetStore().Add(o)
		case *v1.Service:
			err = core.Services().Informer().GetStore().Add(o)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// testPod is a pod with one container of the image "shell" on the node's network.
func testPod(change func(*v1.Pod)) *v1.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", UID: "0123456789abcdef", ResourceVersion: "1", Generation: 1, Labels: map[string]string{"app": "cart"}},
		Spec: v1.PodSpec{NodeName: "testbed", HostNetwork: true, RestartPolicy: v1.RestartPolicyNever, ServiceAccountName: "default",
			Containers: []v1.Container{{Name: "main", Image: "registry.example/shell:1"}}}}
	if change != nil {
		change(pod)
	}
	return pod
}

func meta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "shop", Name: name} }
