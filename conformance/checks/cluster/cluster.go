// Package cluster is what the checks do to the testbed's cluster: objects, their status, and the processes of pods.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// Cluster is the testbed that is up.
type Cluster struct {
	dynamic.Interface
	mapper  meta.RESTMapper
	command string // conformance/testbed
	state   string // $TESTBED_STATE
}

// Repository is where this project lies.
func (c *Cluster) Repository() string { return filepath.Dir(filepath.Dir(c.command)) }

// Open takes the cluster of KUBECONFIG, the script of TESTBED and the directory of TESTBED_STATE, as `conformance/testbed`
// sets them.
func Open() (*Cluster, error) {
	c := &Cluster{command: os.Getenv("TESTBED"), state: os.Getenv("TESTBED_STATE")}
	if c.command == "" || c.state == "" {
		return nil, errors.New("TESTBED and TESTBED_STATE are not set: start the checks by conformance/testbed")
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // what is measured is Fairway's pace, not the client's
	if c.Interface, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kinds))
	return c, nil
}

// kinds are those that the checks write, with their resource and whether they are in a namespace.
var kinds = map[string]schema.GroupVersionResource{
	"BackendTLSPolicy":         {Group: gateway, Version: "v1", Resource: "backendtlspolicies"},
	"ConfigMap":                {Version: "v1", Resource: "configmaps"},
	"CustomResourceDefinition": {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	"Deployment":               {Group: "apps", Version: "v1", Resource: "deployments"},
	"EndpointSlice":            {Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
	"ClientTrafficPolicy":      {Group: "fairway.dev", Version: "v1alpha1", Resource: "clienttrafficpolicies"},
	"FairwayProxy":             {Group: "fairway.dev", Version: "v1alpha1", Resource: "fairwayproxies"},
	"Gateway":                  {Group: gateway, Version: "v1", Resource: "gateways"},
	"GRPCRoute":                {Group: gateway, Version: "v1", Resource: "grpcroutes"},
	"HTTPRoute":                {Group: gateway, Version: "v1", Resource: "httproutes"},
	"Lease":                    {Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
	"ListenerSet":              {Group: gateway, Version: "v1", Resource: "listenersets"},
	"Namespace":                {Version: "v1", Resource: "namespaces"},
	"Pod":                      {Version: "v1", Resource: "pods"},
	"Rollout":                  {Group: "fairway.dev", Version: "v1alpha1", Resource: "rollouts"},
	"SecurityPolicy":           {Group: "fairway.dev", Version: "v1alpha1", Resource: "securitypolicies"},
	"ReferenceGrant":           {Group: gateway, Version: "v1", Resource: "referencegrants"},
	"Secret":                   {Version: "v1", Resource: "secrets"},
	"Service":                  {Version: "v1", Resource: "services"},
}

const gateway = "gateway.networking.k8s.io"

// Of gives the objects of a kind; namespace "" for kinds without one.
func (c *Cluster) Of(kind, namespace string) dynamic.ResourceInterface {
	resource, known := kinds[kind]
	if !known {
		panic("cluster: the checks do not write objects of kind " + kind)
	}
	if namespace == "" {
		return c.Resource(resource)
	}
	return c.Resource(resource).Namespace(namespace)
}

func (c *Cluster) like(o *unstructured.Unstructured) dynamic.ResourceInterface {
	return c.Of(o.GetKind(), o.GetNamespace())
}

// Apply writes objects, whatever was there.
func (c *Cluster) Apply(ctx context.Context, objects ...*unstructured.Unstructured) error {
	for _, o := range objects {
		_, err := c.like(o).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "checks", Force: true})
		if err != nil {
			return fmt.Errorf("apply %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
		}
	}
	return nil
}

// Try asks the API server whether it takes an object, as it takes those that people apply, and keeps nothing of it.
func (c *Cluster) Try(ctx context.Context, o *unstructured.Unstructured) error {
	kind := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	var objects dynamic.ResourceInterface = c.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		o.SetNamespace("default") // which is there
		objects = c.Resource(mapping.Resource).Namespace("default")
	}
	text, err := o.MarshalJSON()
	if err != nil {
		return err
	}
	force := true
	_, err = objects.Patch(ctx, o.GetName(), types.ApplyPatchType, text, metav1.PatchOptions{
		FieldManager: "checks", Force: &force, DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict,
	})
	return err
}

// Create makes objects that are not there yet.
func (c *Cluster) Create(ctx context.Context, objects ...*unstructured.Unstructured) error {
	for _, o := range objects {
		if _, err := c.like(o).Create(ctx, o, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
		}
	}
	return nil
}

// Patch merges JSON into an object.
func (c *Cluster) Patch(ctx context.Context, kind, namespace, name, patch string) error {
	_, err := c.Of(kind, namespace).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("patch %s %s/%s: %w", kind, namespace, name, err)
	}
	return nil
}

// Delete removes an object, or finds it gone.
func (c *Cluster) Delete(ctx context.Context, kind, namespace, name string) error {
	err := c.Of(kind, namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s %s/%s: %w", kind, namespace, name, err)
	}
	return nil
}

// Fresh gives an empty namespace with these labels, whatever was in one of that name.
func (c *Cluster) Fresh(ctx context.Context, name string, labels map[string]string) error {
	if err := c.Gone(ctx, name); err != nil {
		return err
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	o.SetName(name)
	o.SetLabels(labels)
	return c.Create(ctx, o)
}

// Gone deletes a namespace and waits for its end.
func (c *Cluster) Gone(ctx context.Context, name string) error {
	if err := c.Delete(ctx, "Namespace", "", name); err != nil {
		return err
	}
	// The API server deletes a collection one by one: thousands of routes take minutes on a busy machine.
	return Until(ctx, 10*time.Minute, "the end of namespace "+name, func() string {
		_, err := c.Of("Namespace", "").Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprint("still there ", err)
	})
}

// Testbed runs a command of conformance/testbed, such as kill.
func (c *Cluster) Testbed(ctx context.Context, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, c.command, arguments...)
	out, err := command.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("testbed %s: %w: %s", strings.Join(arguments, " "), err, out)
	}
	return string(out), nil
}

// Until asks again and again until nothing is missing, and says what was when the time is over.
func Until(ctx context.Context, limit time.Duration, what string, missing func() string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		left := missing()
		if left == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %s: %s", what, limit, left)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
