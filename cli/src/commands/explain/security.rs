//! The SecurityPolicies of a rule at each of its parents, and of its backends: each part with the policy it comes from and
//! those it overrode.

use std::fmt::{self, Write as _};

use config::{HttpRoute, HttpRule, Key, Kind, Parent, Resource, Resources, SecurityPolicy, effective};
use serde::Serialize;
use serde_json::Value;

use super::parent_name;

/// What requests to a rule are held to where they come in by one parent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Guarded {
    /// `namespace/gateway/section`, or a Service port.
    pub(super) parent: String,
    /// Why every request is refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) refused: Vec<String>,
    pub(super) parts: Vec<Part>,
}

/// A part and whose it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    part: String,
    value: Value,
    /// Such as `SecurityPolicy/shop/login defaults`.
    from: String,
    /// Who says something else that does not hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overrode: Vec<String>,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}  from {}", self.part, self.value, self.from)?;
        if self.overrode.is_empty() {
            return Ok(());
        }
        write!(f, ", not from {}", self.overrode.join(", "))
    }
}

/// Those of a rule, by parent; parents without any are left out.
pub(super) fn of_rule(route: &HttpRoute, rule: &HttpRule, resources: &Resources) -> Vec<Guarded> {
    let of_parent = |parent: &Parent| {
        let names = listener(parent, resources).iter().chain(&route.security).chain(&rule.security);
        guarded(parent_name(parent), names, resources)
    };
    route.parents.iter().filter_map(of_parent).collect()
}

/// Those of a backend.
pub(super) fn of_backend(backend: &config::WeightedBackend, resources: &Resources) -> Option<Guarded> {
    guarded("Service".to_owned(), backend.security.iter(), resources)
}

/// What holds for all that comes in by a parent.
fn listener<'a>(parent: &Parent, resources: &'a Resources) -> &'a [String] {
    let key = match parent {
        Parent::Listener { namespace, gateway, section, .. } => {
            Key::new(Kind::Listener, namespace.as_str(), format!("{gateway}/{section}"))
        }
        Parent::Service(service) => Key { kind: Kind::Listener, ..Key::backend(service) },
    };
    match resources.get(&key).map(|resource| &**resource) {
        Some(Resource::Listener(listener)) => &listener.security,
        _ => &[],
    }
}

fn guarded<'a>(
    parent: String,
    names: impl Iterator<Item = &'a String>,
    resources: &Resources,
) -> Option<Guarded> {
    let (mut levels, mut refused): (Vec<(&str, &SecurityPolicy)>, Vec<String>) = Default::default();
    for name in names {
        if levels.iter().any(|(known, _)| known == name) {
            continue;
        }
        match resources.get(&Key::security_policy(name)).map(|resource| &**resource) {
            Some(Resource::SecurityPolicy(policy)) => {
                refused.extend(policy.invalid.iter().map(|why| format!("SecurityPolicy/{name}: {why}")));
                levels.push((name, policy));
            }
            _ => refused.push(format!("SecurityPolicy/{name} is not there")),
        }
    }
    if levels.is_empty() && refused.is_empty() {
        return None;
    }
    let of = |said: &config::Said| {
        let name = levels.get(said.level).map_or("", |(name, _)| name);
        format!("SecurityPolicy/{name} {}", if said.is_override { "overrides" } else { "defaults" })
    };
    let policies: Vec<&SecurityPolicy> = levels.iter().map(|(_, policy)| *policy).collect();
    let parts = effective(&policies).into_iter().map(|part| Part {
        from: of(&part.from),
        overrode: part.lost.iter().map(of).collect(),
        part: part.name,
        value: part.value,
    });
    Some(Guarded { parent, refused, parts: parts.collect() })
}

/// As text, each line with this before it.
pub(super) fn text(guarded: &Guarded, indent: &str) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{indent}security {}", guarded.parent);
    for why in &guarded.refused {
        let _ = writeln!(text, "{indent}         refuses every request: {why}");
    }
    for part in &guarded.parts {
        let _ = writeln!(text, "{indent}         {part}");
    }
    text
}
