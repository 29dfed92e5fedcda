package main

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func from(name string, source v1.EnvVarSource) v1.EnvVar {
	return v1.EnvVar{Name: name, ValueFrom: &source}
}

func TestVariablesComeFromEverywhere(t *testing.T) {
	yes := true
	k := newTestKubelet(t,
		&v1.ConfigMap{ObjectMeta: meta("settings"), Data: map[string]string{"word": "hello", "other": "x"}},
		&v1.Secret{ObjectMeta: meta("keys"), Data: map[string][]byte{"key": []byte("k")}},
		&v1.Service{ObjectMeta: meta("data-base"), Spec: v1.ServiceSpec{ClusterIP: "198.19.0.7", Ports: []v1.ServicePort{{Port: 5432}}}})
	pod := testPod(func(p *v1.Pod) {
		c := &p.Spec.Containers[0]
		c.EnvFrom = []v1.EnvFromSource{{Prefix: "S_", ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "settings"}}},
			{SecretRef: &v1.SecretEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "none"}, Optional: &yes}}}
		c.Env = []v1.EnvVar{
			from("WORD", v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "settings"}, Key: "word"}}),
			from("KEY", v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "keys"}, Key: "key"}}),
			from("ABSENT", v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "keys"}, Key: "no", Optional: &yes}}),
			from("NAME", v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.name"}}),
			from("APP", v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}}),
			from("NODE", v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "status.hostIP"}}),
			from("CPUS", v1.EnvVarSource{ResourceFieldRef: &v1.ResourceFieldSelector{Resource: "limits.cpu"}}),
			{Name: "ALL", Value: "$(WORD)-$(KEY)-$(UNKNOWN)-$$(WORD)"},
		}
	})
	w := newWorker(k, pod)
	env, err := w.environment(pod, &pod.Spec.Containers[0], &image{Env: []string{"FROM_IMAGE=1"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"WORD": "hello", "KEY": "k", "S_other": "x", "NAME": "cart", "APP": "cart", "NODE": "198.18.0.1", "CPUS": "64",
		"ALL": "hello-k-$(UNKNOWN)-$(WORD)", "FROM_IMAGE": "1", "KUBERNETES_SERVICE_HOST": "198.19.0.1", "DATA_BASE_SERVICE_PORT": "5432"} {
		if env[name] != want {
			t.Errorf("%s=%q, want %q", name, env[name], want)
		}
	}
	if _, ok := env["ABSENT"]; ok {
		t.Error("an optional key that is not there makes a variable")
	}
	no := false
	pod.Spec.EnableServiceLinks = &no
	if env, err := w.environment(pod, &pod.Spec.Containers[0], &image{}); err != nil || env["DATA_BASE_SERVICE_PORT"] != "" {
		t.Errorf("service links are off: %v, %v", env, err)
	}
}

func TestMissingSourcesOfVariablesAreNamed(t *testing.T) {
	k := newTestKubelet(t, &v1.ConfigMap{ObjectMeta: meta("settings")})
	for object, source := range map[string]v1.EnvVarSource{
		`secret "none" not found`:        {SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "none"}, Key: "x"}},
		"key word in configmap settings": {ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "settings"}, Key: "word"}},
	} {
		pod := testPod(func(p *v1.Pod) { p.Spec.Containers[0].Env = []v1.EnvVar{from("WORD", source)} })
		_, err := newWorker(k, pod).environment(pod, &pod.Spec.Containers[0], &image{})
		if err == nil || !strings.Contains(err.Error(), object) || !strings.Contains(err.Error(), "WORD") {
			t.Errorf("%v; want %s", err, object)
		}
	}
}

func TestArgumentsFollowTheImagesOrThePodsCommand(t *testing.T) {
	img := &image{Cmd: []string{"server", "--a"}}
	for want, c := range map[string]v1.Container{
		"server --a":      {},
		"server --a x":    {Args: []string{"x"}},
		"other":           {Command: []string{"other"}},
		"other $(HOME) x": {Command: []string{"other", "$(HOME)"}, Args: []string{"x"}},
	} {
		if got := strings.Join(command(&c, img), " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := expandAll([]string{"--home=$(HOME)"}, environ{"HOME": "/root"})[0]; got != "--home=/root" {
		t.Error(got)
	}
}
