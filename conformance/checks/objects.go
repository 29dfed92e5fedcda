package main

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

type objects = []*unstructured.Unstructured

// service gives a Service without selector, with its one endpoint.
func service(namespace, name string, backend *load.Backend) objects {
	return append(cluster.Parsef(`
apiVersion: v1
kind: Service
metadata: { name: %s, namespace: %s }
spec: { ports: [{ name: http, port: 80, targetPort: %d }] }
`, name, namespace, backend.Port), endpoints(namespace, name, backend))
}

// endpoints gives the EndpointSlice of a Service.
func endpoints(namespace, service string, backend *load.Backend) *unstructured.Unstructured {
	return cluster.Parsef(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: %[1]s, namespace: %[2]s, labels: { kubernetes.io/service-name: %[1]s } }
addressType: IPv4
endpoints: [{ addresses: [%[3]s], conditions: { ready: true } }]
ports: [{ name: http, port: %[4]d, protocol: TCP }]
`, service, namespace, backend.Address, backend.Port)[0]
}

// edge gives a Gateway with so many proxies and these listeners, as YAML in one line each.
func edge(namespace string, replicas int, listeners string) objects {
	return cluster.Parsef(`
apiVersion: fairway.dev/v1alpha1
kind: FairwayProxy
metadata: { name: edge, namespace: %[1]s }
spec: { replicas: %[2]d }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: %[1]s }
spec:
  gatewayClassName: fairway
  infrastructure: { parametersRef: { group: fairway.dev, kind: FairwayProxy, name: edge } }
  listeners:%[3]s
`, namespace, replicas, listeners)
}

const (
	plain = `
  - { name: http, port: 80, protocol: HTTP }`
	encrypted = `
  - { name: https, port: 443, protocol: HTTPS, hostname: load.example, tls: { certificateRefs: [{ name: certificate }] } }`
)

// route gives an HTTPRoute of a host to a backend, whose answers bear the number of the edit.
func route(namespace, name, host, backend string, edit int) *unstructured.Unstructured {
	return rules(namespace, name, host, fmt.Sprintf(`
  - backendRefs: [{ name: %s, port: 80 }]
    filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: X-Edit, value: "%d" }] } }]`, backend, edit))
}

// rules gives an HTTPRoute with these rules.
func rules(namespace, name, host, rules string) *unstructured.Unstructured {
	return cluster.Parsef(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: %s, namespace: %s }
spec:
  parentRefs: [{ name: edge }]
  hostnames: [%s]
  rules:%s
`, name, namespace, host, rules)[0]
}
