//! What kinds of policy have in common that are attached to Gateways, routes, Services and whatever is around them: targets,
//! levels, status.
//!
//! A spec is a set of parts ([`Parts`]) beside the targets, at the top or as `defaults`, and another one as `overrides`. They
//! are kept as JSON until they are judged, so that what cannot be followed is refused by name. What nobody knows is kept
//! by the API server, too: a part that it dropped would be a policy that does not do what it says.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use policies::Parts;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::client_traffic_policy::{AncestorRef, without_formats};

/// A spec of any kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec<'a> {
    pub(crate) target_ref: Option<&'a TargetRef>,
    pub(crate) target_refs: &'a [TargetRef],
    pub(crate) defaults: Option<&'a Map<String, Value>>,
    pub(crate) overrides: Option<&'a Map<String, Value>>,
    /// The short way to write `defaults`.
    pub(crate) parts: &'a Map<String, Value>,
    /// Fields of Envoy Gateway's kind that do not exist here, each with what to do.
    pub(crate) refused: &'static [(&'static str, &'static str)],
    /// Why it cannot be followed, whatever it says.
    pub(crate) does_not_load: Option<&'a str>,
}

impl<'a> Spec<'a> {
    /// Both ways to write targets.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &'a TargetRef> {
        self.target_ref.into_iter().chain(self.target_refs)
    }
}

/// What a policy is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = check_target)]
pub struct TargetRef {
    /// `gateway.networking.k8s.io`, or empty for Service and Namespace. Default: empty.
    #[serde(default)]
    #[schemars(extend("enum" = ["", "gateway.networking.k8s.io"]))]
    pub group: String,
    /// `Gateway`, `ListenerSet`, `HTTPRoute`, `GRPCRoute`, `Service`, `Namespace`: every route and Service of it, or
    /// `GatewayClass`: every Gateway of it, whatever its namespace, by policies of the controller's namespace only.
    #[schemars(extend("enum" = [
        "GatewayClass", "Gateway", "ListenerSet", "HTTPRoute", "GRPCRoute", "Service", "Namespace",
    ]))]
    pub kind: String,
    /// Its name. A Namespace can only be the policy's own.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// One listener of a Gateway or ListenerSet, or the rules of that name of a route. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// What became of a policy, by Gateway or Service (GEP-713).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttachedPolicyStatus {
    /// The Gateways and Services it acts through.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub ancestors: Vec<AttachedPolicyAncestor>,
}

/// What a policy is to one Gateway or Service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachedPolicyAncestor {
    /// The Gateway or Service; the target itself while requests reach it through none.
    pub ancestor_ref: AncestorRef,
    /// Who says so.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,
    /// `Accepted`, `Enforced`, `Overridden`, `Conflicted`.
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

pub(crate) const KEEP: &str = "x-kubernetes-preserve-unknown-fields";

/// Keeps what nobody knows, and says what goes together.
pub(crate) fn complete<S: Parts>(schema: &mut Schema) {
    schema.insert(KEEP.to_owned(), json!(true));
    for set in ["/properties/defaults", "/properties/overrides"] {
        if let Some(set) = schema.pointer_mut(set).and_then(Value::as_object_mut) {
            set.insert(KEEP.to_owned(), json!(true));
        }
    }
    let parts: Vec<String> =
        S::NAMES.iter().map(|name| format!("has(self.{})", policies::written(name))).collect();
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([
            {
                "rule": "has(self.targetRef) != has(self.targetRefs)",
                "message": "write either targetRef or targetRefs",
            },
            {
                "rule": format!("!has(self.defaults) || !({})", parts.join(" || ")),
                "message": "parts beside targetRefs are defaults: write them there or in defaults",
            },
        ]),
    );
    without_formats(schema);
}

fn check_target(schema: &mut Schema) {
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([
            {
                "rule": "(self.kind in ['Service', 'Namespace']) == (!has(self.group) || self.group == '')",
                "message": "Service and Namespace have no group, the others gateway.networking.k8s.io",
            },
            {
                "rule": "!has(self.sectionName) || !(self.kind in ['GatewayClass', 'Service', 'Namespace'])",
                "message": "GatewayClasses, Services and Namespaces have no sections",
            },
        ]),
    );
}

#[cfg(test)]
pub(crate) mod tests {
    use kube::CustomResourceExt;

    use super::*;

    fn spec_schema<K: CustomResourceExt>() -> Value {
        let crd = json!(K::crd());
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    }

    /// Of the CRD of a kind: it is structural, and no part is dropped or said twice.
    pub(crate) fn check<K: CustomResourceExt, S: Parts>() {
        let schema = spec_schema::<K>();
        crate::client_traffic_policy::check_structure(&schema, "spec", false);
        let rules = schema["x-kubernetes-validations"].to_string();
        for part in S::NAMES.iter().map(|part| policies::written(part)) {
            for at in ["", "/properties/defaults", "/properties/overrides"] {
                assert_eq!(schema.pointer(at).unwrap()[KEEP], true, "{at}");
                assert_eq!(schema.pointer(at).unwrap()["properties"][&part]["type"], "object", "{at} {part}");
            }
            assert!(rules.contains(&format!("has(self.{part})")), "{part}");
        }
    }
}
