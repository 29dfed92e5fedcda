//! `ClientTrafficPolicy`: how listeners treat their clients. Attached to Gateways and ListenerSets, or to one listener of
//! them.
//!
//! The spec is [`ClientTraffic`] beside the targets. It is kept as JSON until it is judged: policies are merged leaf by
//! leaf, and what cannot be followed has to be refused by name, not lost in decoding.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use policies::client_traffic::ClientTraffic;
use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How listeners treat their clients.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "ClientTrafficPolicy",
    plural = "clienttrafficpolicies",
    namespaced,
    shortname = "fwctp",
    category = "fairway",
    status = "ClientTrafficPolicyStatus",
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    derive = "Default",
    derive = "PartialEq",
    doc = "How listeners treat their clients. Attached to Gateways and ListenerSets, or to one listener of them."
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = complete)]
pub struct ClientTrafficPolicySpec {
    /// What the policy is about, of its own namespace. Instead of `targetRefs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// What the policy is about, of its own namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// A [`ClientTraffic`], and what the API server keeps of `REFUSED`.
    #[serde(flatten)]
    #[schemars(with = "ClientTraffic")]
    pub traffic: Map<String, Value>,
}

/// A Gateway or ListenerSet, or a listener of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// `gateway.networking.k8s.io`.
    #[schemars(extend("enum" = ["gateway.networking.k8s.io"]))]
    pub group: String,
    /// `Gateway` or `ListenerSet`.
    #[schemars(extend("enum" = ["Gateway", "ListenerSet"]))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// One listener of it. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// What became of a policy, by Gateway (GEP-713).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientTrafficPolicyStatus {
    /// The Gateways it is about.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub ancestors: Vec<PolicyAncestor>,
}

/// What a policy is to one Gateway.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestor {
    /// The Gateway.
    pub ancestor_ref: AncestorRef,
    /// Who says so.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,
    /// `Accepted`, `fairway.dev/Effective`, `PartiallyInvalid`.
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// Names an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AncestorRef {
    /// Group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

const REMOVE: &str = "remove it";

/// Fields of Envoy Gateway's ClientTrafficPolicy that do not exist here, each with what to do. The API server keeps them
/// instead of dropping them silently, so that they can be refused.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("targetSelectors", "name each Gateway in targetRefs"),
    ("enableProxyProtocol", "use proxyProtocol"),
    ("grpc", REMOVE),
    ("http1", REMOVE),
    ("http3", REMOVE),
    ("scheme", REMOVE),
    ("connection.bufferLimit", "buffers are of fixed sizes: remove it"),
    ("connection.maxAcceptPerSocketEvent", REMOVE),
    ("headers.disableRateLimitHeaders", REMOVE),
    ("headers.enableEnvoyHeaders", REMOVE),
    ("headers.preserveXRequestID", "use requestID"),
    ("headers.earlyRequestHeaders.removeOnMatch", "name each field in remove"),
    ("headers.lateResponseHeaders.removeOnMatch", "name each field in remove"),
    (
        "tls.clientValidation",
        "client certificates are configured at the Gateway, in tls.frontend (Gateway API): remove it",
    ),
    ("tls.fingerprints", REMOVE),
    ("tls.signatureAlgorithms", REMOVE),
];

/// Adds to the schema what is refused.
fn complete(schema: &mut Schema) {
    for (path, _) in REFUSED {
        let at = format!("/properties/{}", path.replace('.', "/properties/"));
        let Some((parent, name)) = at.rsplit_once('/') else { continue };
        if let Some(fields) = schema.pointer_mut(parent).and_then(Value::as_object_mut) {
            let description = "Not supported: refused in the policy's status.";
            let any = json!({ "description": description, "x-kubernetes-preserve-unknown-fields": true });
            fields.insert(name.to_owned(), any);
        }
    }
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([{
            "rule": "has(self.targetRef) != has(self.targetRefs)",
            "message": "write either targetRef or targetRefs",
        }]),
    );
    without_formats(schema);
}

/// Takes off formats that Kubernetes does not know, and warns of.
pub(crate) fn without_formats(schema: &mut Schema) {
    RecursiveTransform(|schema: &mut Schema| {
        if schema.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
            schema.remove("format");
        }
    })
    .transform(schema);
}

impl ClientTrafficPolicySpec {
    /// Both ways to write targets.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &TargetRef> {
        self.target_ref.iter().chain(&self.target_refs)
    }
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>
#[cfg(test)]
pub(crate) fn check_structure(schema: &Value, path: &str, is_nested: bool) {
    let fields = schema.as_object().unwrap_or_else(|| panic!("{path} is {schema}"));
    let is_any = fields.contains_key("x-kubernetes-preserve-unknown-fields");
    let is_int_or_string = fields.contains_key("x-kubernetes-int-or-string");
    if is_nested {
        for forbidden in
            ["type", "properties", "items", "description", "default", "nullable", "additionalProperties"]
        {
            let allowed = is_int_or_string_branch(schema);
            assert!(allowed || !fields.contains_key(forbidden), "{path}: {forbidden} below a junctor");
        }
    } else {
        assert!(is_any || is_int_or_string || fields["type"].is_string(), "{path} has no type: {schema}");
        assert!(!(is_int_or_string && fields.contains_key("type")), "{path}");
    }
    assert!(!(fields.contains_key("properties") && fields.contains_key("additionalProperties")), "{path}");
    for forbidden in ["$ref", "definitions", "uniqueItems", "deprecated", "$schema", "unevaluatedProperties"]
    {
        assert!(!fields.contains_key(forbidden), "{path}: {forbidden}");
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        check_structure(field, &format!("{path}.{name}"), is_nested);
    }
    if let Some(items) = fields.get("items") {
        check_structure(items, &format!("{path}[]"), is_nested);
    }
    for junctor in ["oneOf", "anyOf", "allOf"] {
        for branch in schema[junctor].as_array().into_iter().flatten() {
            check_structure(branch, &format!("{path}<{junctor}>"), true);
        }
    }
}

/// The two branches that Kubernetes wants with `x-kubernetes-int-or-string`.
#[cfg(test)]
fn is_int_or_string_branch(schema: &Value) -> bool {
    *schema == json!({ "type": "integer" }) || *schema == json!({ "type": "string" })
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt as _;

    use super::*;

    fn spec_schema() -> Value {
        let crd = json!(ClientTrafficPolicy::crd());
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    }

    fn at<'a>(schema: &'a Value, path: &str) -> &'a Value {
        let pointer = format!("/properties/{}", path.replace('.', "/properties/"));
        schema.pointer(&pointer).unwrap_or_else(|| panic!("{path} is not in the schema"))
    }

    #[test]
    fn the_schema_is_structural() {
        check_structure(&spec_schema(), "spec", false);
    }

    #[test]
    fn every_field_that_is_refused_is_kept_by_the_api_server_and_nothing_else_is() {
        let schema = spec_schema();
        for (path, _) in REFUSED {
            assert_eq!(at(&schema, path)["x-kubernetes-preserve-unknown-fields"], true, "{path}");
        }
        let text = schema.to_string();
        assert_eq!(text.matches("x-kubernetes-preserve-unknown-fields").count(), REFUSED.len());
    }

    #[test]
    fn ways_to_find_a_client_exclude_each_other() {
        let schema = spec_schema();
        let way = at(&schema, "clientIPDetection");
        assert_eq!(way["type"], "object");
        assert_eq!(way["oneOf"].as_array().map(Vec::len), Some(3));
        assert_eq!(at(&schema, "clientIPDetection.xForwardedFor.trustedCIDRs")["type"], "array");
        assert_eq!(at(&schema, "limits.requestBodyBytes")["x-kubernetes-int-or-string"], true);
    }

    fn names(schema: &Value, names: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            names.push(name.clone());
            self::names(field, names);
        }
        if let Some(item) = schema.get("items") {
            self::names(item, names);
        }
    }

    #[test]
    fn every_field_is_in_the_reference() {
        let docs = include_str!("../../docs/client-traffic.md");
        let mut all = Vec::new();
        names(&spec_schema(), &mut all);
        assert!(all.len() > 80, "{}", all.len());
        for name in all {
            assert!(docs.contains(&name), "docs/client-traffic.md lacks {name}");
        }
    }
}
