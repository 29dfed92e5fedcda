package cluster

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Controller writes the entries that the checks read.
const Controller = "fairway.dev/controller"

// Condition is one of an object's conditions.
type Condition struct {
	Type, Status, Reason, Message string
	IsCurrent                     bool // of the object's present generation
}

func (c Condition) String() string {
	if c.Type == "" {
		return "nothing"
	}
	stale := ""
	if !c.IsCurrent {
		stale = ", of an older generation"
	}
	return fmt.Sprintf("%s=%s, %s%s: %s", c.Type, c.Status, c.Reason, stale, c.Message)
}

// Get gives an object.
func (c *Cluster) Get(ctx context.Context, kind, namespace, name string) (*unstructured.Unstructured, error) {
	return c.Of(kind, namespace).Get(ctx, name, metav1.GetOptions{})
}

// Conditions gives what Fairway says of an object: of the object itself, of its listener `section`, or, for routes and
// policies, of its first parent or ancestor (of that section, if one is named).
func Conditions(o *unstructured.Unstructured, section string) []Condition {
	status, _, _ := unstructured.NestedMap(o.Object, "status")
	var lists []any
	switch o.GetKind() {
	case "HTTPRoute", "GRPCRoute":
		lists = entries(status, "parents", "parentRef", section)
	case "BackendTLSPolicy", "ClientTrafficPolicy", "SecurityPolicy":
		lists = entries(status, "ancestors", "ancestorRef", section)
	default:
		lists = own(status, section)
	}
	var all []Condition
	for _, one := range lists {
		fields, _ := one.(map[string]any)
		text := func(name string) string { s, _ := fields[name].(string); return s }
		observed, _ := fields["observedGeneration"].(int64)
		all = append(all, Condition{text("type"), text("status"), text("reason"), text("message"), observed == o.GetGeneration()})
	}
	return all
}

// own gives the conditions of the object, or of one of its listeners.
func own(status map[string]any, section string) []any {
	if section == "" {
		list, _ := status["conditions"].([]any)
		return list
	}
	listeners, _ := status["listeners"].([]any)
	for _, one := range listeners {
		listener, _ := one.(map[string]any)
		if listener["name"] == section {
			list, _ := listener["conditions"].([]any)
			return list
		}
	}
	return nil
}

// entries gives the conditions of the first entry of ours.
func entries(status map[string]any, list, ref, section string) []any {
	all, _ := status[list].([]any)
	for _, one := range all {
		entry, _ := one.(map[string]any)
		to, _ := entry[ref].(map[string]any)
		if entry["controllerName"] == Controller && (section == "" || to["sectionName"] == section) {
			list, _ := entry["conditions"].([]any)
			return list
		}
	}
	return nil
}

// Find gives the condition of a type.
func Find(all []Condition, kind string) Condition {
	for _, one := range all {
		if one.Type == kind {
			return one
		}
	}
	return Condition{}
}

// AttachedRoutes gives what a Gateway says of its listener, and -1 when it says nothing.
func AttachedRoutes(gateway *unstructured.Unstructured, section string) int64 {
	listeners, _, _ := unstructured.NestedSlice(gateway.Object, "status", "listeners")
	for _, one := range listeners {
		listener, _ := one.(map[string]any)
		if listener["name"] == section {
			count, _ := listener["attachedRoutes"].(int64)
			return count
		}
	}
	return -1
}
