//! Rules of authorization for benches.

use serde_json::{Value, json};

/// Rules of five kinds in turn, about the provider `corp`; the last one lets through. `when`: it has a condition in CEL.
pub(crate) fn policy(rules: usize, when: bool) -> Value {
    let rule = |at: usize| {
        if at + 1 == rules {
            let when = when.then_some(
                "request.headers['x-tenant'] == source.workload.namespace && 'staff' in jwt.corp.groups",
            );
            return json!({"action": "Allow", "when": when, "principal": {"jwt": {"provider": "corp", "claims": [
                {"name": "role", "values": ["admin"]}, {"name": "groups", "valueType": "StringArray", "values": ["staff"]},
            ]}}});
        }
        match at % 5 {
            0 => json!({"action": "Deny", "operation": {"paths": [{"value": format!("/internal/{at}")}]}}),
            1 => json!({"action": "Allow", "principal": {"jwt": {"provider": "corp", "claims": [
                {"name": "role", "values": [format!("role-{at}")]},
            ]}}, "operation": {"methods": ["GET"], "paths": [{"value": format!("/api/{at}")}]}}),
            2 => {
                json!({"action": "Allow", "principal": {"serviceAccounts": [{"namespace": format!("ns-{at}"), "name": "*"}]}})
            }
            3 => {
                json!({"action": "Deny", "principal": {"headers": [{"name": "x-client", "values": [format!("bad-{at}")]}]}})
            }
            _ => {
                json!({"action": "Allow", "principal": {"jwt": {"provider": "corp", "scopes": [format!("scope-{}", at % 8)]}},
                "operation": {"paths": [{"type": "Template", "value": format!("/v{at}/users/{{id}}/**")}]}})
            }
        }
    };
    json!({"rules": (0..rules).map(rule).collect::<Vec<_>>()})
}
