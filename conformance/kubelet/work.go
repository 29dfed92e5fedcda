package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
)

// work connects to the API server and serves until a signal comes; then it ends all pods.
func (k *kubelet) work(kubeconfig string, pool netip.Prefix) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 1000 // both or neither: QPS alone panics in client-go
	if k.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster()
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&corev1.EventSinkImpl{Interface: k.client.CoreV1().Events("")})
	k.events = broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: "kubelet", Host: k.node})

	served := make(chan error, 1)
	go func() { served <- k.serve(fmt.Sprintf(":%d", kubeletPort)) }()
	go k.keepNode()
	if err := k.watch(newBalancer(k.client, k.events, pool)); err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	select {
	case err := <-served:
		return err
	case <-signals:
	}
	k.shutdown()
	return nil
}

// watch follows the objects that pods need, and then the pods.
func (k *kubelet) watch(b *balancer) error {
	f := informers.NewSharedInformerFactory(k.client, 0)
	core := f.Core().V1()
	k.services, k.secrets, k.configMaps = core.Services().Lister(), core.Secrets().Lister(), core.ConfigMaps().Lister()
	for _, informer := range []cache.SharedIndexInformer{core.Secrets().Informer(), core.ConfigMaps().Informer()} {
		if _, err := informer.AddEventHandler(k.sourceEvents()); err != nil {
			return err
		}
	}
	if _, err := core.Services().Informer().AddEventHandler(b.handler()); err != nil {
		return err
	}
	police, err := newPolicer(f)
	if err != nil {
		return err
	}
	go police.run(k.stopped)
	f.Start(k.stopped)
	f.WaitForCacheSync(k.stopped) // before the pods: they read from these
	if _, err := core.Pods().Informer().AddEventHandler(k.podEvents()); err != nil {
		return err
	}
	f.Start(k.stopped)
	return nil
}

// sourceEvents has volumes looked at again when a Secret or ConfigMap of their namespace has changed.
func (k *kubelet) sourceEvents() cache.ResourceEventHandler {
	heard := func(o any) {
		if object, ok := o.(metav1.Object); ok {
			for _, w := range k.inNamespace(object.GetNamespace()) {
				w.reread()
			}
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: heard, UpdateFunc: func(_, o any) { heard(o) }}
}

// shutdown ends all pods here, leaving their objects as they are.
func (k *kubelet) shutdown() {
	k.mu.Lock()
	k.ending = true
	all := make([]*worker, 0, len(k.workers))
	for _, w := range k.workers {
		all = append(all, w)
	}
	k.mu.Unlock()
	close(k.stopped)
	var ended sync.WaitGroup
	for _, w := range all {
		ended.Go(func() { w.end(2*time.Second, false) })
	}
	ended.Wait()
}
