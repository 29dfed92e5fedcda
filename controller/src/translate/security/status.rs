//! What we say of each policy: an entry for each Gateway or Service that it acts through, and one for each target that it
//! does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::{Resource, SecurityPolicy, effective};

use super::judge::{Judged, target};
use super::{Security, Target, key};
use crate::CONTROLLER_NAME;
use crate::resources::ObjectKind;
use crate::security_policy::SecurityTargetRef;
use crate::status::condition::join;
use crate::status::{
    AncestorStatus, Condition, ConditionStatus, Conditions, ParentRef, PolicyStatus, Status, condition_type,
    reason,
};
use crate::translate::attach::Surroundings;
use crate::translate::backend_ref::Through;
use crate::translate::gateway_status::WAITING;
use crate::translate::output::Output;
use crate::translate::reference_grant::GATEWAY_GROUP;
use crate::translate::usage::ancestor;

/// Gateway API: "A maximum of 16 ancestors will be represented in this list."
const MAX_ANCESTORS: usize = 16;

/// Policies, from general to specific, that requests run through together, and where these come from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reached {
    pub(crate) through: Through,
    pub(crate) policies: Vec<String>,
}

/// What a policy is to one ancestor: each part that does not hold, with the policies that say it instead.
type Lost = BTreeMap<String, BTreeSet<String>>;

/// By policy and ancestor.
type Acts<'a> = BTreeMap<&'a str, BTreeMap<Ancestor, Lost>>;

/// Kind, namespace, name and section.
type Ancestor = (ObjectKind, Box<str>, Box<str>, Option<Box<str>>);

impl Security {
    /// The status of every policy. `reached`: what routes run through.
    pub(crate) fn statuses<'a>(
        &'a self,
        reached: impl Iterator<Item = &'a Reached>,
        surroundings: &'a Surroundings<'_>,
    ) -> Output {
        let mut acts = Acts::new();
        for Reached { through, policies } in reached {
            self.note(*through, policies, surroundings, &mut acts);
        }
        // Also those that nothing is attached to.
        for (slot, gateway) in surroundings.gateways.iter() {
            for listener in gateway.listeners.iter().filter(|listener| listener.is_live) {
                self.note(Through::Gateway(slot), &listener.security, surroundings, &mut acts);
            }
        }
        for (slot, captured) in surroundings.capture.iter() {
            if captured.ports.is_ok() {
                self.note(Through::Service(slot), &captured.security, surroundings, &mut acts);
            }
        }
        let mut out = Output::default();
        for judged in &self.judged {
            let ancestors = acts.remove(judged.name.as_str()).unwrap_or_default();
            let status = Status::Policy(self.status(judged, &ancestors, surroundings));
            out.statuses.push((key(judged), Arc::new(status)));
        }
        out
    }

    /// Notes what policies that requests run through together are to one ancestor.
    fn note<'a>(
        &'a self,
        through: Through,
        names: &'a [String],
        surroundings: &Surroundings<'_>,
        acts: &mut Acts<'a>,
    ) {
        if names.is_empty() {
            return;
        }
        let Some((kind, namespace, name)) = ancestor(surroundings, through) else { return };
        let ancestor: Ancestor = (kind, namespace, name, None);
        for name in names {
            acts.entry(name).or_default().entry(ancestor.clone()).or_default();
        }
        let levels: Vec<&SecurityPolicy> = names.iter().filter_map(|name| self.published(name)).collect();
        if levels.len() != names.len() {
            return;
        }
        for part in effective(&levels) {
            let Some(winner) = names.get(part.from.level) else { continue };
            for loser in part.lost.iter().filter_map(|said| names.get(said.level)) {
                let lost = acts.entry(loser).or_default().entry(ancestor.clone()).or_default();
                let how = if part.from.is_override { "overrides" } else { "defaults" };
                lost.entry(part.name.clone())
                    .or_default()
                    .insert(format!("{how} of SecurityPolicy {winner}"));
            }
        }
    }

    fn published(&self, name: &str) -> Option<&SecurityPolicy> {
        match &*self.find(name)?.resource {
            Resource::SecurityPolicy(policy) => Some(policy),
            _ => None,
        }
    }

    fn status(
        &self,
        judged: &Judged,
        acts: &BTreeMap<Ancestor, Lost>,
        surroundings: &Surroundings<'_>,
    ) -> PolicyStatus {
        let mut entries: BTreeMap<Ancestor, Conditions> =
            acts.iter().map(|(ancestor, lost)| (ancestor.clone(), conditions(judged, lost))).collect();
        for reference in judged.policy.spec.targets() {
            let target = target(&judged.policy, reference);
            let problem = match &target {
                None => Some((reason::INVALID, String::new())),
                Some(target) => self.problem(judged, target, surroundings),
            };
            let at = at(judged, reference, target.as_ref());
            match problem {
                Some((reason, message)) if judged.problems.is_empty() => {
                    // It acts there all the same, by another target.
                    let conditions = entries.entry(at).or_default();
                    let (r#type, status) = match conditions.is_empty() {
                        true => (condition_type::ACCEPTED, ConditionStatus::False),
                        false => (condition_type::CONFLICTED, ConditionStatus::True),
                    };
                    conditions.push(condition(judged, r#type, status, reason, message));
                }
                Some(_) => drop(entries.entry(at).or_insert_with(|| conditions_of_invalid(judged))),
                None if acts.is_empty() => {
                    entries.entry(at).or_insert_with(|| idle(judged));
                }
                None => {}
            }
        }
        let ancestors = entries.into_iter().take(MAX_ANCESTORS).map(|(at, conditions)| AncestorStatus {
            ancestor_ref: parent_ref(at),
            controller_name: CONTROLLER_NAME,
            conditions,
        });
        PolicyStatus { ancestors: ancestors.collect() }
    }

    /// Why a policy does not have a target.
    fn problem(
        &self,
        judged: &Judged,
        target: &Target,
        surroundings: &Surroundings<'_>,
    ) -> Option<(&'static str, String)> {
        if let Some(missing) = missing(target, surroundings) {
            return Some((reason::TARGET_NOT_FOUND, format!("targetRefs: {missing}")));
        }
        let holder = self.holders.get(target).filter(|holder| **holder != judged.name)?;
        let section = target.section.iter().map(|section| format!(", section {section}")).collect::<String>();
        let message = format!(
            "targetRefs: SecurityPolicy {holder} has the target {} {}{section} too and is older, or first by name: keep \
             one of them",
            target.object.kind.as_str(),
            target.object.name
        );
        Some((reason::CONFLICTED, message))
    }
}

/// What there is not of a target.
fn missing(target: &Target, surroundings: &Surroundings<'_>) -> Option<String> {
    let Target { object, section } = target;
    let (namespace, name) = (&*object.namespace, &*object.name);
    let resources = surroundings.cluster.resources;
    let kind = object.kind.as_str();
    let gateways = surroundings.gateways;
    let none = |whose: &str| Some(format!("there is no {kind} {namespace}/{name}{whose}"));
    let rules: Vec<Option<&str>> = match object.kind {
        ObjectKind::Gateway | ObjectKind::ListenerSet => {
            let (slot, set) = match object.kind {
                ObjectKind::Gateway => match gateways.find(namespace, name) {
                    Some(slot) => (slot, None),
                    None => return none(" of a class of Fairway"),
                },
                _ => match gateways.find_set(namespace, name) {
                    Some((slot, set)) => (slot, Some(set)),
                    None => return none(" of a Gateway of Fairway"),
                },
            };
            let listeners = gateways.get(slot).into_iter().flat_map(|gateway| &gateway.listeners);
            let own = listeners.filter(|listener| listener.set == set);
            own.map(|listener| Some(listener.name.as_str())).collect()
        }
        ObjectKind::HttpRoute => match resources.http_routes.get(namespace, name) {
            Some(route) => route.spec.rules.iter().flatten().map(|rule| rule.name.as_deref()).collect(),
            None => return none(""),
        },
        ObjectKind::GrpcRoute => match resources.grpc_routes.get(namespace, name) {
            Some(route) => route.spec.rules.iter().flatten().map(|rule| rule.name.as_deref()).collect(),
            None => return none(""),
        },
        ObjectKind::Service if resources.services.get(namespace, name).is_none() => return none(""),
        _ => return None,
    };
    let section = section.as_deref().filter(|section| !rules.contains(&Some(section)))?;
    let what = if matches!(object.kind, ObjectKind::HttpRoute | ObjectKind::GrpcRoute) {
        "rule"
    } else {
        "listener"
    };
    Some(format!("{kind} {namespace}/{name} has no {what} {section:?}"))
}

fn condition(
    judged: &Judged,
    r#type: &'static str,
    status: ConditionStatus,
    reason: &'static str,
    message: String,
) -> Condition {
    Condition::new(r#type, status, reason, message, judged.policy.metadata.generation)
}

/// Where it acts.
fn conditions(judged: &Judged, lost: &Lost) -> Conditions {
    if !judged.problems.is_empty() {
        return conditions_of_invalid(judged);
    }
    let followed = "The policy is followed.".to_owned();
    let mut all = vec![
        condition(judged, condition_type::ACCEPTED, ConditionStatus::True, reason::ACCEPTED, followed),
        condition(
            judged,
            condition_type::ENFORCED,
            ConditionStatus::Unknown,
            reason::PENDING,
            WAITING.to_owned(),
        ),
    ];
    if !lost.is_empty() {
        let parts: Vec<String> = lost
            .iter()
            .map(|(part, winners)| {
                format!("{part}: {}", winners.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
            })
            .collect();
        let message = format!(
            "Something else holds for some or all requests: {}.",
            join(parts.iter().map(String::as_str))
        );
        let status = ConditionStatus::True;
        all.push(condition(judged, condition_type::OVERRIDDEN, status, reason::OVERRIDDEN, message));
    }
    all
}

fn conditions_of_invalid(judged: &Judged) -> Conditions {
    let wrong = join(judged.problems.iter().map(|problem| problem.message.as_str()));
    let first = judged.problems.first().map_or(reason::INVALID, |problem| problem.reason);
    let refuses =
        "Every request that the policy is about is refused with 500 until it is corrected.".to_owned();
    vec![
        condition(judged, condition_type::ACCEPTED, ConditionStatus::False, first, wrong),
        condition(judged, condition_type::ENFORCED, ConditionStatus::False, reason::INVALID, refuses),
    ]
}

/// Where nothing comes by.
fn idle(judged: &Judged) -> Conditions {
    if !judged.problems.is_empty() {
        return conditions_of_invalid(judged);
    }
    let followed = "The policy is followed.".to_owned();
    let nothing = "No request reaches the target through a Gateway or waypoint of Fairway.".to_owned();
    vec![
        condition(judged, condition_type::ACCEPTED, ConditionStatus::True, reason::ACCEPTED, followed),
        condition(judged, condition_type::ENFORCED, ConditionStatus::False, reason::NO_EFFECT, nothing),
    ]
}

/// The entry of a target itself.
fn at(judged: &Judged, reference: &SecurityTargetRef, target: Option<&Target>) -> Ancestor {
    match target {
        Some(Target { object, section }) => {
            (object.kind, object.namespace.clone(), object.name.clone(), section.clone())
        }
        // What it names cannot be a target: the policy stands for itself.
        None => {
            let own = key(judged);
            (ObjectKind::SecurityPolicy, own.namespace, own.name, Some(reference.kind.as_str().into()))
        }
    }
}

fn parent_ref((kind, namespace, name, section): Ancestor) -> ParentRef {
    let group = match kind {
        ObjectKind::Service | ObjectKind::Namespace => "",
        ObjectKind::SecurityPolicy => kind.group(),
        _ => GATEWAY_GROUP,
    };
    ParentRef {
        group: Some(group.to_owned()),
        kind: Some(kind.as_str().to_owned()),
        namespace: (!namespace.is_empty()).then(|| namespace.to_string()),
        name: name.to_string(),
        section_name: section
            .filter(|_| kind != ObjectKind::SecurityPolicy)
            .map(|section| section.to_string()),
        ..ParentRef::default()
    }
}
