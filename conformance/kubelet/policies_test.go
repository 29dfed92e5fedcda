package main

import (
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
)

func TestAPodThatAPolicyIsAboutIsClosedButForWhatOneLetsIn(t *testing.T) {
	pod := func(name, namespace, ip, app string) *v1.Pod {
		return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": app}},
			Spec:   v1.PodSpec{Containers: []v1.Container{{Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 8080}}}}},
			Status: v1.PodStatus{PodIP: ip, Phase: v1.PodRunning}}
	}
	app := func(name string) metav1.LabelSelector {
		return metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	}
	end := int32(9000)
	policy := &networking.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a"}, Spec: networking.NetworkPolicySpec{
		PodSelector: app("server"),
		Ingress: []networking.NetworkPolicyIngressRule{
			{From: []networking.NetworkPolicyPeer{{PodSelector: new(app("client"))}}, Ports: []networking.NetworkPolicyPort{{Port: new(intstr.FromString("web"))}}},
			{From: []networking.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}, PodSelector: new(app("gate"))}}},
			{Ports: []networking.NetworkPolicyPort{{Port: new(intstr.FromInt32(8081)), EndPort: &end}, {Port: new(intstr.FromString("none"))}}},
		}}}
	f := informers.NewSharedInformerFactory(fake.NewClientset(), 0)
	p, err := newPolicer(f)
	if err != nil {
		t.Fatal(err)
	}
	stores := map[cache.Store][]any{
		f.Core().V1().Pods().Informer().GetStore(): {pod("s", "a", "10.0.0.1", "server"), pod("c", "a", "10.0.0.2", "client"),
			pod("c", "b", "10.0.0.3", "client"), pod("g", "b", "10.0.0.4", "gate"), pod("s", "b", "10.0.0.5", "server")},
		f.Core().V1().Namespaces().Informer().GetStore():            {&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "b"}}},
		f.Networking().V1().NetworkPolicies().Informer().GetStore(): {policy},
	}
	for store, objects := range stores {
		for _, o := range objects {
			if err := store.Add(o); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := `table inet netpol {
  chain to_10_0_0_1 {
    ip saddr { 10.0.0.2 } tcp dport 8080 accept
    ip saddr { 10.0.0.4 } accept
    tcp dport 8081-9000 accept
    drop
  }
  chain forward {
    type filter hook forward priority 10; policy accept;
    ct state established,related accept
    ip daddr 10.0.0.1 goto to_10_0_0_1
  }
}
`
	if got := p.rules(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestABlockLeavesOutItsExceptions(t *testing.T) {
	for _, c := range []struct{ block, except, want string }{
		{"10.0.0.0/24", "", "10.0.0.0/24"},
		{"10.0.0.0/24", "10.0.0.0/25", "10.0.0.128/25"},
		{"10.0.0.0/24", "10.0.0.0/16", ""},
		{"10.0.0.0/30", "10.0.0.2/32", "10.0.0.0/31 10.0.0.3/32"},
		{"0.0.0.0/0", "128.0.0.0/2", "0.0.0.0/1 192.0.0.0/2"},
		{"10.0.0.0/30", "10.0.0.0/32 10.0.0.3/32", "10.0.0.1/32 10.0.0.2/32"},
	} {
		got := without(&networking.IPBlock{CIDR: c.block, Except: strings.Fields(c.except)})
		if !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%s without %q: %v, not %s", c.block, c.except, got, c.want)
		}
	}
}
