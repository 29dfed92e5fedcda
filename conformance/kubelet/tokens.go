package main

import (
	"context"
	"fmt"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumeutil "k8s.io/kubernetes/pkg/volume/util"
)

// token is a ServiceAccount token of a pod, until it is time for another.
type token struct {
	value string
	renew time.Time
}

// renewAt gives when a token is to be replaced: after 80 % of its life, or a day if that is earlier.
func renewAt(begin, end time.Time) time.Time {
	return begin.Add(min(end.Sub(begin)*8/10, 24*time.Hour))
}

// addToken adds a token bound to the pod, for the audience it names.
func (w *worker) addToken(out files, pod *v1.Pod, p *v1.ServiceAccountTokenProjection, mode int32) error {
	seconds := int64(3600)
	if p.ExpirationSeconds != nil {
		seconds = *p.ExpirationSeconds
	}
	key := fmt.Sprintf("%s %d", p.Audience, seconds)
	w.mu.Lock()
	t, ok := w.tokens[key]
	w.mu.Unlock()
	if !ok || time.Now().After(t.renew) {
		fresh, err := w.requestToken(pod, p.Audience, seconds)
		switch {
		case err == nil:
			t = fresh
		case !ok:
			return err
		default: // the old one is good for some time: try again soon
			t.renew = time.Now().Add(10 * time.Second)
		}
		w.mu.Lock()
		w.tokens[key] = t
		w.mu.Unlock()
	}
	file := volumeutil.FileProjection{Data: []byte(t.value), Mode: mode}
	if user := commonUser(pod); user != nil || fsGroup(pod) >= 0 {
		file.Mode, file.FsUser = 0o600, user
	}
	out[p.Path] = file
	return nil
}

func (w *worker) requestToken(pod *v1.Pod, audience string, seconds int64) (token, error) {
	req := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{ExpirationSeconds: &seconds,
		BoundObjectRef: &authv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}}}
	if audience != "" {
		req.Spec.Audiences = []string{audience}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	began := time.Now()
	got, err := w.k.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, req, metav1.CreateOptions{})
	if err != nil {
		return token{}, err
	}
	return token{value: got.Status.Token, renew: renewAt(began, got.Status.ExpirationTimestamp.Time)}, nil
}

// tokenTimer fires when the next token is to be replaced; nil, which never fires, if there is none.
func (w *worker) tokenTimer() <-chan time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	var next time.Time
	for _, t := range w.tokens {
		if next.IsZero() || t.renew.Before(next) {
			next = t.renew
		}
	}
	if next.IsZero() {
		return nil
	}
	return time.After(max(time.Until(next), time.Second))
}
