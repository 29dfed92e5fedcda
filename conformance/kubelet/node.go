package main

import (
	"context"
	"log"
	"runtime"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const kubeletPort = 10250

// capacity is what the node says it has: enough that no pod is refused. Nothing is limited or reserved.
func capacity() v1.ResourceList {
	return v1.ResourceList{v1.ResourceCPU: resource.MustParse("64"), v1.ResourceMemory: resource.MustParse("64Gi"),
		v1.ResourcePods: resource.MustParse("500"), v1.ResourceEphemeralStorage: resource.MustParse("100Gi")}
}

// keepNode registers the node and keeps its status fresh.
func (k *kubelet) keepNode() {
	for {
		pause := 10 * time.Second
		if err := k.registerNode(); err != nil {
			log.Printf("node: %v", err)
			pause = 200 * time.Millisecond
		}
		select {
		case <-k.stopped:
			return
		case <-time.After(pause):
		}
	}
}

func (k *kubelet) registerNode() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	nodes := k.client.CoreV1().Nodes()
	n, err := nodes.Get(ctx, k.node, metav1.GetOptions{})
	if errors.IsNotFound(err) {
		labels := map[string]string{v1.LabelHostname: k.node, v1.LabelOSStable: "linux", v1.LabelArchStable: runtime.GOARCH,
			v1.LabelTopologyZone: "testbed-a", v1.LabelTopologyRegion: "testbed"}
		n, err = nodes.Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: k.node, Labels: labels}}, metav1.CreateOptions{})
	}
	if err != nil {
		return err
	}
	n.Status.Capacity, n.Status.Allocatable = capacity(), capacity()
	n.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: k.nodeIP.String()}, {Type: v1.NodeHostName, Address: k.node}}
	n.Status.DaemonEndpoints.KubeletEndpoint.Port = kubeletPort
	n.Status.NodeInfo.KubeletVersion = k.version
	n.Status.NodeInfo.OperatingSystem, n.Status.NodeInfo.Architecture = "linux", runtime.GOARCH
	n.Status.NodeInfo.ContainerRuntimeVersion = "process://1"
	n.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady",
		Message: "the testbed's kubelet is posting ready status", LastHeartbeatTime: metav1.Now(), LastTransitionTime: n.CreationTimestamp}}
	if n, err = nodes.UpdateStatus(ctx, n, metav1.UpdateOptions{}); err != nil {
		return err
	}
	// Admission taints new nodes until the node-lifecycle controller, which does not run here, finds them ready.
	isTaint := func(t v1.Taint) bool { return t.Key == v1.TaintNodeNotReady }
	if !slices.ContainsFunc(n.Spec.Taints, isTaint) {
		return nil
	}
	n.Spec.Taints = slices.DeleteFunc(n.Spec.Taints, isTaint)
	_, err = nodes.Update(ctx, n, metav1.UpdateOptions{})
	return err
}
