package main

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

// balancer gives every Service of type LoadBalancer an address, as a cloud does; kube-proxy makes it work: with ipMode
// VIP it treats the address like a ClusterIP.
//
// A Service that asks for an address (loadBalancerIP) which is out of the range or taken stays without one, as a static
// address that cannot be had must. Services with a loadBalancerClass are left to others.
type balancer struct {
	client kubernetes.Interface
	events record.EventRecorder
	pool   netip.Prefix

	mu      sync.Mutex
	holders map[netip.Addr]types.UID
	waiting map[types.UID]*v1.Service // for an address that somebody has
}

func newBalancer(client kubernetes.Interface, events record.EventRecorder, pool netip.Prefix) *balancer {
	return &balancer{client: client, events: events, pool: pool.Masked(), holders: map[netip.Addr]types.UID{}, waiting: map[types.UID]*v1.Service{}}
}

func (b *balancer) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { b.onService(o.(*v1.Service)) },
		UpdateFunc: func(_, o any) { b.onService(o.(*v1.Service)) },
		DeleteFunc: func(o any) {
			if t, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = t.Obj
			}
			if s, ok := o.(*v1.Service); ok {
				b.release(s.UID)
			}
		},
	}
}

func (b *balancer) onService(s *v1.Service) {
	balanced := s.Spec.Type == v1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil
	if !balanced || s.DeletionTimestamp != nil {
		if b.release(s.UID) && s.DeletionTimestamp == nil {
			b.write(s, nil)
		}
		return
	}
	has := currentAddress(s)
	if has.IsValid() && (s.Spec.LoadBalancerIP == "" || s.Spec.LoadBalancerIP == has.String()) {
		b.mu.Lock()
		if _, taken := b.holders[has]; !taken {
			b.holders[has] = s.UID
		}
		b.mu.Unlock()
		return
	}
	ip, err := b.choose(s)
	if err != nil {
		b.events.Event(s, v1.EventTypeWarning, "SyncLoadBalancerFailed", err.Error())
		if has.IsValid() {
			b.write(s, nil)
		}
		return
	}
	b.write(s, &v1.LoadBalancerIngress{IP: ip.String(), IPMode: new(v1.LoadBalancerIPMode)})
}

// choose takes an address for a Service: the one it asks for, or the first that is free.
func (b *balancer) choose(s *v1.Service) (netip.Addr, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ip, uid := range b.holders {
		if uid == s.UID && (s.Spec.LoadBalancerIP == "" || s.Spec.LoadBalancerIP == ip.String()) {
			return ip, nil // given already, but not yet written
		}
	}
	if want := s.Spec.LoadBalancerIP; want != "" {
		ip, err := netip.ParseAddr(want)
		if err != nil || !b.pool.Contains(ip) {
			return netip.Addr{}, fmt.Errorf("address %s is not one of %s", want, b.pool)
		}
		if _, taken := b.holders[ip]; taken {
			b.waiting[s.UID] = s
			return netip.Addr{}, fmt.Errorf("address %s is in use", want)
		}
		b.drop(s.UID)
		b.holders[ip] = s.UID
		return ip, nil
	}
	// Not the first one, which is the network's, and not the last, the broadcast address.
	for ip := b.pool.Addr().Next(); b.pool.Contains(ip.Next()); ip = ip.Next() {
		if _, taken := b.holders[ip]; !taken {
			b.drop(s.UID)
			b.holders[ip] = s.UID
			return ip, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no free address in %s", b.pool)
}

// drop forgets what a Service holds; mu is held.
func (b *balancer) drop(uid types.UID) bool {
	had := false
	for ip, holder := range b.holders {
		if holder == uid {
			delete(b.holders, ip)
			had = true
		}
	}
	delete(b.waiting, uid)
	return had
}

// release takes back what a Service holds, and lets those who wait for an address ask again.
func (b *balancer) release(uid types.UID) bool {
	b.mu.Lock()
	had := b.drop(uid)
	var again []*v1.Service
	if had {
		for _, s := range b.waiting {
			again = append(again, s)
		}
	}
	b.mu.Unlock()
	for _, s := range again {
		b.onService(s)
	}
	return had
}

// write sets the address of a Service, or takes it away. A conflict is no matter: the update it tells of comes here.
func (b *balancer) write(s *v1.Service, ingress *v1.LoadBalancerIngress) {
	n := s.DeepCopy()
	n.Status.LoadBalancer.Ingress = nil
	if ingress != nil {
		*ingress.IPMode = v1.LoadBalancerIPModeVIP
		n.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{*ingress}
	}
	if _, err := b.client.CoreV1().Services(s.Namespace).UpdateStatus(context.Background(), n, metav1.UpdateOptions{}); err != nil {
		log.Printf("address of service %s/%s: %v", s.Namespace, s.Name, err)
	}
}

func currentAddress(s *v1.Service) netip.Addr {
	if len(s.Status.LoadBalancer.Ingress) == 0 {
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(s.Status.LoadBalancer.Ingress[0].IP)
	if err != nil {
		return netip.Addr{}
	}
	return ip
}
