package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"fairway.dev/conformance/checks/cluster"
)

// Callers of ratings, which lets in the ServiceAccount reviews, and only by its pods' own tokens on the path /sure.
const identityObjects = `
apiVersion: v1
kind: Namespace
metadata: { name: books, labels: { fairway.dev/use-waypoint: auto } }
---
apiVersion: fairway.dev/v1alpha1
kind: SecurityPolicy
metadata: { name: ratings, namespace: books }
spec:
  targetRefs: [{ group: "", kind: Service, name: ratings }]
  jwt:
    requirement: Optional
    providers:
    - name: cluster
      type: ServiceAccount
      issuer: %s
      audiences: [fairway.dev/books]
      stripToken: true
      localJWKS: { valueRef: { kind: ConfigMap, name: cluster-keys }, key: jwks }
  authorization:
    rules:
    - name: by-address
      action: Allow
      operation: { notPaths: [{ type: PathPrefix, value: /sure }] }
      principal: { serviceAccounts: [{ namespace: books, name: reviews }] }
    - name: by-token
      action: Allow
      operation: { paths: [{ type: PathPrefix, value: /sure }] }
      principal: { serviceAccounts: [{ namespace: books, name: reviews }], minAssurance: Token }
---
apiVersion: v1
kind: Pod
metadata: { name: on-node, namespace: books }
spec:
  serviceAccountName: reviews
  hostNetwork: true
  containers:
    - name: demo
      image: ghcr.io/fairway/fairway:0.1.0
      args: [demo, serve, --listen, "198.18.0.1:18080"]
`

// caller is a request, and what comes of it.
type caller struct {
	what, pod string
	flags     []string
	path      string
	want      string
	host      string // ratings, if empty
}

func identity(ctx context.Context, b *bench) error {
	issuer, err := identityBegin(ctx, b)
	if err != nil {
		return err
	}
	own, err := identityToken(ctx, b, "reviews-v2")
	if err != nil {
		return err
	}
	unbound, err := b.Testbed(ctx, "kubectl", "-n", bookNamespace, "create", "token", "reviews", "--audience=fairway.dev/books")
	if err != nil {
		return err
	}
	elsewhere, err := b.Testbed(ctx, "kubectl", "-n", bookNamespace, "create", "token", "reviews", "--audience="+issuer)
	if err != nil {
		return err
	}
	const yes = "200 books/ratings"
	callers := []caller{
		{"a pod of the ServiceAccount", "deploy/reviews-v2", nil, "/", yes, ""},
		{"a pod of another one", "deploy/front", nil, "/", "403 authz_default", ""},
		{"one that says to be another", "deploy/front", []string{
			"-H", "x-forwarded-for: 198.18.0.9", "-H", "forwarded: for=198.18.0.9",
			"-H", "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/books/sa/reviews", "-H", "x-real-ip: 198.18.0.9",
		}, "/", "403 authz_default", ""},
		{"a pod on the network of its node, though of that ServiceAccount", "on-node", nil, "/", "403 authz_default", ""},
		{"its address alone, where that is not enough", "deploy/reviews-v2", nil, "/sure", "403 authz_default", ""},
		{"a pod with its own token", "deploy/reviews-v2", bearer(own), "/sure", yes, ""},
		{"another pod with that token", "deploy/front", bearer(own), "/sure", "401 jwt_pod", ""},
		{"another pod of the same ServiceAccount with that token", "deploy/reviews-v1", bearer(own), "/sure", "401 jwt_pod", ""},
		{"its owner after that", "deploy/reviews-v2", bearer(own), "/sure", yes, ""},
		{"a pod with a token that is nobody's in particular", "deploy/front", bearer(unbound), "/sure", yes, ""},
		{"a token for somebody else", "deploy/reviews-v2", bearer(elsewhere), "/sure", "401 jwt_audience", ""},
		{"a token with another signature", "deploy/reviews-v2", bearer(own[:len(own)-8] + "AAAAAAAA"), "/sure", "401 jwt_invalid", ""},
	}
	for _, one := range callers {
		one.try(ctx, b)
	}
	return identityPassesOn(ctx, b)
}

// try sends three requests, and judges the answers.
func (c caller) try(ctx context.Context, b *bench) {
	out := ask(ctx, b, c)
	problem := ""
	if read(out)[c.want] != 3 {
		problem = ", but it says " + strings.TrimSpace(out)
	}
	b.report.require(problem == "", "%s: %s%s", c.what, c.want, problem)
}

func bearer(token string) []string {
	return []string{"-H", "authorization: Bearer " + strings.TrimSpace(token)}
}

func ask(ctx context.Context, b *bench, one caller) string {
	arguments := append([]string{"kubectl", "-n", bookNamespace, "exec", one.pod, "--", "fairway", "demo", "ask", "http://" + cmp.Or(one.host, "ratings") + one.path, "-n", "3"}, one.flags...)
	out, err := b.Testbed(ctx, arguments...)
	if err != nil {
		return err.Error()
	}
	return out
}

// identityBegin has ratings captured, with its policy in force; it gives the cluster's issuer of tokens.
func identityBegin(ctx context.Context, b *bench) (string, error) {
	if err := b.Gone(ctx, bookNamespace); err != nil {
		return "", err
	}
	out, err := b.Testbed(ctx, "run", "bash", "-euo", "pipefail", "-c", "cd '"+b.Repository()+"'\n"+`
kubectl apply -f examples/books/books.yaml >&2
kubectl -n books create configmap cluster-keys --from-literal=jwks="$(kubectl get --raw /openid/v1/jwks)" >&2
kubectl get --raw /.well-known/openid-configuration`)
	if err != nil {
		return "", err
	}
	_, issuer, found := strings.Cut(out, `"issuer":"`)
	issuer, _, _ = strings.Cut(issuer, `"`)
	if !found {
		return "", fmt.Errorf("no issuer in %s", out)
	}
	if err := b.Apply(ctx, cluster.Parsef(identityObjects, issuer)...); err != nil {
		return "", err
	}
	_, err = b.Testbed(ctx, "run", "bash", "-euo", "pipefail", "-c", `
kubectl -n books wait --for=condition=Available deployment --all --timeout=120s
kubectl -n books wait --for=condition=Ready pod/on-node --timeout=60s
kubectl -n books wait --for=condition=fairway.dev/WaypointBound service/ratings --timeout=60s`)
	if err != nil {
		return "", err
	}
	// The policy is in force, and nobody's connection leads past the waypoint.
	err = cluster.Until(ctx, 30*time.Second, "the policy", func() string {
		if out := ask(ctx, b, caller{pod: "deploy/front", path: "/"}); read(out)["403 authz_default"] != 3 {
			return out
		}
		return ""
	})
	return issuer, err
}

// identityToken gives a token that Kubernetes has given to the pod of a Deployment.
func identityToken(ctx context.Context, b *bench, version string) (string, error) {
	pods, err := b.Pods(ctx, bookNamespace, "app=reviews,version="+strings.TrimPrefix(version, "reviews-"))
	if err != nil || len(pods) != 1 {
		return "", fmt.Errorf("%d pods of %s: %w", len(pods), version, err)
	}
	token, err := b.Testbed(ctx, "kubectl", "-n", bookNamespace, "create", "token", "reviews", "--audience=fairway.dev/books",
		"--bound-object-kind=Pod", "--bound-object-name="+pods[0].Name, "--bound-object-uid="+string(pods[0].UID))
	return strings.TrimSpace(token), err
}

// identityPassesOn: a caller of a pod that is gone is nobody's, and its token is worth nothing to the one that has its name next.
func identityPassesOn(ctx context.Context, b *bench) error {
	token, err := identityToken(ctx, b, "reviews-v2")
	if err != nil {
		return err
	}
	if _, err := b.Testbed(ctx, "run", "bash", "-euo", "pipefail", "-c", `
kubectl -n books rollout restart deployment/reviews-v2
kubectl -n books rollout status deployment/reviews-v2 --timeout=120s`); err != nil {
		return err
	}
	err = cluster.Until(ctx, time.Minute, "the next pod", func() string {
		pods, err := b.Pods(ctx, bookNamespace, "app=reviews,version=v2")
		if err != nil || len(pods) != 1 {
			return fmt.Sprintf("%d pods: %v", len(pods), err)
		}
		return ""
	})
	if err != nil {
		return err
	}
	caller{"the next pod with its predecessor's token", "deploy/reviews-v2", bearer(token), "/sure", "401 jwt_pod", ""}.try(ctx, b)
	caller{"the next pod without one", "deploy/reviews-v2", nil, "/", "200 books/ratings", ""}.try(ctx, b)
	return nil
}
