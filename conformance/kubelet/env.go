package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/pkg/kubelet/envvars"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// environ is a program's environment.
type environ map[string]string

func (e environ) list() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(e)) {
		out = append(out, name+"="+e[name])
	}
	return out
}

// expand replaces $(NAME), leaving unknown names as they are.
func (e environ) expand(s string) string { return expansion.Expand(s, expansion.MappingFuncFor(e)) }

func expandAll(words []string, env environ) []string {
	out := make([]string, len(words))
	for i, s := range words {
		out[i] = env.expand(s)
	}
	return out
}

// environment gives a container's variables: later ones replace earlier ones and may refer to them.
func (w *worker) environment(pod *v1.Pod, c *v1.Container, img *image) (environ, error) {
	env := environ{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME": hostname(pod), "HOME": "/"}
	for _, e := range img.Env {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	if err := w.serviceVariables(pod, env); err != nil {
		return nil, err
	}
	for _, from := range c.EnvFrom {
		if err := w.environmentFrom(pod.Namespace, from, env); err != nil {
			return nil, err
		}
	}
	for _, e := range c.Env {
		value, err := env.expand(e.Value), error(nil)
		if e.ValueFrom != nil {
			var found bool
			if value, found, err = w.environmentValue(pod, c, e.ValueFrom); err == nil && !found {
				continue
			}
		}
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", e.Name, err)
		}
		env[e.Name] = value
	}
	return env, nil
}

// serviceVariables adds where the API server is and, unless the pod says otherwise, the Services of its namespace: a
// program whose own variables collide with NAME_PORT must find out here and not in production.
func (w *worker) serviceVariables(pod *v1.Pod, env environ) error {
	var services []*v1.Service
	if pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks {
		all, err := w.k.services.Services(pod.Namespace).List(labels.Everything())
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Spec.ClusterIP != v1.ClusterIPNone && s.Spec.ClusterIP != "" {
				services = append(services, s)
			}
		}
	}
	for _, e := range envvars.FromServices(services) {
		env[e.Name] = e.Value
	}
	env["KUBERNETES_SERVICE_HOST"] = w.k.svcHost
	env["KUBERNETES_SERVICE_PORT"] = w.k.svcPort
	env["KUBERNETES_SERVICE_PORT_HTTPS"] = w.k.svcPort
	return nil
}

func (w *worker) environmentFrom(namespace string, from v1.EnvFromSource, env environ) error {
	if r := from.ConfigMapRef; r != nil {
		cm, err := w.k.configMaps.ConfigMaps(namespace).Get(r.Name)
		if isOptional(err, r.Optional) {
			return nil
		}
		if err != nil {
			return err
		}
		for k, v := range cm.Data {
			env[from.Prefix+k] = v
		}
	}
	if r := from.SecretRef; r != nil {
		secret, err := w.k.secrets.Secrets(namespace).Get(r.Name)
		if isOptional(err, r.Optional) {
			return nil
		}
		if err != nil {
			return err
		}
		for k, v := range secret.Data {
			env[from.Prefix+k] = string(v)
		}
	}
	return nil
}

// environmentValue gives what a reference stands for; found is false for an optional one that leads nowhere.
func (w *worker) environmentValue(pod *v1.Pod, c *v1.Container, from *v1.EnvVarSource) (value string, found bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = w.field(pod, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err = resourceField(pod, c, from.ResourceFieldRef)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		cm, err := w.k.configMaps.ConfigMaps(pod.Namespace).Get(r.Name)
		if err == nil {
			value, found = cm.Data[r.Key]
		}
		return keyed(value, found, err, "configmap "+r.Name, r.Key, r.Optional)
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		secret, err := w.k.secrets.Secrets(pod.Namespace).Get(r.Name)
		if err == nil {
			var b []byte
			b, found = secret.Data[r.Key]
			value = string(b)
		}
		return keyed(value, found, err, "secret "+r.Name, r.Key, r.Optional)
	}
	return "", false, fmt.Errorf("a source the testbed does not know")
}

func keyed(value string, found bool, err error, object, key string, optional *bool) (string, bool, error) {
	if found || isOptional(err, optional) {
		return value, found, nil
	}
	if err != nil {
		return "", false, err
	}
	if optional != nil && *optional {
		return "", false, nil
	}
	return "", false, fmt.Errorf("couldn't find key %s in %s", key, object)
}

// isOptional tells whether an error only says that something optional is not there.
func isOptional(err error, optional *bool) bool {
	return errors.IsNotFound(err) && optional != nil && *optional
}

// field gives a field of the pod as the downward API has it.
func (w *worker) field(pod *v1.Pod, path string) (string, error) {
	switch path {
	case "status.podIP", "status.podIPs":
		return w.address(), nil
	case "status.hostIP", "status.hostIPs":
		return w.k.nodeIP.String(), nil
	case "spec.nodeName":
		return w.k.node, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	}
	return fieldpath.ExtractFieldPathAsString(pod, path)
}

// resourceField gives a request or limit; a limit that is not set is the node's capacity.
func resourceField(pod *v1.Pod, c *v1.Container, ref *v1.ResourceFieldSelector) (string, error) {
	if ref.ContainerName != "" {
		for i := range pod.Spec.Containers {
			if pod.Spec.Containers[i].Name == ref.ContainerName {
				c = &pod.Spec.Containers[i]
			}
		}
	}
	c = c.DeepCopy()
	resource.MergeContainerResourceLimits(c, capacity())
	return resource.ExtractContainerResourceValue(ref, c)
}
