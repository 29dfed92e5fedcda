package main

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

func newZone(t *testing.T) *zone {
	t.Helper()
	f := informers.NewSharedInformerFactory(fake.NewClientset(), 0)
	no, host := false, "one"
	for _, s := range []*v1.Service{
		{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}, Spec: v1.ServiceSpec{ClusterIP: "198.19.0.7",
			ClusterIPs: []string{"198.19.0.7", "fd00::7"}, Ports: []v1.ServicePort{{Name: "grpc", Protocol: v1.ProtocolTCP, Port: 7070}}}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "bare"}, Spec: v1.ServiceSpec{ClusterIP: v1.ClusterIPNone}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "far"}, Spec: v1.ServiceSpec{Type: v1.ServiceTypeExternalName, ExternalName: "example.com"}},
	} {
		if err := f.Core().V1().Services().Informer().GetStore().Add(s); err != nil {
			t.Fatal(err)
		}
	}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "bare-1", Labels: map[string]string{discoveryv1.LabelServiceName: "bare"}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"198.18.1.1"}, Hostname: &host}, {Addresses: []string{"198.18.1.2"}},
			{Addresses: []string{"198.18.1.3"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}}}}
	if err := f.Discovery().V1().EndpointSlices().Informer().GetStore().Add(slice); err != nil {
		t.Fatal(err)
	}
	return &zone{services: f.Core().V1().Services().Lister(), slices: f.Discovery().V1().EndpointSlices().Lister(), known: func() bool { return true }}
}

func TestNamesOfServicesAreAnswered(t *testing.T) {
	z := newZone(t)
	for _, c := range []struct {
		name string
		kind uint16
		want []string
		code int
	}{
		{"cart.shop.svc.cluster.local.", dns.TypeA, []string{"198.19.0.7"}, dns.RcodeSuccess},
		{"CART.Shop.svc.cluster.local.", dns.TypeA, []string{"198.19.0.7"}, dns.RcodeSuccess},
		{"cart.shop.svc.cluster.local.", dns.TypeAAAA, []string{"fd00::7"}, dns.RcodeSuccess},
		{"cart.shop.svc.cluster.local.", dns.TypeTXT, nil, dns.RcodeSuccess},
		{"bare.shop.svc.cluster.local.", dns.TypeA, []string{"198.18.1.1", "198.18.1.2"}, dns.RcodeSuccess},
		{"one.bare.shop.svc.cluster.local.", dns.TypeA, []string{"198.18.1.1"}, dns.RcodeSuccess},
		{"two.bare.shop.svc.cluster.local.", dns.TypeA, nil, dns.RcodeNameError},
		{"one.cart.shop.svc.cluster.local.", dns.TypeA, nil, dns.RcodeNameError},
		{"far.shop.svc.cluster.local.", dns.TypeA, []string{"example.com."}, dns.RcodeSuccess},
		{"_grpc._tcp.cart.shop.svc.cluster.local.", dns.TypeSRV, []string{"cart.shop.svc.cluster.local.:7070"}, dns.RcodeSuccess},
		{"none.shop.svc.cluster.local.", dns.TypeA, nil, dns.RcodeNameError},
		{"shop.svc.cluster.local.", dns.TypeA, nil, dns.RcodeNameError},
		{"cart.shop.example.", dns.TypeA, nil, dns.RcodeNameError},
	} {
		records, code := z.lookup(dns.Question{Name: c.name, Qtype: c.kind, Qclass: dns.ClassINET})
		if code != c.code || len(records) != len(c.want) {
			t.Errorf("%s: %v, code %d", c.name, records, code)
			continue
		}
		for i, r := range records {
			if got := target(r); got != c.want[i] {
				t.Errorf("%s: %s, want %s", c.name, got, c.want[i])
			}
		}
	}
}

func target(r dns.RR) string {
	switch r := r.(type) {
	case *dns.A:
		return r.A.String()
	case *dns.AAAA:
		return r.AAAA.String()
	case *dns.CNAME:
		return r.Target
	case *dns.SRV:
		return fmt.Sprintf("%s:%d", r.Target, r.Port)
	}
	return r.String()
}
