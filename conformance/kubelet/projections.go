package main

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	volumeutil "k8s.io/kubernetes/pkg/volume/util"
)

const defaultMode int32 = 0o644

// content reads what a projected volume shows, from what the informers know.
func (w *worker) content(pod *v1.Pod, v *v1.Volume) (files, error) {
	out := files{}
	switch {
	case v.Secret != nil:
		s := v.Secret
		return out, w.addSecret(out, pod.Namespace, s.SecretName, s.Items, s.Optional, mode(s.DefaultMode))
	case v.ConfigMap != nil:
		c := v.ConfigMap
		return out, w.addConfigMap(out, pod.Namespace, c.Name, c.Items, c.Optional, mode(c.DefaultMode))
	case v.DownwardAPI != nil:
		return out, w.addFields(out, pod, v.DownwardAPI.Items, mode(v.DownwardAPI.DefaultMode))
	}
	m := mode(v.Projected.DefaultMode)
	for _, s := range v.Projected.Sources {
		var err error
		switch {
		case s.Secret != nil:
			err = w.addSecret(out, pod.Namespace, s.Secret.Name, s.Secret.Items, s.Secret.Optional, m)
		case s.ConfigMap != nil:
			err = w.addConfigMap(out, pod.Namespace, s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional, m)
		case s.DownwardAPI != nil:
			err = w.addFields(out, pod, s.DownwardAPI.Items, m)
		case s.ServiceAccountToken != nil:
			err = w.addToken(out, pod, s.ServiceAccountToken, m)
		default:
			err = fmt.Errorf("a source that the testbed does not know")
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func mode(m *int32) int32 {
	if m == nil {
		return defaultMode
	}
	return *m
}

func (w *worker) addSecret(out files, namespace, name string, items []v1.KeyToPath, optional *bool, mode int32) error {
	secret, err := w.k.secrets.Secrets(namespace).Get(name)
	if isOptional(err, optional) {
		return nil
	}
	if err != nil {
		return err
	}
	return out.add(secret.Data, items, optional, mode, "secret "+name)
}

func (w *worker) addConfigMap(out files, namespace, name string, items []v1.KeyToPath, optional *bool, mode int32) error {
	cm, err := w.k.configMaps.ConfigMaps(namespace).Get(name)
	if isOptional(err, optional) {
		return nil
	}
	if err != nil {
		return err
	}
	data := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for k, v := range cm.Data {
		data[k] = []byte(v)
	}
	for k, v := range cm.BinaryData {
		data[k] = v
	}
	return out.add(data, items, optional, mode, "configmap "+name)
}

// add takes all keys, or the ones that items name, to the paths they name.
func (f files) add(data map[string][]byte, items []v1.KeyToPath, optional *bool, mode int32, object string) error {
	if len(items) == 0 {
		for k, v := range data {
			f[k] = volumeutil.FileProjection{Data: v, Mode: mode}
		}
		return nil
	}
	for _, i := range items {
		v, ok := data[i.Key]
		if !ok {
			if optional != nil && *optional {
				continue
			}
			return fmt.Errorf("%s references non-existent key: %s", object, i.Key)
		}
		m := mode
		if i.Mode != nil {
			m = *i.Mode
		}
		f[i.Path] = volumeutil.FileProjection{Data: v, Mode: m}
	}
	return nil
}

func (w *worker) addFields(out files, pod *v1.Pod, items []v1.DownwardAPIVolumeFile, mode int32) error {
	for _, i := range items {
		var value string
		var err error
		if i.FieldRef != nil {
			value, err = w.field(pod, i.FieldRef.FieldPath)
		} else {
			value, err = resourceField(pod, &pod.Spec.Containers[0], i.ResourceFieldRef)
		}
		if err != nil {
			return err
		}
		m := mode
		if i.Mode != nil {
			m = *i.Mode
		}
		out[i.Path] = volumeutil.FileProjection{Data: []byte(value), Mode: m}
	}
	return nil
}
