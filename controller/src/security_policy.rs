//! `SecurityPolicy`: who may send requests. Attached to GatewayClasses, Gateways, listeners, routes, rules of routes,
//! Services and namespaces; see [`crate::attached_policy`].

use kube::CustomResource;
use policies::SecuritySet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::attached_policy::{AttachedPolicyStatus, Spec, TargetRef, complete};

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
    label("gateway.networking.k8s.io/policy", "Inherited"),
    status = "AttachedPolicyStatus",
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Enforced", "type": "string", "jsonPath": ".status.ancestors[*].conditions[?(@.type==\"Enforced\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    derive = "Default",
    derive = "PartialEq",
    doc = "Who may send requests. Attached to GatewayClasses, Gateways, listeners, routes, rules of routes, Services and namespaces."
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = complete::<SecuritySet>)]
pub struct SecurityPolicySpec {
    /// What the policy is about, of its own namespace. Instead of `targetRefs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// What the policy is about, of its own namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TargetRef>,
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
    /// Why it is not as it is written: it stands in for one in a file that does not load. No field of the kind.
    #[serde(skip)]
    pub does_not_load: Option<String>,
}

/// Fields of Envoy Gateway's SecurityPolicy that do not exist here, each with what to do.
const REFUSED: &[(&str, &str)] = &[
    ("mergeType", "policies of all levels are merged, part by part: remove it"),
    ("oidc", "not supported yet: remove it"),
    ("targetSelectors", "name each target in targetRefs"),
];

impl SecurityPolicySpec {
    /// As every kind has it.
    pub(crate) fn view(&self) -> Spec<'_> {
        Spec {
            target_ref: self.target_ref.as_ref(),
            target_refs: &self.target_refs,
            defaults: self.defaults.as_ref(),
            overrides: self.overrides.as_ref(),
            parts: &self.parts,
            refused: REFUSED,
            does_not_load: self.does_not_load.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_is_dropped_or_said_twice() {
        crate::attached_policy::tests::check::<SecurityPolicy, SecuritySet>();
    }
}
