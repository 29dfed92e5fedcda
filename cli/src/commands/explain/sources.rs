//! Which field of which object each policy came from.

use std::fmt;

use config::PolicySet;
use controller::{ObjectKey, ObjectKind};
use serde::Serialize;
use serde_json::Value;

use crate::input::Input;

/// A policy in force and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicySource {
    policy: String,
    value: Value,
    /// Object and fields.
    from: Vec<String>,
}

impl fmt::Display for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}  from {}", self.policy, self.value, self.from.join(", "))
    }
}

/// The filters and settings of a route as the user wrote them, for [`PolicySource::from`].
#[derive(Debug, Default)]
pub(super) struct Sources {
    object: String,
    pub(super) hostnames: Vec<String>,
    rules: Vec<RuleSource>,
}

#[derive(Debug, Default)]
struct RuleSource {
    filters: Vec<String>,
    backends: Vec<Vec<String>>,
}

impl Sources {
    /// Policies of a rule.
    pub(super) fn rule(&self, rule: usize, policies: &PolicySet) -> Vec<PolicySource> {
        let filters = self.rules.get(rule).map(|r| r.filters.as_slice()).unwrap_or_default();
        self.all(&format!("spec.rules[{rule}]"), filters, policies)
    }

    /// Policies of a backend of a rule.
    pub(super) fn backend(&self, rule: usize, backend: usize, policies: &PolicySet) -> Vec<PolicySource> {
        let filters = self.rules.get(rule).and_then(|r| r.backends.get(backend)).map(Vec::as_slice);
        self.all(&format!("spec.rules[{rule}].backendRefs[{backend}]"), filters.unwrap_or_default(), policies)
    }

    fn all(&self, at: &str, filters: &[String], policies: &PolicySet) -> Vec<PolicySource> {
        // The serde form has a field per policy that is set, in the order they run.
        let Ok(Value::Object(set)) = serde_json::to_value(policies) else { return Vec::new() };
        set.into_iter()
            .map(|(policy, value)| {
                let from = fields(&policy, at, filters);
                let from = from.into_iter().map(|field| format!("{} {field}", self.object)).collect();
                PolicySource { policy, value, from }
            })
            .collect()
    }
}

/// The fields below `at` that a policy is made of.
fn fields(policy: &str, at: &str, filters: &[String]) -> Vec<String> {
    let filter = match policy {
        "cors" => "CORS",
        "redirect" => "RequestRedirect",
        "requestHeaders" => "RequestHeaderModifier",
        "urlRewrite" => "URLRewrite",
        "responseHeaders" => "ResponseHeaderModifier",
        "mirror" => "RequestMirror",
        // Fields of the rule itself carry the policy's name.
        other => return vec![format!("{at}.{other}")],
    };
    let indices = filters.iter().enumerate().filter(|(_, name)| *name == filter);
    indices.map(|(index, _)| format!("{at}.filters[{index}]")).collect()
}

/// The `type` of each filter.
fn types<T: Serialize>(filters: Option<&Vec<T>>) -> Vec<String> {
    let name = |filter: &T| {
        let value = serde_json::to_value(filter).unwrap_or_default();
        value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    filters.into_iter().flatten().map(name).collect()
}

/// Of a route.
pub(super) fn of(key: &ObjectKey, input: &Input) -> Sources {
    if key.kind == ObjectKind::HttpRoute {
        return http(key, input);
    }
    if key.kind == ObjectKind::GrpcRoute {
        return grpc(key, input);
    }
    // No other kind has filters, and one of them has host names.
    let tls = input.resources.tls_routes.get(&key.namespace, &key.name);
    let tls = tls.filter(|_| key.kind == ObjectKind::TlsRoute);
    let hostnames = tls.map(|route| route.spec.hostnames.clone()).unwrap_or_default();
    Sources { object: key.to_string(), hostnames, rules: Vec::new() }
}

/// Of an HTTPRoute.
fn http(key: &ObjectKey, input: &Input) -> Sources {
    let Some(route) = input.resources.http_routes.get(&key.namespace, &key.name) else {
        return Sources::default();
    };
    let rules = route.spec.rules.iter().flatten().map(|rule| RuleSource {
        filters: types(rule.filters.as_ref()),
        backends: rule.backend_refs.iter().flatten().map(|b| types(b.filters.as_ref())).collect(),
    });
    let hostnames = route.spec.hostnames.clone().unwrap_or_default();
    Sources { object: key.to_string(), hostnames, rules: rules.collect() }
}

/// Of a GRPCRoute.
fn grpc(key: &ObjectKey, input: &Input) -> Sources {
    let Some(route) = input.resources.grpc_routes.get(&key.namespace, &key.name) else {
        return Sources::default();
    };
    let rules = route.spec.rules.iter().flatten().map(|rule| RuleSource {
        filters: types(rule.filters.as_ref()),
        backends: rule.backend_refs.iter().flatten().map(|b| types(b.filters.as_ref())).collect(),
    });
    let hostnames = route.spec.hostnames.clone().unwrap_or_default();
    Sources { object: key.to_string(), hostnames, rules: rules.collect() }
}
