package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"fairway.dev/conformance/kubelet/process"
)

const netnsDir = "/run/netns"

// Every pod is a routed /32 behind its own veth. The pod's default route points at the node's address (it lives on lo;
// ARP answers for it on every device), the node has one /32 route per pod. There is no bridge, so all traffic between
// pods is forwarded by the node's network namespace and passes its nftables hooks once each way: kube-proxy works
// unchanged and source addresses are kept.

// addPodNetwork makes the network namespace called name and its link: device on the node's side, eth0 on the pod's.
func addPodNetwork(name, device string, ip, node netip.Addr) error {
	if err := deletePodNetwork(name); err != nil {
		return err
	}
	ns, err := namedNetns(name)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", name, err)
	}
	defer ns.Close()
	link := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns))}
	link.Name = device
	if err := netlink.LinkAdd(link); err != nil {
		return fmt.Errorf("veth %s: %w", device, err)
	}
	host, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(host); err != nil {
		return err
	}
	inPod, err := netlink.NewHandleAt(ns)
	if err != nil {
		return err
	}
	defer inPod.Close()
	if err := configurePod(inPod, ip, node); err != nil {
		return fmt.Errorf("network of %s: %w", name, err)
	}
	// The route's source makes the node speak to pods from its own address; masquerading falls back to it as well.
	return netlink.RouteReplace(&netlink.Route{LinkIndex: host.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: single(ip), Src: node.AsSlice()})
}

func configurePod(h *netlink.Handle, ip, node netip.Addr) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(lo); err != nil {
		return err
	}
	eth, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := h.AddrAdd(eth, &netlink.Addr{IPNet: single(ip)}); err != nil {
		return err
	}
	if err := h.LinkSetUp(eth); err != nil {
		return err
	}
	// On-link, although the pod's own prefix holds nothing but itself.
	return h.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: node.AsSlice(), Flags: int(netlink.FLAG_ONLINK)})
}

func single(ip netip.Addr) *net.IPNet {
	return &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(32, 32)}
}

// namedNetns makes a network namespace that ip(8) can name.
func namedNetns(name string) (netns.NsHandle, error) {
	runtime.LockOSThread() // NewNamed moves the thread
	origin, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return netns.None(), err
	}
	defer origin.Close()
	ns, err := netns.NewNamed(name)
	if e := netns.Set(origin); e != nil {
		panic("a thread cannot leave a pod's network namespace: " + e.Error())
	}
	runtime.UnlockOSThread()
	return ns, err
}

// deletePodNetwork removes a namespace and with it both ends of its link; one that is not there is no error.
func deletePodNetwork(name string) error {
	path := filepath.Join(netnsDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// sweepPodNetworks removes what a kubelet that was killed has left.
func sweepPodNetworks(prefix string) error {
	entries, err := os.ReadDir(netnsDir)
	if err != nil {
		return nil // never made
	}
	var failed error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			failed = errors.Join(failed, deletePodNetwork(e.Name()))
		}
	}
	return failed
}

// setSysctls writes a pod's kernel settings into its network namespace.
func setSysctls(netns string, settings []v1.Sysctl) error {
	return process.In(netns, func() error {
		for _, s := range settings {
			if !strings.HasPrefix(s.Name, "net.") {
				return fmt.Errorf("SysctlForbidden: %s is not a setting of the network namespace", s.Name)
			}
			path := filepath.Join("/proc/sys", filepath.Clean("/"+strings.ReplaceAll(s.Name, ".", "/")))
			if err := os.WriteFile(path, []byte(s.Value), 0); err != nil {
				return fmt.Errorf("sysctl %s: %w", s.Name, err)
			}
		}
		return nil
	})
}
