//! The controller's rights: what (Cluster)Roles and bindings say, against what this release needs.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster::REFERENCED_ROLE;
use crate::inspect::cluster::Cluster;
use crate::inspect::report::Section;
use crate::inspect::seen::Seen;
use crate::install::NAME;
use crate::rbac;

/// One thing that may be done: group, resource, name (empty: any), verb.
type Right = (String, String, String, String);

const REMEDY: &str =
    "apply those of this release: fairway install --skip-crds | kubectl apply --server-side -f -";

pub(super) fn rights(cluster: &Cluster) -> Section {
    let mut section = Section::new("rights");
    let own = cluster.namespace.as_str();
    for (check, kind, namespace, name, rules) in [
        ("cluster-role", "ClusterRole", "", NAME, rbac::cluster_rules()),
        ("referenced-role", "ClusterRole", "", REFERENCED_ROLE, rbac::referenced_rules()),
        ("role", "Role", own, NAME, rbac::own_rules()),
    ] {
        if cluster.unreadable.contains_key(kind) {
            continue;
        }
        let Some(role) = cluster.get(kind, namespace, name) else {
            section.error(check, format!("{kind} {name} is missing"), REMEDY);
            continue;
        };
        let needed = expand(&rbac::to_json(&rules));
        let granted = expand(role.0.get("rules").unwrap_or(&Value::Null));
        let missing: Vec<&Right> = needed.iter().filter(|right| !covers(&granted, right)).collect();
        let surplus: Vec<&Right> = granted.iter().filter(|right| !covers(&needed, right)).collect();
        if !missing.is_empty() {
            section.error(check, format!("{kind} {name} does not allow: {}", shown(&missing)), REMEDY);
        } else if surplus.is_empty() {
            section.ok(check, format!("{kind} {name} allows what the controller needs, and nothing more"));
        } else {
            let message = format!("{kind} {name} allows more than the controller needs: {}", shown(&surplus));
            section.warning(check, message, REMEDY);
        }
    }
    for (check, kind, role, namespace) in [
        ("cluster-role-binding", "ClusterRoleBinding", "ClusterRole", ""),
        ("role-binding", "RoleBinding", "Role", own),
    ] {
        if cluster.unreadable.contains_key(kind) {
            continue;
        }
        let binding = cluster.get(kind, namespace, NAME);
        if binding.is_some_and(|binding| binds(binding, role, own)) {
            section.ok(check, format!("{kind} {NAME} gives it to the controller"));
        } else {
            let message = format!("{kind} {NAME} does not bind {role} {NAME} to ServiceAccount {own}/{NAME}");
            section.error(check, message, REMEDY);
        }
    }
    section
}

fn binds(binding: Seen<'_>, role: &str, namespace: &str) -> bool {
    binding.text("/roleRef/kind") == role
        && binding.text("/roleRef/name") == NAME
        && binding.list("/subjects").any(|subject| {
            subject.kind() == "ServiceAccount"
                && subject.text("/name") == NAME
                && subject.text("/namespace") == namespace
        })
}

/// Every right of a list of rules by itself.
fn expand(rules: &Value) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for rule in rules.as_array().into_iter().flatten() {
        let list = |field: &str| -> Vec<String> {
            let list = rule.get(field).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut names = list("resourceNames");
        if names.is_empty() {
            names.push(String::new());
        }
        for group in list("apiGroups") {
            for resource in list("resources") {
                for name in &names {
                    let rights = list("verbs").into_iter();
                    all.extend(rights.map(|verb| (group.clone(), resource.clone(), name.clone(), verb)));
                }
            }
        }
    }
    all
}

/// Whether one of `rights` includes this one.
fn covers(rights: &BTreeSet<Right>, right: &Right) -> bool {
    let (group, resource, name, verb) = right;
    let is = |has: &str, wanted: &str| has == wanted || has == "*";
    rights.contains(right)
        || rights
            .iter()
            .any(|(g, r, n, v)| is(g, group) && is(r, resource) && is(v, verb) && (n.is_empty() || n == name))
}

fn shown(rights: &[&Right]) -> String {
    const MOST: usize = 5;
    let text = |(group, resource, name, verb): &Right| {
        let place = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
        let name = if name.is_empty() { String::new() } else { format!(" {name}") };
        format!("{verb} {place}{name}")
    };
    let mut all: Vec<String> = rights.iter().take(MOST).map(|right| text(right)).collect();
    if rights.len() > MOST {
        all.push(format!("and {} more", rights.len() - MOST));
    }
    all.join(", ")
}
