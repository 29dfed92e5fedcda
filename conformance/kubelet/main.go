// kubelet: the testbed's node. It runs pods as plain processes of this machine.
//
// It does what the Gateway API conformance suite and a gateway implementation need of a node, and behaves there as the
// real one: binding (where there is no scheduler), volumes that follow their sources, ServiceAccount tokens that are
// renewed, probes, hooks, security contexts, restarts with back-off, graceful ends, logs, exec, port-forward, events;
// and addresses for Services of type LoadBalancer. It limits no resources, applies no seccomp profiles, and an image's
// name stands for a program of this machine (--images): nothing is pulled.
//
// Needs root, veth, overlayfs. Start it inside the testbed's network namespace but in the machine's mount namespace
// (nsenter --net=..., not `ip netns exec`), else the pods' namespaces cannot be seen outside.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"

	"fairway.dev/conformance/kubelet/process"
)

type kubelet struct {
	client kubernetes.Interface
	events record.EventRecorder

	node, version, dns, svcHost, svcPort string
	nodeIP                               netip.Addr
	root, logs, netnsPrefix              string
	backoffMax                           time.Duration
	bind                                 bool
	images                               []image
	addresses                            *addresses

	services   corelisters.ServiceLister
	secrets    corelisters.SecretLister
	configMaps corelisters.ConfigMapLister

	mu      sync.Mutex // guards what follows; taken before a worker's, never after
	workers map[types.UID]*worker
	binding map[types.UID]bool
	ending  bool
	stopped chan struct{} // closed when the kubelet ends
}

func main() {
	process.Main() // does not return in a container's first process
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	if err := runKubelet(); err != nil {
		fmt.Fprintln(os.Stderr, "testbed-kubelet:", err)
		os.Exit(1)
	}
}

func runKubelet() error {
	k := &kubelet{workers: map[types.UID]*worker{}, binding: map[types.UID]bool{}, stopped: make(chan struct{})}
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of a cluster admin")
	images := flag.String("images", "", "JSON file that maps image names to programs")
	podCIDR := flag.String("pod-cidr", "198.18.0.0/16", "addresses of the node (first 256) and the pods")
	lbCIDR := flag.String("lb-cidr", "198.19.255.0/24", "addresses for Services of type LoadBalancer")
	nodeIP := flag.String("node-ip", "198.18.0.1", "address of the node, present on lo")
	flag.StringVar(&k.node, "node", "testbed", "name of the node")
	flag.StringVar(&k.dns, "dns", "198.19.0.10", "nameserver of the pods")
	flag.StringVar(&k.root, "root", "", "directory for what pods need while they run; removed and made anew")
	flag.StringVar(&k.logs, "logs", "", "directory for the logs of containers; they stay")
	flag.StringVar(&k.netnsPrefix, "netns-prefix", "testbed.", "beginning of the names of the pods' network namespaces; any with it are removed")
	flag.StringVar(&k.svcHost, "svc-host", "198.19.0.1", "KUBERNETES_SERVICE_HOST")
	flag.StringVar(&k.svcPort, "svc-port", "443", "KUBERNETES_SERVICE_PORT")
	flag.StringVar(&k.version, "kubelet-version", "v1.36.1", "version the node reports")
	flag.DurationVar(&k.backoffMax, "backoff-max", time.Minute, "longest pause before the restart of a container")
	flag.BoolVar(&k.bind, "bind", true, "bind unscheduled pods; false with a kube-scheduler")
	flag.Parse()
	if *kubeconfig == "" || *images == "" || k.root == "" || k.logs == "" {
		return fmt.Errorf("--kubeconfig, --images, --root and --logs are needed")
	}
	var err error
	if k.root, err = filepath.Abs(k.root); err != nil {
		return err
	}
	if strings.ContainsAny(k.root, ",:\\") {
		return fmt.Errorf("--root %s: an overlay cannot be made below a path with one of , : \\", k.root)
	}
	if k.nodeIP, err = netip.ParseAddr(*nodeIP); err != nil {
		return fmt.Errorf("--node-ip: %w", err)
	}
	pods, err := netip.ParsePrefix(*podCIDR)
	if err != nil {
		return fmt.Errorf("--pod-cidr: %w", err)
	}
	pool, err := netip.ParsePrefix(*lbCIDR)
	if err != nil {
		return fmt.Errorf("--lb-cidr: %w", err)
	}
	if k.images, err = loadImages(*images); err != nil {
		return err
	}
	if err := k.sweep(); err != nil {
		return err
	}
	k.addresses = newAddresses(pods, k.root+".last-address")
	return k.work(*kubeconfig, pool)
}

// sweep removes what a kubelet that was killed has left behind. Its pods' processes died with it.
func (k *kubelet) sweep() error {
	if err := sweepPodNetworks(k.netnsPrefix); err != nil {
		return err
	}
	if err := os.RemoveAll(k.root); err != nil {
		return err
	}
	return os.MkdirAll(k.root, 0o755)
}
