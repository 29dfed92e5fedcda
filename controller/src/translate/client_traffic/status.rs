//! What we say of each policy.

mod effect;

use std::sync::Arc;

use self::effect::Effect;
use super::judge::{Judged, Target, target};
use super::{GatewayDraft, Traffic};
use crate::client_traffic_policy::TargetRef;
use crate::resources::{Named, ObjectKind};
use crate::status::condition::join;
use crate::status::{
    AncestorStatus, Condition, ConditionStatus, Conditions, ParentRef, PolicyStatus, Problem, Status,
    condition_type, reason,
};
use crate::translate::Output;
use crate::translate::reference_grant::GATEWAY_GROUP;
use crate::{CONTROLLER_NAME, ObjectKey};

/// Gateway API: "A maximum of 16 ancestors will be represented in this list."
const MAX_ANCESTORS: usize = 16;

/// An object that a policy is said to act through, and what is wrong with its targets there.
struct Ancestor {
    reference: ParentRef,
    /// Index of the Gateway, if it is one of ours.
    gateway: Option<usize>,
    /// Targets that the policy has there.
    held: usize,
    problems: Vec<Problem>,
}

pub(super) fn write(traffic: &Traffic<'_>, drafts: &[GatewayDraft<'_>], out: &mut Output) {
    for (index, judged) in traffic.policies.iter().enumerate() {
        let mut ancestors: Vec<Ancestor> = Vec::new();
        for reference in judged.policy.spec.targets() {
            note(traffic, drafts, (index, judged), reference, &mut ancestors);
        }
        let ancestors = ancestors.into_iter().take(MAX_ANCESTORS).map(|ancestor| {
            let conditions = conditions(traffic, drafts, (index, judged), &ancestor);
            let controller_name = CONTROLLER_NAME;
            AncestorStatus { ancestor_ref: ancestor.reference, controller_name, conditions }
        });
        let status = Status::Policy(PolicyStatus { ancestors: ancestors.collect() });
        let policy = judged.policy;
        let key = ObjectKey::new(ObjectKind::ClientTrafficPolicy, policy.namespace(), policy.name());
        out.statuses.push((key, Arc::new(status)));
    }
}

/// Adds what a target leads to.
fn note(
    traffic: &Traffic<'_>,
    drafts: &[GatewayDraft<'_>],
    (index, judged): (usize, &Judged<'_>),
    reference: &TargetRef,
    ancestors: &mut Vec<Ancestor>,
) {
    let namespace = judged.policy.namespace();
    let target = target(judged.policy, reference);
    let (gateway, missing) = target.map_or((None, None), |target| find(drafts, target));
    // Gateway API recommends the Gateway; without one it is what was named.
    let draft = gateway.and_then(|gateway| drafts.get(gateway));
    let (group, kind, namespace, name) = match draft {
        Some(draft) => (GATEWAY_GROUP, "Gateway", draft.object.namespace(), draft.object.name()),
        None => (&*reference.group, &*reference.kind, namespace, &*reference.name),
    };
    let parent = ParentRef {
        group: Some(group.to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
        ..ParentRef::default()
    };
    let at = match ancestors.iter().position(|known| known.reference == parent) {
        Some(at) => at,
        None => {
            ancestors.push(Ancestor { reference: parent, gateway, held: 0, problems: Vec::new() });
            ancestors.len() - 1
        }
    };
    let Some(ancestor) = ancestors.get_mut(at) else { return };
    let holder = target.and_then(|target| traffic.holders.get(&target).copied());
    if let Some(missing) = missing {
        ancestor.problems.push(Problem::accepted(reason::TARGET_NOT_FOUND, format!("targetRefs: {missing}")));
    } else if let Some(winner) = holder.filter(|holder| *holder != index) {
        // Both are of one namespace.
        let winner = traffic.policies.get(winner).map_or("", |winner| winner.policy.name());
        let message = format!(
            "targetRefs: ClientTrafficPolicy {} has the target {} too and is older, or first by name: keep one of them",
            format_args!("{}/{winner}", judged.policy.namespace()),
            called(reference),
        );
        ancestor.problems.push(Problem::accepted(reason::CONFLICTED, message));
    } else {
        ancestor.held += 1;
    }
}

/// The Gateway that a target belongs to, and what there is not.
fn find(drafts: &[GatewayDraft<'_>], target: Target<'_>) -> (Option<usize>, Option<String>) {
    let Target { kind, namespace, name, section } = target;
    let is_set = kind == ObjectKind::ListenerSet;
    let set_of = |draft: &GatewayDraft<'_>| {
        let mut sets = draft.sets.iter();
        let set = sets.find(|set| (set.object.namespace(), set.object.name()) == (namespace, name));
        set.map(|set| set.is_allowed)
    };
    let gateway = drafts.iter().position(|draft| {
        let own = (draft.object.namespace(), draft.object.name());
        if is_set { set_of(draft).is_some() } else { own == (namespace, name) }
    });
    let missing = match gateway.and_then(|gateway| drafts.get(gateway)) {
        None if is_set => Some(format!("there is no ListenerSet {namespace}/{name} of a Gateway of Fairway")),
        None => Some(format!("there is no Gateway {namespace}/{name} of a class of Fairway")),
        Some(draft) if is_set && set_of(draft) == Some(false) => {
            Some(format!("ListenerSet {namespace}/{name} is not allowed by its Gateway"))
        }
        Some(draft) => section.and_then(|section| {
            let mut listeners = draft.listeners.iter().filter(|listener| match listener.set {
                Some(set) => is_set && (set.namespace(), set.name()) == (namespace, name),
                None => !is_set,
            });
            let is_there = listeners.any(|listener| listener.spec.name == section);
            (!is_there).then(|| format!("{} {namespace}/{name} has no listener {section:?}", kind.as_str()))
        }),
    };
    (gateway, missing)
}

fn called(reference: &TargetRef) -> String {
    let listener = reference.section_name.iter().map(|section| format!(", listener {section}"));
    format!("{} {}{}", reference.kind, reference.name, listener.collect::<String>())
}

fn conditions(
    traffic: &Traffic<'_>,
    drafts: &[GatewayDraft<'_>],
    (index, judged): (usize, &Judged<'_>),
    ancestor: &Ancestor,
) -> Conditions {
    let condition = |r#type, status, reason, message: String| {
        Condition::new(r#type, status, reason, message, judged.policy.metadata.generation)
    };
    let refused = |first: &Problem, message| {
        vec![condition(condition_type::ACCEPTED, ConditionStatus::False, first.reason, message)]
    };
    if let Some(first) = judged.problems.first() {
        let problems = join(judged.problems.iter().map(|problem| problem.message.as_str()));
        let message = format!("Nothing of the policy is in effect until all is corrected: {problems}");
        return refused(first, message);
    }
    let wrong = |problems: &[Problem]| join(problems.iter().map(|problem| problem.message.as_str()));
    if let Some(first) = ancestor.problems.first().filter(|_| ancestor.held == 0) {
        return refused(first, wrong(&ancestor.problems));
    }
    let mut conditions = vec![condition(
        condition_type::ACCEPTED,
        ConditionStatus::True,
        reason::ACCEPTED,
        "The policy is followed.".to_owned(),
    )];
    let Some(gateway) = ancestor.gateway else { return conditions };
    let effect = Effect::new(traffic, drafts, gateway, index);
    let (status, reason, message) = effect.summary();
    conditions.push(condition(condition_type::EFFECTIVE, status, reason, message));
    // That nothing has a use is said above.
    let of_fields = effect.problems().into_iter().filter(|problem| problem.reason != reason);
    let problems: Vec<Problem> = ancestor.problems.iter().cloned().chain(of_fields).collect();
    if let Some(first) = problems.first() {
        let r#type = condition_type::PARTIALLY_INVALID;
        conditions.push(condition(r#type, ConditionStatus::True, first.reason, wrong(&problems)));
    }
    conditions
}
