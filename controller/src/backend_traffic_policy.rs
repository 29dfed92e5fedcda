//! `BackendTrafficPolicy`: how much may come. Attached to GatewayClasses, Gateways, listeners, routes, rules of routes,
//! Services and namespaces; see [`crate::attached_policy`].

use kube::CustomResource;
use policies::TrafficSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::attached_policy::{AttachedPolicyStatus, Spec, TargetRef, complete};

/// How much may come.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "BackendTrafficPolicy",
    plural = "backendtrafficpolicies",
    namespaced,
    shortname = "fwbtp",
    category = "fairway",
    label("gateway.networking.k8s.io/policy", "Inherited"),
    status = "AttachedPolicyStatus",
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Enforced", "type": "string", "jsonPath": ".status.ancestors[*].conditions[?(@.type==\"Enforced\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    derive = "Default",
    derive = "PartialEq",
    doc = "How much may come. Attached to GatewayClasses, Gateways, listeners, routes, rules of routes, Services and namespaces."
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = complete::<TrafficSet>)]
pub struct BackendTrafficPolicySpec {
    /// What the policy is about, of its own namespace. Instead of `targetRefs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// What the policy is about, of its own namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// What holds unless a more specific policy says otherwise. The same parts may stand beside `targetRefs` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<TrafficSet>")]
    pub defaults: Option<Map<String, Value>>,
    /// What holds whatever a more specific policy says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<TrafficSet>")]
    pub overrides: Option<Map<String, Value>>,
    /// A [`TrafficSet`]: the short way to write `defaults`.
    #[serde(flatten)]
    #[schemars(with = "TrafficSet")]
    pub parts: Map<String, Value>,
    /// Why it is not as it is written: it stands in for one in a file that does not load. No field of the kind.
    #[serde(skip)]
    pub does_not_load: Option<String>,
}

/// Fields of Envoy Gateway's BackendTrafficPolicy that do not exist here, each with what to do.
const REFUSED: &[(&str, &str)] = &[
    ("circuitBreaker", "not supported yet: remove it"),
    ("compression", "not supported yet: remove it"),
    ("compressor", "not supported yet: remove it"),
    ("connection", "not supported yet: remove it"),
    ("dns", "not supported yet: remove it"),
    ("faultInjection", "not supported yet: remove it"),
    ("healthCheck", "not supported yet: remove it"),
    ("http2", "not supported yet: remove it"),
    ("httpUpgrade", "upgrades to WebSocket are passed on without it: remove it"),
    ("loadBalancer", "requests go to the endpoint that answers soonest: remove it"),
    ("mergeType", "policies of all levels are merged, part by part: remove it"),
    ("proxyProtocol", "not supported yet: remove it"),
    ("requestBuffer", "not supported yet: remove it"),
    ("responseOverride", "not supported yet: remove it"),
    ("retry", "write it at the rules of the route (GEP-1731)"),
    ("targetSelectors", "name each target in targetRefs"),
    ("tcpKeepalive", "not supported yet: remove it"),
    ("telemetry", "not supported yet: remove it"),
    ("timeout", "write it at the rules of the route (`timeouts`)"),
    ("useClientProtocol", "not supported yet: remove it"),
];

impl BackendTrafficPolicySpec {
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
        crate::attached_policy::tests::check::<BackendTrafficPolicy, TrafficSet>();
    }
}
