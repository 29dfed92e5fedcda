//! The attached policies of a rule at each of its parents, and of its backends: each part with the policy it comes from and
//! those it overrode.

use std::fmt::{self, Write as _};

use config::{
    Attached, EffectivePart, HttpRoute, HttpRule, Key, Kind, Parent, Resource, Resources, Said, SecuritySet,
    TrafficSet, effective,
};
use policies::Parts;
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
#[derive(Debug, Clone, Serialize)]
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
        let names = listener(parent, resources).iter().chain(&route.attached).chain(&rule.attached);
        guarded(parent_name(parent), names, resources)
    };
    route.parents.iter().filter_map(of_parent).collect()
}

/// Those of a backend.
pub(super) fn of_backend(backend: &config::WeightedBackend, resources: &Resources) -> Option<Guarded> {
    guarded("Service".to_owned(), backend.attached.iter(), resources)
}

/// What holds for all that comes in by a parent.
fn listener<'a>(parent: &Parent, resources: &'a Resources) -> &'a [Key] {
    let key = match parent {
        Parent::Listener { namespace, gateway, section, .. } => {
            Key::new(Kind::Listener, namespace.as_str(), format!("{gateway}/{section}"))
        }
        Parent::Service(captured) | Parent::Consumer { of: captured, .. } => {
            Key { kind: Kind::Listener, ..Key::backend(&captured.backend) }
        }
    };
    match resources.get(&key).map(|resource| &**resource) {
        Some(Resource::Listener(listener)) => &listener.attached,
        _ => &[],
    }
}

fn guarded<'a>(
    parent: String,
    keys: impl Iterator<Item = &'a Key>,
    resources: &Resources,
) -> Option<Guarded> {
    let mut found = Found::default();
    for key in keys {
        match resources.get(key).map(|resource| &**resource) {
            Some(Resource::SecurityPolicy(policy)) => found.add(key, policy, |found| &mut found.security),
            Some(Resource::BackendTrafficPolicy(policy)) => {
                found.add(key, policy, |found| &mut found.traffic)
            }
            _ => found.refused.push(format!("{key} is not there")),
        }
    }
    let Found { security, traffic, refused } = found;
    if security.is_empty() && traffic.is_empty() && refused.is_empty() {
        return None;
    }
    let parts = [parts(&security), parts(&traffic)].concat();
    Some(Guarded { parent, refused, parts })
}

/// Policies of one kind, from general to specific.
type Levels<'a, S> = Vec<(&'a Key, &'a Attached<S>)>;

#[derive(Default)]
struct Found<'a> {
    security: Levels<'a, SecuritySet>,
    traffic: Levels<'a, TrafficSet>,
    refused: Vec<String>,
}

impl<'a> Found<'a> {
    fn add<S: Parts>(
        &mut self,
        key: &'a Key,
        policy: &'a Attached<S>,
        levels: impl Fn(&mut Self) -> &mut Levels<'a, S>,
    ) {
        let levels = levels(self);
        if levels.iter().any(|(known, _)| *known == key) {
            return;
        }
        levels.push((key, policy));
        self.refused.extend(policy.invalid.iter().map(|why| format!("{key}: {why}")));
    }
}

fn parts<S: Parts>(levels: &Levels<'_, S>) -> Vec<Part> {
    let of = |said: &Said| {
        let key = levels.get(said.level).map(|(key, _)| key.to_string()).unwrap_or_default();
        format!("{key} {}", if said.is_override { "overrides" } else { "defaults" })
    };
    let policies: Vec<&Attached<S>> = levels.iter().map(|(_, policy)| *policy).collect();
    let part = |part: EffectivePart| Part {
        from: of(&part.from),
        overrode: part.lost.iter().map(of).collect(),
        part: part.name,
        value: part.value,
    };
    effective(&policies).into_iter().map(part).collect()
}

/// As text, each line with this before it.
pub(super) fn text(guarded: &Guarded, indent: &str) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{indent}attached {}", guarded.parent);
    for why in &guarded.refused {
        let _ = writeln!(text, "{indent}         refuses every request: {why}");
    }
    for part in &guarded.parts {
        let _ = writeln!(text, "{indent}         {part}");
    }
    text
}
