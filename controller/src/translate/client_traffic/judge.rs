//! One policy alone.

use policies::client_traffic::ClientTraffic;
use serde_json::{Map, Value};

use super::leaves::{Leaves, leaves};
use crate::api::ClientTrafficPolicy;
use crate::client_traffic_policy::{REFUSED, TargetRef};
use crate::resources::{Named, ObjectKind};
use crate::status::{Problem, reason};
use crate::translate::reference_grant::GATEWAY_GROUP;

/// A policy, judged.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    pub(super) policy: &'a ClientTrafficPolicy,
    pub(super) problems: Vec<Problem>,
    /// What it says; nothing when there are problems.
    pub(super) leaves: Leaves,
}

/// What a policy is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Target<'a> {
    /// Gateway or ListenerSet.
    pub(super) kind: ObjectKind,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// A listener of it; `None`: all.
    pub(super) section: Option<&'a str>,
}

impl<'a> Judged<'a> {
    /// The targets of a kind that there is.
    pub(super) fn targets(&self) -> impl Iterator<Item = Target<'a>> {
        let policy = self.policy;
        policy.spec.targets().filter_map(move |reference| target(policy, reference))
    }
}

/// What a reference is to; `None`: nothing that a policy can be about.
pub(super) fn target<'a>(policy: &'a ClientTrafficPolicy, reference: &'a TargetRef) -> Option<Target<'a>> {
    let kind = match (reference.group.as_str(), reference.kind.as_str()) {
        (GATEWAY_GROUP, "Gateway") => ObjectKind::Gateway,
        (GATEWAY_GROUP, "ListenerSet") => ObjectKind::ListenerSet,
        _ => return None,
    };
    let section = reference.section_name.as_deref().filter(|section| !section.is_empty());
    Some(Target { kind, namespace: policy.namespace(), name: &reference.name, section })
}

pub(super) fn judge(policy: &ClientTrafficPolicy) -> Judged<'_> {
    let spec = &policy.spec;
    let mut problems = Vec::new();
    if spec.target_ref.is_some() && !spec.target_refs.is_empty() {
        let message = "targetRef: goes without targetRefs: write one of them";
        problems.push(Problem::accepted(reason::INVALID, message));
    }
    for reference in spec.targets().filter(|reference| target(policy, reference).is_none()) {
        let message = format!(
            "targetRefs: kind {} of group {:?} is not supported: name a Gateway or ListenerSet of group {GATEWAY_GROUP}",
            reference.kind, reference.group
        );
        problems.push(Problem::accepted(reason::INVALID, message));
    }
    let mut fields = spec.traffic.clone();
    for (path, remedy) in REFUSED.iter().filter(|(path, _)| take(&mut fields, path)) {
        problems.push(Problem::unsupported(format!("{path}: not supported: {remedy}")));
    }
    // An unknown field or a value of another type is told by the type itself.
    let traffic: ClientTraffic = match serde_json::from_value(Value::Object(fields)) {
        Ok(traffic) => traffic,
        Err(error) => {
            problems.push(Problem::accepted(reason::INVALID, format!("spec: {error}")));
            ClientTraffic::default()
        }
    };
    let wrong = traffic.problems().into_iter().map(|message| Problem::accepted(reason::INVALID, message));
    problems.extend(wrong);
    let leaves = if problems.is_empty() { leaves(&traffic) } else { Leaves::default() };
    Judged { policy, problems, leaves }
}

/// Takes out a field; whether it was set.
fn take(fields: &mut Map<String, Value>, path: &str) -> bool {
    match path.split_once('.') {
        None => fields.remove(path).is_some_and(|value| !value.is_null()),
        Some((group, rest)) => {
            fields.get_mut(group).and_then(Value::as_object_mut).is_some_and(|fields| take(fields, rest))
        }
    }
}
