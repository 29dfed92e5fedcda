//! Writes to the API server: server-side apply under our own name.

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Error};
use serde_json::Value;

/// Whose fields they are.
pub(crate) const FIELD_MANAGER: &str = crate::CONTROLLER_NAME;

/// Plurals of the kinds we write.
const PLURALS: &[(&str, &str)] = &[
    ("BackendTLSPolicy", "backendtlspolicies"),
    ("BackendTrafficPolicy", "backendtrafficpolicies"),
    ("ClientTrafficPolicy", "clienttrafficpolicies"),
    ("ConfigMap", "configmaps"),
    ("Deployment", "deployments"),
    ("GatewayClass", "gatewayclasses"),
    ("HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    ("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
    ("NetworkPolicy", "networkpolicies"),
    ("PodDisruptionBudget", "poddisruptionbudgets"),
    ("RoleBinding", "rolebindings"),
    ("Secret", "secrets"),
    ("SecurityPolicy", "securitypolicies"),
    ("Service", "services"),
    ("ServiceAccount", "serviceaccounts"),
    ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    ("XMesh", "xmeshes"),
];

/// The resource of a kind.
pub(crate) fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    match PLURALS.iter().find(|(known, _)| *known == kind) {
        Some((_, plural)) => ApiResource::from_gvk_with_plural(&gvk, plural),
        None => ApiResource::from_gvk_with_plural(&gvk, &format!("{}s", kind.to_ascii_lowercase())),
    }
}

/// The API of a kind in a namespace, or of the cluster when that is empty.
pub(crate) fn api(client: &Client, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
    if namespace.is_empty() {
        Api::all_with(client.clone(), resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, resource)
    }
}

/// Applies an object whole. Fields that others set stay theirs; where both set one, ours holds.
pub(crate) async fn apply(client: &Client, object: &Value) -> Result<DynamicObject, Error> {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let resource = resource(text("/apiVersion"), text("/kind"));
    let api = api(client, &resource, text("/metadata/namespace"));
    api.patch(text("/metadata/name"), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object)).await
}

/// Deletes an object; one that is gone is no error.
pub(crate) async fn delete(
    client: &Client,
    object: (&str, &str),
    namespace: &str,
    name: &str,
) -> Result<(), Error> {
    let resource = resource(object.0, object.1);
    match api(client, &resource, namespace).delete(name, &DeleteParams::background()).await {
        Err(Error::Api(status)) if status.code == 404 => Ok(()),
        done => done.map(drop),
    }
}

/// What the API server says, without the noise around it.
pub(crate) fn message(error: &Error) -> String {
    if let Error::Api(status) = error {
        return status.message.clone();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        source = error.source();
    }
    text
}
