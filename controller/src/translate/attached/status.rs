//! What we say of each policy: an entry for each Gateway or Service that it acts through, and one for each target that it
//! does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::{Attached, Key, Resource, SecuritySet, TrafficSet, effective};
use policies::Parts;

use super::judge::{Judged, target};
use super::{AttachedPolicies, Target, written};
use crate::attached_policy::TargetRef;
use crate::resources::ObjectKind;
use crate::status::condition::join;
use crate::status::{
    AncestorStatus, Condition, ConditionStatus, Conditions, ParentRef, PolicyStatus, Status, condition_type,
    reason,
};
use crate::translate::attach::Surroundings;
use crate::translate::backend_ref::Through;
use crate::translate::gateway_class::is_ours;
use crate::translate::gateway_status::WAITING;
use crate::translate::output::Output;
use crate::translate::usage::ancestor;
use crate::{CONTROLLER_NAME, ObjectKey};

/// Gateway API: "A maximum of 16 ancestors will be represented in this list."
const MAX_ANCESTORS: usize = 16;

/// Policies, from general to specific, that requests run through together, and where these come from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reached {
    pub(crate) through: Through,
    pub(crate) policies: Vec<Key>,
}

/// What a policy is to one ancestor: each part that does not hold, with the policies that say it instead.
type Lost = BTreeMap<String, BTreeSet<String>>;

/// By policy and ancestor.
type Acts<'a> = BTreeMap<&'a Key, BTreeMap<Ancestor, Lost>>;

/// Kind, namespace, name and section.
type Ancestor = (ObjectKind, Box<str>, Box<str>, Option<Box<str>>);

impl AttachedPolicies {
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
                self.note(Through::Gateway(slot), &listener.attached, surroundings, &mut acts);
            }
        }
        for (slot, captured) in surroundings.capture.iter() {
            if captured.ports.is_ok() {
                self.note(Through::Service(slot), &captured.attached, surroundings, &mut acts);
            }
        }
        let mut out = Output::default();
        for judged in &self.judged {
            let ancestors = acts.remove(&judged.key).unwrap_or_default();
            let status = Status::Policy(self.status(judged, &ancestors, surroundings));
            out.statuses.push((key(judged), Arc::new(status)));
        }
        out
    }

    /// Notes what policies that requests run through together are to one ancestor.
    fn note<'a>(
        &'a self,
        through: Through,
        keys: &'a [Key],
        surroundings: &Surroundings<'_>,
        acts: &mut Acts<'a>,
    ) {
        if keys.is_empty() {
            return;
        }
        let Some((kind, namespace, name)) = ancestor(surroundings, through) else { return };
        let ancestor: Ancestor = (kind, namespace, name, None);
        for key in keys {
            acts.entry(key).or_default().entry(ancestor.clone()).or_default();
        }
        let security = |resource: &'a Resource| {
            if let Resource::SecurityPolicy(policy) = resource { Some(&**policy) } else { None }
        };
        let traffic = |resource: &'a Resource| {
            if let Resource::BackendTrafficPolicy(policy) = resource { Some(&**policy) } else { None }
        };
        self.weigh::<SecuritySet>(keys, &ancestor, security, acts);
        self.weigh::<TrafficSet>(keys, &ancestor, traffic, acts);
    }

    /// Notes which parts of policies of one kind do not hold.
    fn weigh<'a, S: Parts + 'a>(
        &'a self,
        keys: &'a [Key],
        ancestor: &Ancestor,
        of: impl Fn(&'a Resource) -> Option<&'a Attached<S>>,
        acts: &mut Acts<'a>,
    ) {
        let found = keys.iter().filter_map(|key| Some((key, of(&self.find(key)?.resource)?)));
        let (keys, levels): (Vec<&Key>, Vec<&Attached<S>>) = found.unzip();
        for part in effective(&levels) {
            let Some(winner) = keys.get(part.from.level) else { continue };
            for loser in part.lost.iter().filter_map(|said| keys.get(said.level)) {
                let lost = acts.entry(loser).or_default().entry(ancestor.clone()).or_default();
                let how = if part.from.is_override { "overrides" } else { "defaults" };
                lost.entry(part.name.clone()).or_default().insert(format!("{how} of {}", written(winner)));
            }
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
        for reference in judged.policy.spec().targets() {
            let target = target(&judged.policy, reference, &self.installation);
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
        let at = (judged.key.kind, target.clone());
        let holder = self.holders.get(&at).filter(|holder| **holder != judged.key)?;
        let section = target.section.iter().map(|section| format!(", section {section}")).collect::<String>();
        let message = format!(
            "targetRefs: {} has the target {} {}{section} too and is older, or first by name: keep one of them",
            written(holder),
            target.object.kind.as_str(),
            target.object.name
        );
        Some((reason::CONFLICTED, message))
    }
}

/// What there is not of a target.
fn missing(target: &Target, surroundings: &Surroundings<'_>) -> Option<String> {
    let Target { object, section } = target;
    let (kind, namespace, name) = (object.kind, &*object.namespace, &*object.name);
    let Some(sections) = sections(kind, namespace, name, surroundings) else {
        let whose = if kind == ObjectKind::GatewayClass {
            " of Fairway"
        } else if kind == ObjectKind::Gateway {
            " of a class of Fairway"
        } else if kind == ObjectKind::ListenerSet {
            " of a Gateway of Fairway"
        } else {
            ""
        };
        let at = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
        return Some(format!("there is no {} {at}{whose}", kind.as_str()));
    };
    let section = section.as_deref().filter(|section| !sections.contains(section))?;
    let is_route = matches!(kind, ObjectKind::HttpRoute | ObjectKind::GrpcRoute);
    let what = if is_route { "rule" } else { "listener" };
    Some(format!("{} {namespace}/{name} has no {what} {section:?}", kind.as_str()))
}

/// The names of its listeners or rules, if it is there.
fn sections<'a>(
    kind: ObjectKind,
    namespace: &str,
    name: &str,
    surroundings: &'a Surroundings<'_>,
) -> Option<Vec<&'a str>> {
    let (resources, gateways) = (surroundings.cluster.resources, surroundings.gateways);
    let listeners = |slot: usize, set: Option<usize>| {
        let all = gateways.get(slot).into_iter().flat_map(|gateway| &gateway.listeners);
        all.filter(|listener| listener.set == set).map(|listener| listener.name.as_str()).collect()
    };
    if kind == ObjectKind::GatewayClass {
        resources.gateway_classes.get("", name).filter(|class| is_ours(class)).map(|_| Vec::new())
    } else if kind == ObjectKind::Gateway {
        gateways.find(namespace, name).map(|slot| listeners(slot, None))
    } else if kind == ObjectKind::ListenerSet {
        gateways.find_set(namespace, name).map(|(slot, set)| listeners(slot, Some(set)))
    } else if kind == ObjectKind::HttpRoute {
        let rules = resources.http_routes.get(namespace, name)?.spec.rules.iter().flatten();
        Some(rules.filter_map(|rule| rule.name.as_deref()).collect())
    } else if kind == ObjectKind::GrpcRoute {
        let rules = resources.grpc_routes.get(namespace, name)?.spec.rules.iter().flatten();
        Some(rules.filter_map(|rule| rule.name.as_deref()).collect())
    } else if kind == ObjectKind::Service {
        resources.services.get(namespace, name).map(|_| Vec::new())
    } else {
        Some(Vec::new())
    }
}

fn condition(
    judged: &Judged,
    r#type: &'static str,
    status: ConditionStatus,
    reason: &'static str,
    message: String,
) -> Condition {
    Condition::new(r#type, status, reason, message, judged.policy.generation())
}

fn accepted(judged: &Judged) -> Condition {
    let followed = std::iter::once("The policy is followed.");
    let message = followed.chain(judged.notes.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    condition(judged, condition_type::ACCEPTED, ConditionStatus::True, reason::ACCEPTED, message)
}

/// Where it acts.
fn conditions(judged: &Judged, lost: &Lost) -> Conditions {
    if !judged.problems.is_empty() {
        return conditions_of_invalid(judged);
    }
    let mut all = vec![
        accepted(judged),
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
    let nothing = "No request reaches the target through a Gateway or waypoint of Fairway.".to_owned();
    vec![
        accepted(judged),
        condition(judged, condition_type::ENFORCED, ConditionStatus::False, reason::NO_EFFECT, nothing),
    ]
}

/// The entry of a target itself.
fn at(judged: &Judged, reference: &TargetRef, target: Option<&Target>) -> Ancestor {
    match target {
        Some(Target { object, section }) => {
            (object.kind, object.namespace.clone(), object.name.clone(), section.clone())
        }
        // What it names cannot be a target: the policy stands for itself.
        None => {
            let own = key(judged);
            (own.kind, own.namespace, own.name, Some(reference.kind.as_str().into()))
        }
    }
}

fn parent_ref((kind, namespace, name, section): Ancestor) -> ParentRef {
    let group = kind.group();
    ParentRef {
        group: Some(group.to_owned()),
        kind: Some(kind.as_str().to_owned()),
        namespace: (!namespace.is_empty()).then(|| namespace.to_string()),
        name: name.to_string(),
        section_name: section
            .filter(|_| !matches!(kind, ObjectKind::SecurityPolicy | ObjectKind::BackendTrafficPolicy))
            .map(|section| section.to_string()),
        ..ParentRef::default()
    }
}

/// The object itself.
fn key(judged: &Judged) -> ObjectKey {
    ObjectKey::new(judged.policy.kind(), judged.policy.namespace(), judged.policy.name())
}
