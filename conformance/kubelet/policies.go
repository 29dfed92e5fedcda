package main

import (
	"fmt"
	"log"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	networklisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
)

// policer enforces NetworkPolicies for ingress, as a network plugin does, by nftables in the node's forward hook, which all
// traffic between pods passes after kube-proxy. What comes from the node itself gets in, as probes have to. Egress is not
// looked at, nor are connections that stand.
type policer struct {
	policies   networklisters.NetworkPolicyLister
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	wake       chan struct{}
}

// newPolicer follows what policies are about; start the factory afterwards.
func newPolicer(f informers.SharedInformerFactory) (*policer, error) {
	p := &policer{policies: f.Networking().V1().NetworkPolicies().Lister(), pods: f.Core().V1().Pods().Lister(),
		namespaces: f.Core().V1().Namespaces().Lister(), wake: make(chan struct{}, 1)}
	heard := func(any) {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: heard, UpdateFunc: func(_, o any) { heard(o) }, DeleteFunc: heard}
	for _, informer := range []cache.SharedIndexInformer{f.Networking().V1().NetworkPolicies().Informer(),
		f.Core().V1().Pods().Informer(), f.Core().V1().Namespaces().Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// run writes the rules whenever they change, until stopped.
func (p *policer) run(stopped <-chan struct{}) {
	const none = "table inet netpol\ndelete table inet netpol\n"
	written := none
	for {
		select {
		case <-stopped:
			return
		case <-p.wake:
		}
		rules := none
		if inner := p.rules(); inner != "" {
			rules += inner
		}
		if rules == written {
			continue
		}
		nft := exec.Command("nft", "-f", "-")
		nft.Stdin = strings.NewReader(rules)
		if out, err := nft.CombinedOutput(); err != nil {
			log.Printf("network policies: %v: %s", err, out)
			time.AfterFunc(time.Second, func() { p.wake <- struct{}{} })
			continue
		}
		written = rules
	}
}

// rules gives a table for all pods that a policy is about; "": there are none.
func (p *policer) rules() string {
	policies, _ := p.policies.List(labels.Everything())
	pods, _ := p.pods.List(labels.Everything())
	if len(policies) == 0 {
		return ""
	}
	slices.SortFunc(policies, func(a, b *networking.NetworkPolicy) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	slices.SortFunc(pods, func(a, b *v1.Pod) int { return strings.Compare(a.Status.PodIP, b.Status.PodIP) })
	var chains, jumps strings.Builder
	for _, pod := range pods {
		if !isPolicable(pod) {
			continue
		}
		isIsolated, accepts := false, ""
		for _, policy := range policies {
			if policy.Namespace == pod.Namespace && isIngress(policy) && selects(&policy.Spec.PodSelector, pod.Labels) {
				isIsolated = true
				for _, rule := range policy.Spec.Ingress {
					accepts += p.accepts(policy.Namespace, pod, rule, pods)
				}
			}
		}
		if isIsolated {
			chain := "to_" + strings.ReplaceAll(pod.Status.PodIP, ".", "_")
			fmt.Fprintf(&chains, "  chain %s {\n%s    drop\n  }\n", chain, accepts)
			fmt.Fprintf(&jumps, "    ip daddr %s goto %s\n", pod.Status.PodIP, chain)
		}
	}
	if jumps.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("table inet netpol {\n%s  chain forward {\n    type filter hook forward priority 10; policy accept;\n"+
		"    ct state established,related accept\n%s  }\n}\n", chains.String(), jumps.String())
}

// accepts gives the lines of one rule: whom it lets in, to what.
func (p *policer) accepts(namespace string, pod *v1.Pod, rule networking.NetworkPolicyIngressRule, pods []*v1.Pod) string {
	from := ""
	if len(rule.From) > 0 {
		sources := p.sources(namespace, rule.From, pods)
		if len(sources) == 0 {
			return ""
		}
		from = "ip saddr { " + strings.Join(sources, ", ") + " } "
	}
	if len(rule.Ports) == 0 {
		return "    " + from + "accept\n"
	}
	lines := ""
	for _, port := range rule.Ports {
		protocol := v1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		match := "meta l4proto " + strings.ToLower(string(protocol))
		if port.Port != nil {
			first := number(*port.Port, pod, protocol)
			if first == 0 {
				continue // no container has it
			}
			match = fmt.Sprintf("%s dport %d", strings.ToLower(string(protocol)), first)
			if port.EndPort != nil {
				match += fmt.Sprintf("-%d", *port.EndPort)
			}
		}
		lines += "    " + from + match + " accept\n"
	}
	return lines
}

// sources gives the addresses of peers.
func (p *policer) sources(namespace string, peers []networking.NetworkPolicyPeer, pods []*v1.Pod) []string {
	var sources []string
	for _, peer := range peers {
		if peer.IPBlock != nil {
			sources = append(sources, without(peer.IPBlock)...)
			continue
		}
		for _, pod := range pods {
			isHere := pod.Namespace == namespace
			if peer.NamespaceSelector != nil {
				of, err := p.namespaces.Get(pod.Namespace)
				isHere = err == nil && selects(peer.NamespaceSelector, of.Labels)
			}
			if isHere && isPolicable(pod) && (peer.PodSelector == nil || selects(peer.PodSelector, pod.Labels)) {
				sources = append(sources, pod.Status.PodIP)
			}
		}
	}
	slices.Sort(sources)
	return slices.Compact(sources)
}

// without gives a block of addresses as intervals that leave out its exceptions.
func without(block *networking.IPBlock) []string {
	whole, err := netip.ParsePrefix(block.CIDR)
	if err != nil || !whole.Addr().Is4() {
		return nil
	}
	prefixes := []netip.Prefix{whole.Masked()}
	for _, except := range block.Except {
		out, err := netip.ParsePrefix(except)
		if err != nil {
			continue
		}
		for i := 0; i < len(prefixes); i++ {
			for prefix := prefixes[i]; prefix.Overlaps(out); prefix = prefixes[i] {
				if out.Bits() <= prefix.Bits() {
					prefixes = slices.Delete(prefixes, i, i+1)
					i--
					break
				}
				// Its halves.
				low := netip.PrefixFrom(prefix.Addr(), prefix.Bits()+1)
				a := prefix.Addr().As4()
				a[prefix.Bits()/8] |= 0x80 >> (prefix.Bits() % 8)
				prefixes = slices.Replace(prefixes, i, i+1, low, netip.PrefixFrom(netip.AddrFrom4(a), prefix.Bits()+1))
				if !prefixes[i].Overlaps(out) {
					i++
				}
			}
		}
	}
	var all []string
	for _, prefix := range prefixes {
		all = append(all, prefix.String())
	}
	return all
}

// number resolves a port of a policy to what a pod has for it; 0: nothing.
func number(port intstr.IntOrString, pod *v1.Pod, protocol v1.Protocol) int32 {
	if port.Type == intstr.Int {
		return port.IntVal
	}
	for _, container := range pod.Spec.Containers {
		for _, own := range container.Ports {
			if own.Name == port.StrVal && (own.Protocol == protocol || own.Protocol == "" && protocol == v1.ProtocolTCP) {
				return own.ContainerPort
			}
		}
	}
	return 0
}

// isPolicable: pods with an address of their own; on the node's they cannot be told from it.
func isPolicable(pod *v1.Pod) bool {
	isOver := pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
	return !pod.Spec.HostNetwork && pod.Status.PodIP != "" && !isOver
}

// isIngress: "If no policyTypes are specified on a NetworkPolicy then by default Ingress will always be set".
func isIngress(policy *networking.NetworkPolicy) bool {
	return len(policy.Spec.PolicyTypes) == 0 || slices.Contains(policy.Spec.PolicyTypes, networking.PolicyTypeIngress)
}

func selects(selector *metav1.LabelSelector, of map[string]string) bool {
	chosen, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && chosen.Matches(labels.Set(of))
}
