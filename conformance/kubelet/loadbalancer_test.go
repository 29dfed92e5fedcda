package main

import (
	"context"
	"net/netip"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
)

// balancerBed is a balancer with a fake API server; see and drop tell it of Services as a watch would.
type balancerBed struct {
	t *testing.T
	b *balancer
}

func newBalancerBed(t *testing.T) *balancerBed {
	return &balancerBed{t, newBalancer(fake.NewClientset(), record.NewFakeRecorder(100), netip.MustParsePrefix("198.19.255.0/29"))}
}

func balanced(name, ip string) *v1.Service {
	return &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name)},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, LoadBalancerIP: ip}}
}

func (x *balancerBed) see(s *v1.Service) string {
	x.t.Helper()
	if _, err := x.b.client.CoreV1().Services("shop").Create(context.Background(), s, metav1.CreateOptions{}); err != nil {
		x.t.Fatal(err)
	}
	x.b.onService(s)
	return x.address(s.Name)
}

func (x *balancerBed) address(name string) string {
	x.t.Helper()
	s, err := x.b.client.CoreV1().Services("shop").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		x.t.Fatal(err)
	}
	if len(s.Status.LoadBalancer.Ingress) == 0 {
		return ""
	}
	return s.Status.LoadBalancer.Ingress[0].IP
}

func TestEveryServiceGetsAnAddressOfItsOwn(t *testing.T) {
	x := newBalancerBed(t)
	seen := map[string]bool{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		ip := x.see(balanced(name, ""))
		if ip == "" || seen[ip] {
			t.Errorf("%s: %q", name, ip)
		}
		seen[ip] = true
	}
	if ip := x.see(balanced("g", "")); ip != "" {
		t.Errorf("%s, although all are taken", ip)
	}
}

func TestARequestedAddressIsGivenOrNone(t *testing.T) {
	x := newBalancerBed(t)
	for name, c := range map[string][2]string{"in": {"198.19.255.5", "198.19.255.5"}, "out": {"192.0.2.1", ""}, "broken": {"x", ""}} {
		if got := x.see(balanced(name, c[0])); got != c[1] {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestWhoWaitsForAnAddressGetsItWhenItIsFree(t *testing.T) {
	x := newBalancerBed(t)
	x.see(balanced("first", "198.19.255.5"))
	if got := x.see(balanced("second", "198.19.255.5")); got != "" {
		t.Fatalf("given twice: %s", got)
	}
	x.b.release("first")
	if got := x.address("second"); got != "198.19.255.5" {
		t.Errorf("%q", got)
	}
}

func TestAnotherTypeOrClassHasNoAddress(t *testing.T) {
	x := newBalancerBed(t)
	class := "other.example/class"
	s := balanced("classed", "")
	s.Spec.LoadBalancerClass = &class
	if got := x.see(s); got != "" {
		t.Errorf("class of others: %s", got)
	}
	s = balanced("changed", "")
	if x.see(s) == "" {
		t.Fatal("no address")
	}
	s = s.DeepCopy()
	s.Spec.Type = v1.ServiceTypeClusterIP
	x.b.onService(s)
	if got := x.address("changed"); got != "" {
		t.Errorf("kept %s", got)
	}
}

func TestAddressesFromBeforeARestartAreKept(t *testing.T) {
	x := newBalancerBed(t)
	s := balanced("old", "")
	s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "198.19.255.1"}}
	x.see(s)
	if got := x.see(balanced("new", "")); got != "198.19.255.2" {
		t.Errorf("new one got %q", got)
	}
}
