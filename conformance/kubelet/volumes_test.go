package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func secretVolume(name string, items ...v1.KeyToPath) v1.Volume {
	return v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: name, Items: items}}}
}

func TestSecretIsShownAsItsItemsSay(t *testing.T) {
	mode := int32(0o400)
	k := newTestKubelet(t, &v1.Secret{ObjectMeta: meta("keys"), Data: map[string][]byte{"a": []byte("1"), "b": []byte("2")}})
	pod := testPod(func(p *v1.Pod) {
		p.Spec.Volumes = []v1.Volume{secretVolume("keys", v1.KeyToPath{Key: "a", Path: "sub/a", Mode: &mode})}
	})
	w := newWorker(k, pod)
	if err := w.prepareVolumes(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.volumeDir("v"), "sub/a")
	if b, err := os.ReadFile(file); err != nil || string(b) != "1" {
		t.Errorf("%q, %v", b, err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o400 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if _, err := os.Stat(filepath.Join(w.volumeDir("v"), "b")); err == nil {
		t.Error("a key that no item names is shown")
	}
}

func TestWhatAVolumeNeedsIsNamedAndOptionalIsNotNeeded(t *testing.T) {
	k := newTestKubelet(t, &v1.Secret{ObjectMeta: meta("keys")})
	for want, v := range map[string]v1.Volume{`secret "none" not found`: secretVolume("none"), "non-existent key: a": secretVolume("keys", v1.KeyToPath{Key: "a", Path: "a"})} {
		pod := testPod(func(p *v1.Pod) { p.Spec.Volumes = []v1.Volume{v} })
		if err := newWorker(k, pod).prepareVolumes(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
		yes := true
		pod.Spec.Volumes[0].Secret.Optional = &yes
		if err := newWorker(k, pod).prepareVolumes(); err != nil {
			t.Errorf("optional: %v", err)
		}
	}
}

func TestChangedSourceReplacesTheFiles(t *testing.T) {
	cm := &v1.ConfigMap{ObjectMeta: meta("settings"), Data: map[string]string{"old": "1", "word": "before"}}
	k := newTestKubelet(t, cm)
	pod := testPod(func(p *v1.Pod) {
		p.Spec.Volumes = []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "settings"}}}}}
	})
	w := newWorker(k, pod)
	if err := w.prepareVolumes(); err != nil {
		t.Fatal(err)
	}
	cm.Data = map[string]string{"word": "after"} // the store has the same object
	if err := w.prepareVolumes(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(w.volumeDir("v"), "word")); err != nil || string(b) != "after" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(w.volumeDir("v"), "old")); err == nil {
		t.Error("a key that has gone is still shown")
	}
}

func TestSubPathCannotLeaveItsVolume(t *testing.T) {
	volume := t.TempDir()
	if err := os.Symlink("/etc", filepath.Join(volume, "out")); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"out", "out/passwd"} {
		if got, err := subPath(volume, sub, false); err == nil {
			t.Errorf("%s leads to %s", sub, got)
		}
	}
	if got, err := subPath(volume, "../../new", true); err != nil || got != filepath.Join(volume, "new") {
		t.Errorf("%s, %v", got, err)
	}
}

func TestResolverFollowsThePod(t *testing.T) {
	pod := testPod(nil)
	if got := resolverFile(pod, "198.19.0.10"); got != "nameserver 198.19.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n" {
		t.Errorf("%q", got)
	}
	pod.Spec.DNSPolicy, pod.Spec.DNSConfig = v1.DNSNone, &v1.PodDNSConfig{Nameservers: []string{"192.0.2.53"}, Options: []v1.PodDNSConfigOption{{Name: "edns0"}}}
	if got := resolverFile(pod, "198.19.0.10"); got != "nameserver 192.0.2.53\noptions edns0\n" {
		t.Errorf("%q", got)
	}
}

func TestTokenIsRenewedAtFourFifthsOfItsLife(t *testing.T) {
	begin := time.Now()
	for life, want := range map[time.Duration]time.Duration{10 * time.Minute: 8 * time.Minute, time.Hour: 48 * time.Minute, 90 * 24 * time.Hour: 24 * time.Hour} {
		if got := renewAt(begin, begin.Add(life)).Sub(begin); got != want {
			t.Errorf("%s: %s", life, got)
		}
	}
}

func TestTokenIsAskedForOnceAndKeptWhenThereIsNoOther(t *testing.T) {
	k := newTestKubelet(t)
	asked, down := 0, false
	k.client.(*fake.Clientset).PrependReactor("create", "serviceaccounts", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if asked++; down {
			return true, nil, errors.New("down")
		}
		req := a.(clienttesting.CreateAction).GetObject().(*authv1.TokenRequest)
		if len(req.Spec.Audiences) != 1 || req.Spec.Audiences[0] != "fairway" || req.Spec.BoundObjectRef.UID != testPod(nil).UID {
			t.Errorf("%+v", req.Spec)
		}
		req.Status = authv1.TokenRequestStatus{Token: "t", ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour))}
		return true, req, nil
	})
	pod := testPod(nil)
	w := newWorker(k, pod)
	read := func() string {
		t.Helper()
		out := files{}
		if err := w.addToken(out, pod, &v1.ServiceAccountTokenProjection{Audience: "fairway", Path: "token"}, 0o644); err != nil {
			t.Fatal(err)
		}
		return string(out["token"].Data)
	}
	if read() != "t" || read() != "t" || asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	for key := range w.tokens {
		w.tokens[key] = token{value: "old", renew: time.Now().Add(-time.Second)}
	}
	down = true
	if got := read(); got != "old" || asked != 2 {
		t.Errorf("%q after asking %d times", got, asked)
	}
}
