//! What lets a namespace opt in to a waypoint: its GatewayClass, and the admission policies that Kubernetes 1.36 evaluates
//! by itself.

use serde_json::{Value, json};

use crate::CONTROLLER_NAME;
use crate::translate::{CAPTURED, FAILURE_MODE, KUBERNETES, MANAGED_BY, OWN_MANAGER, WAYPOINT_CLASS};

/// Name of what makes EndpointSlices step aside.
const STEERING: &str = "fairway-capture";
/// Name of what keeps others from doing so.
const FENCE: &str = "fairway-capture-fence";
/// Who may lead clients of Services elsewhere: a right on a resource that does not exist but in roles.
pub(crate) const RIGHT: (&str, &str, &str) = ("fairway.dev", "captures", "manage");

/// Everything, in the order in which it is to be applied.
pub(super) fn objects() -> Vec<Value> {
    vec![class(), steering(), binding("MutatingAdmissionPolicyBinding", STEERING), fence(), fence_binding()]
}

pub(super) fn class() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": { "name": WAYPOINT_CLASS },
        "spec": { "controllerName": CONTROLLER_NAME, "description": "Fairway between the Services of a namespace" },
    })
}

/// Name of what lets all Services go.
const RELEASE: &str = "fairway-release";

/// What Helm runs before it removes Fairway: the controller lets all Services go, or nothing is removed. `pod`: as the
/// controller's, which `image` is of.
pub(super) fn before_removal(namespace: &str, image: &str, pod: &Value) -> Vec<Value> {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let in_namespace = |weight: &str| {
        let mut metadata = hook(weight);
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("namespace".into(), namespace.into());
        }
        metadata
    };
    let rules = json!([
        { "apiGroups": [""], "resources": ["services"], "verbs": ["list"] },
        { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"] },
        { "apiGroups": ["gateway.networking.k8s.io"], "resources": ["gateways"], "verbs": ["list"] },
        {
            "apiGroups": ["gateway.networking.k8s.io"],
            "resources": ["gatewayclasses"],
            "resourceNames": [WAYPOINT_CLASS],
            "verbs": ["delete"],
        },
    ]);
    let container = json!({
        "name": "release",
        "image": image,
        "args": ["waypoint", "release", "--all", "--wait=4m"],
        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "256Mi" } },
        "securityContext": pod.pointer("/containers/0/securityContext"),
    });
    let spec = json!({
        "serviceAccountName": RELEASE,
        "restartPolicy": "Never",
        "securityContext": pod.get("securityContext"),
        "containers": [container],
    });
    vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": in_namespace("0") }),
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": hook("0"), "rules": rules,
        }),
        json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "ClusterRoleBinding",
            "metadata": hook("0"),
            "roleRef": { "apiGroup": GROUP, "kind": "ClusterRole", "name": RELEASE },
            "subjects": [{ "kind": "ServiceAccount", "name": RELEASE, "namespace": namespace }],
        }),
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": in_namespace("1"),
            "spec": {
                "backoffLimit": 1,
                "activeDeadlineSeconds": 290,
                "template": { "metadata": { "labels": { "app.kubernetes.io/name": RELEASE } }, "spec": spec },
            },
        }),
    ]
}

/// What is there for the time of the removal only; the greater weight comes later.
fn hook(weight: &str) -> Value {
    json!({
        "name": RELEASE,
        "labels": super::labels(),
        "annotations": {
            "helm.sh/hook": "pre-delete",
            "helm.sh/hook-weight": weight,
            // A failed one stays to be looked at, until the next try.
            "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
        },
    })
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "labels": super::labels() })
}

fn label(object: &str, label: &str) -> String {
    format!("{object}.metadata.?labels[?'{label}'].orValue('')")
}

/// While a Service is captured, the EndpointSlices that Kubernetes writes for it show no endpoint that a client would
/// select beside the waypoint. In failure mode `open` those that would be selected without it stay serving and terminating,
/// which is used when nothing is ready (KEP-1669).
///
/// By a condition and not by an objectSelector: that matches the old object too, and a Service that is let go would stay
/// as it is.
fn steering() -> Value {
    let is_captured = format!(
        "'{CAPTURED}' in object.metadata.?labels.orValue({{}}) && {} == '{KUBERNETES}'",
        label("object", MANAGED_BY)
    );
    let is_open = format!("{} == 'open'", label("object", FAILURE_MODE));
    // Kubernetes writes `endpoints: null` where there are none.
    let endpoints = "has(object.endpoints) && dyn(object.endpoints) != null ? object.endpoints : []";
    let is_ready = |endpoint: &str| format!("{endpoint}.?conditions.?ready.orValue(false)");
    let is_ending = "e.?conditions.?serving.orValue(false) && e.?conditions.?terminating.orValue(false)";
    let selected =
        format!("variables.endpoints.map(e, {} || (!variables.anyReady && {is_ending}))", is_ready("e"));
    let patch = "lists.range(size(variables.endpoints)).map(i, JSONPatch{\
        op: 'add', \
        path: '/endpoints/' + string(i) + '/conditions', \
        value: Object.endpoints.conditions{\
            ready: false, \
            serving: variables.isOpen && variables.selected[i], \
            terminating: variables.isOpen}})";
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": metadata(STEERING),
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": { "resourceRules": [rule("discovery.k8s.io", "endpointslices")] },
            "matchConditions": [{ "name": "captured", "expression": is_captured }],
            "variables": [
                { "name": "isOpen", "expression": is_open },
                { "name": "endpoints", "expression": endpoints },
                { "name": "anyReady", "expression": format!("variables.endpoints.exists(e, {})", is_ready("e")) },
                { "name": "selected", "expression": selected },
            ],
            "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": patch } }],
        },
    })
}

/// Who may edit a Service must not be able to take it from under its policies unseen, nor to lead its clients anywhere.
fn fence() -> Value {
    let now = label("object", CAPTURED);
    let before = format!("(oldObject == null ? '' : {})", label("oldObject", CAPTURED));
    let concerns = format!(
        "request.resource.resource == 'services' ? {now} != {before} : {} == '{OWN_MANAGER}'",
        label("object", MANAGED_BY)
    );
    let (group, resource, verb) = RIGHT;
    let may = format!(
        "authorizer.group('{group}').resource('{resource}').namespace(request.namespace).check('{verb}').allowed()"
    );
    let message = format!(
        "label {CAPTURED} and EndpointSlices of {OWN_MANAGER} are the controller's: use label fairway.dev/use-waypoint, or \
         ask for the right to {verb} {resource}.{group}"
    );
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata(FENCE),
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [rule("", "services"), rule("discovery.k8s.io", "endpointslices")],
            },
            "matchConditions": [{ "name": "concerns-capture", "expression": concerns }],
            "validations": [{ "expression": may, "message": message, "reason": "Forbidden" }],
        },
    })
}

fn rule(group: &str, resource: &str) -> Value {
    json!({
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": [resource],
    })
}

fn binding(kind: &str, policy: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": metadata(policy),
        "spec": { "policyName": policy },
    })
}

fn fence_binding() -> Value {
    let mut binding = binding("ValidatingAdmissionPolicyBinding", FENCE);
    if let Some(spec) = binding.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("validationActions".into(), json!(["Deny"]));
    }
    binding
}
