//! ListenerSets: listeners that are added to a Gateway from outside it.
//!
//! Once a set may attach, its listeners stand behind those of the Gateway in the same list, and everything that is
//! true of a Gateway's listeners is true of them. What a reader would get wrong: whatever a set's listener refers to
//! or allows, "the same namespace" is the set's, never the Gateway's.

use std::sync::Arc;

use config::identity::Role;
use gateway_api::experimental::gateways::GatewayAllowedListenersNamespacesFrom as From;
use rustc_hash::FxHashMap;

use super::gateway::Draft as GatewayDraft;
use super::gateway_status::{WAITING, listener_status};
use super::listener::{Draft as ListenerDraft, Namespaces};
use super::reference_grant::GATEWAY_GROUP;
use super::selector::Selector;
use super::{Output, PENDING, parameters};
use crate::ObjectKey;
use crate::api;
use crate::resources::{Named, ObjectKind, Resources};
use crate::status::{Condition, ConditionStatus, ListenerSetStatus, Status, condition_type, reason};

/// A ListenerSet that names a Gateway of ours.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) object: &'a api::ListenerSet,
    /// The Gateway lets it attach: its listeners are among the Gateway's.
    pub(crate) is_allowed: bool,
}

/// Every ListenerSet, by namespace and name of the Gateway it names, oldest first.
pub(crate) type ByParent<'a> = FxHashMap<(&'a str, &'a str), Vec<&'a api::ListenerSet>>;

pub(crate) fn by_parent(resources: &Resources) -> ByParent<'_> {
    let mut sets = ByParent::default();
    for set in &resources.listener_sets {
        let parent = &set.spec.parent_ref;
        let group = parent.group.as_deref().unwrap_or(GATEWAY_GROUP);
        if (group, parent.kind.as_deref().unwrap_or("Gateway")) == (GATEWAY_GROUP, "Gateway") {
            let namespace = parent.namespace.as_deref().unwrap_or_else(|| set.namespace());
            sets.entry((namespace, parent.name.as_str())).or_default().push(set);
        }
    }
    sets
}

/// Adds the listeners of the sets a Gateway allows behind its own. Gateway API: "1. "parent" Gateway 2. ListenerSet
/// ordered by creation time (oldest first) 3. ListenerSet ordered alphabetically by "{namespace}/{name}"".
pub(crate) fn attach<'a>(gateway: &mut GatewayDraft<'a>, sets: &ByParent<'a>, resources: &Resources) {
    let (namespace, name) = (gateway.object.namespace(), gateway.object.name());
    let allowed = allowed(gateway.object).unwrap_or_else(|problem| {
        gateway.notes.push(problem);
        Namespaces::None
    });
    let is_waypoint = parameters::role(gateway.object) == Role::Waypoint;
    for &object in sets.get(&(namespace, name)).into_iter().flatten() {
        let labels = resources.namespaces.get("", object.namespace());
        let labels = labels.and_then(|namespace| namespace.metadata.labels.as_ref());
        let is_allowed = allowed.allow(namespace, object.namespace(), labels);
        if is_allowed {
            gateway.listeners.extend(
                object
                    .spec
                    .listeners
                    .iter()
                    .map(|spec| ListenerDraft { set: Some(object), ..ListenerDraft::new(spec, is_waypoint) }),
            );
        }
        gateway.sets.push(Draft { object, is_allowed });
    }
}

/// From which namespaces ListenerSets may attach to a Gateway; the default is none.
fn allowed(gateway: &api::Gateway) -> Result<Namespaces, String> {
    let namespaces = gateway.spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    let Some(namespaces) = namespaces else { return Ok(Namespaces::None) };
    match (&namespaces.from, &namespaces.selector) {
        (Some(From::All), _) => Ok(Namespaces::All),
        (Some(From::Same), _) => Ok(Namespaces::Same),
        (Some(From::None) | None, _) => Ok(Namespaces::None),
        (Some(From::Selector), Some(selector)) => {
            let expressions = selector.match_expressions.iter().flatten();
            let expressions = expressions.map(|e| (e.key.as_str(), e.operator.as_str(), e.values.as_ref()));
            let selector = Selector::new(selector.match_labels.as_ref(), expressions);
            selector.map(Namespaces::Selected).map_err(|problem| {
                format!("allowedListeners.namespaces.selector.{problem}, so no ListenerSet can attach.")
            })
        }
        (Some(From::Selector), None) => Err(
            "allowedListeners.namespaces.selector: from Selector needs one, so no ListenerSet can attach."
                .to_owned(),
        ),
    }
}

/// How many ListenerSets are attached. Gateway API: selected by allowedListeners, with a valid parentRef, and
/// "Accepted: true".
pub(crate) fn attached(gateway: &GatewayDraft<'_>) -> usize {
    gateway.sets.iter().filter(|set| accepted(gateway, set).status == ConditionStatus::True).count()
}

/// Writes the status of every ListenerSet of a Gateway; `attached` counts routes by listener.
pub(crate) fn statuses(gateway: &GatewayDraft<'_>, attached: &[i32], out: &mut Output) {
    for set in &gateway.sets {
        let listeners = listeners(gateway, set);
        let status = ListenerSetStatus {
            conditions: conditions(gateway, set),
            listeners: listeners
                .map(|(at, listener)| listener_status(gateway, listener, attached.get(at)))
                .collect(),
            gateway: ObjectKey::new(ObjectKind::Gateway, gateway.object.namespace(), gateway.object.name()),
        };
        let key = ObjectKey::new(ObjectKind::ListenerSet, set.object.namespace(), set.object.name());
        out.statuses.push((key, Arc::new(Status::ListenerSet(status))));
    }
}

/// The listeners of a set with their places in the Gateway's list.
fn listeners<'g, 'a>(
    gateway: &'g GatewayDraft<'a>,
    set: &'g Draft<'a>,
) -> impl Iterator<Item = (usize, &'g ListenerDraft<'a>)> {
    let listeners = gateway.listeners.iter().enumerate();
    listeners.filter(|(_, listener)| listener.set.is_some_and(|of| std::ptr::eq(of, set.object)))
}

fn conditions(gateway: &GatewayDraft<'_>, set: &Draft<'_>) -> Vec<Condition> {
    let accepted = accepted(gateway, set);
    let programmed = |status, reason, message| {
        let generation = set.object.metadata.generation;
        Condition::new(condition_type::PROGRAMMED, status, reason, message, generation)
    };
    let has_no_address =
        gateway.problems.iter().any(|problem| problem.condition == condition_type::PROGRAMMED);
    let programmed = match accepted.status {
        ConditionStatus::False if accepted.reason == reason::PARENT_NOT_ACCEPTED => {
            programmed(ConditionStatus::False, reason::PARENT_NOT_PROGRAMMED, accepted.message.clone())
        }
        ConditionStatus::False | ConditionStatus::Unknown => {
            programmed(accepted.status, accepted.reason, accepted.message.clone())
        }
        ConditionStatus::True if has_no_address => programmed(
            ConditionStatus::False,
            reason::PARENT_NOT_PROGRAMMED,
            "parentRef: the Gateway has no usable address: see its status".into(),
        ),
        ConditionStatus::True => programmed(ConditionStatus::Unknown, reason::PENDING, WAITING.into()),
    };
    vec![accepted, programmed]
}

fn accepted(gateway: &GatewayDraft<'_>, set: &Draft<'_>) -> Condition {
    let condition = |status, reason, message: String| {
        let generation = set.object.metadata.generation;
        Condition::new(condition_type::ACCEPTED, status, reason, message, generation)
    };
    let name = format!("{}/{}", gateway.object.namespace(), gateway.object.name());
    if !set.is_allowed {
        let message = format!(
            "parentRef: Gateway {name} does not allow ListenerSets from namespace {}: see its allowedListeners",
            set.object.namespace()
        );
        return condition(ConditionStatus::False, reason::NOT_ALLOWED, message);
    }
    if gateway.problems.iter().any(|problem| problem.condition == PENDING) {
        let message = format!("parentRef: Gateway {name} is not accepted yet.");
        return condition(ConditionStatus::Unknown, reason::PENDING, message);
    }
    if !gateway.is_accepted() {
        let message = format!("parentRef: Gateway {name} is not accepted: see its status");
        return condition(ConditionStatus::False, reason::PARENT_NOT_ACCEPTED, message);
    }
    let (usable, unusable): (Vec<_>, Vec<_>) =
        listeners(gateway, set).map(|(_, listener)| listener).partition(|listener| listener.is_usable());
    let names = |listeners: &[&ListenerDraft<'_>]| {
        listeners.iter().map(|listener| listener.spec.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    if unusable.is_empty() {
        return condition(ConditionStatus::True, reason::ACCEPTED, "The ListenerSet is attached.".to_owned());
    }
    let (status, served) = if usable.is_empty() {
        (ConditionStatus::False, "none".to_owned())
    } else {
        (ConditionStatus::True, names(&usable))
    };
    let message = format!("Listeners not served: {}; served: {served}.", names(&unusable));
    condition(status, reason::LISTENERS_NOT_VALID, message)
}
