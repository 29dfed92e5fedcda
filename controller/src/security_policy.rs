//! `SecurityPolicy`: who may send requests. Attached to Gateways, listeners, routes, rules of routes, Services and
//! namespaces.
//!
//! The spec is a [`SecuritySet`] beside the targets, at the top or as `defaults`, and another one as `overrides`. They are
//! kept as JSON until they are judged, so that what cannot be followed is refused by name. What nobody knows is kept by the
//! API server, too: a part that it dropped would be a policy that lets everybody in.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use policies::SecuritySet;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::client_traffic_policy::{AncestorRef, without_formats};

/// Who may send requests.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "SecurityPolicy",
    plural = "securitypolicies",
    namespaced,
    shortname = "fwsp",
    category = "fairway",
    status = "SecurityPolicyStatus",
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Enforced", "type": "string", "jsonPath": ".status.ancestors[*].conditions[?(@.type==\"Enforced\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    derive = "Default",
    derive = "PartialEq",
    doc = "Who may send requests. Attached to Gateways, listeners, routes, rules of routes, Services and namespaces."
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = complete)]
pub struct SecurityPolicySpec {
    /// What the policy is about, of its own namespace. Instead of `targetRefs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<SecurityTargetRef>,
    /// What the policy is about, of its own namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<SecurityTargetRef>,
    /// What holds unless a more specific policy says otherwise. The same parts may stand beside `targetRefs` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<SecuritySet>")]
    pub defaults: Option<Map<String, Value>>,
    /// What holds whatever a more specific policy says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<SecuritySet>")]
    pub overrides: Option<Map<String, Value>>,
    /// A [`SecuritySet`]: the short way to write `defaults`.
    #[serde(flatten)]
    #[schemars(with = "SecuritySet")]
    pub parts: Map<String, Value>,
}

/// What a SecurityPolicy is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = check_target)]
pub struct SecurityTargetRef {
    /// `gateway.networking.k8s.io`, or empty for Service and Namespace. Default: empty.
    #[serde(default)]
    #[schemars(extend("enum" = ["", "gateway.networking.k8s.io"]))]
    pub group: String,
    /// `Gateway`, `ListenerSet`, `HTTPRoute`, `GRPCRoute`, `Service`, or `Namespace`: every route and Service of it.
    #[schemars(extend("enum" = ["Gateway", "ListenerSet", "HTTPRoute", "GRPCRoute", "Service", "Namespace"]))]
    pub kind: String,
    /// Its name. A Namespace can only be the policy's own.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// One listener of a Gateway or ListenerSet, or the rules of that name of a route. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// What became of a SecurityPolicy, by Gateway or Service (GEP-713).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SecurityPolicyStatus {
    /// The Gateways and Services it acts through.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub ancestors: Vec<SecurityPolicyAncestor>,
}

/// What a SecurityPolicy is to one Gateway or Service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityPolicyAncestor {
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

/// Fields of Envoy Gateway's SecurityPolicy that do not exist here, each with what to do.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("mergeType", "policies of all levels are merged, part by part: remove it"),
    ("oidc", "not supported yet: remove it"),
    ("targetSelectors", "name each target in targetRefs"),
];

const KEEP: &str = "x-kubernetes-preserve-unknown-fields";

/// Keeps what nobody knows, and says what goes together.
fn complete(schema: &mut Schema) {
    schema.insert(KEEP.to_owned(), json!(true));
    for set in ["/properties/defaults", "/properties/overrides"] {
        if let Some(set) = schema.pointer_mut(set).and_then(Value::as_object_mut) {
            set.insert(KEEP.to_owned(), json!(true));
        }
    }
    let parts: Vec<String> =
        SecuritySet::NAMES.iter().map(|name| format!("has(self.{})", policies::written(name))).collect();
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
                "rule": "!has(self.sectionName) || !(self.kind in ['Service', 'Namespace'])",
                "message": "Services and Namespaces have no sections",
            },
        ]),
    );
}

impl SecurityPolicySpec {
    /// Both ways to write targets.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &SecurityTargetRef> {
        self.target_ref.iter().chain(&self.target_refs)
    }
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt as _;

    use super::*;

    fn spec_schema() -> Value {
        let crd = json!(SecurityPolicy::crd());
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    }

    #[test]
    fn the_schema_is_structural() {
        crate::client_traffic_policy::check_structure(&spec_schema(), "spec", false);
    }

    #[test]
    fn a_part_that_nobody_knows_is_kept_so_that_it_can_be_refused() {
        let schema = spec_schema();
        for at in ["", "/properties/defaults", "/properties/overrides"] {
            assert_eq!(schema.pointer(at).unwrap()[KEEP], true, "{at}");
            for part in SecuritySet::NAMES {
                let part = policies::written(part);
                assert_eq!(schema.pointer(at).unwrap()["properties"][&part]["type"], "object", "{at} {part}");
            }
        }
    }

    #[test]
    fn every_part_excludes_itself_in_defaults() {
        let rules = spec_schema()["x-kubernetes-validations"].to_string();
        for part in SecuritySet::NAMES {
            assert!(rules.contains(&format!("has(self.{})", policies::written(part))), "{part}");
        }
    }
}
