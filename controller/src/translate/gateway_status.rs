//! What we say of a Gateway and its listeners, before a proxy has answered.

use std::sync::Arc;

use super::gateway::Draft;
use super::listener::Draft as ListenerDraft;
use super::{Output, PENDING, client_validation, listener_set};
use crate::ObjectKey;
use crate::resources::{Named, ObjectKind};
use crate::status::{
    Condition, ConditionStatus, Conditions, GatewayStatus, ListenerStatus, Status, condition_type, reason,
};

pub(crate) const WAITING: &str = "Waiting for the proxies to answer.";

/// Writes the status of every Gateway and of its ListenerSets; `attached` counts routes by Gateway and listener.
pub(crate) fn translate(drafts: &[Draft<'_>], attached: &[Vec<i32>], out: &mut Output) {
    for (index, draft) in drafts.iter().enumerate() {
        let counts = attached.get(index).map(Vec::as_slice).unwrap_or_default();
        // Its own come first.
        let own = draft.own().enumerate();
        let listeners = own.map(|(index, listener)| listener_status(draft, listener, counts.get(index)));
        let status = GatewayStatus {
            addresses: draft.addresses.clone(),
            attached_listener_sets: i32::try_from(listener_set::attached(draft)).unwrap_or(i32::MAX),
            conditions: gateway_conditions(draft),
            listeners: listeners.collect(),
        };
        let key = ObjectKey::new(ObjectKind::Gateway, draft.object.namespace(), draft.object.name());
        out.statuses.push((key, Arc::new(Status::Gateway(status))));
        listener_set::statuses(draft, counts, out);
    }
}

/// What is said of a listener to which so many routes are attached.
pub(crate) fn listener_status(
    draft: &Draft<'_>,
    listener: &ListenerDraft<'_>,
    attached: Option<&i32>,
) -> ListenerStatus {
    ListenerStatus {
        name: listener.spec.name.clone(),
        attached_routes: attached.copied().unwrap_or_default(),
        supported_kinds: listener.kinds.list(),
        conditions: listener_conditions(draft, listener),
        is_capture: listener.is_capture(),
    }
}

fn listener_conditions(draft: &Draft<'_>, listener: &ListenerDraft<'_>) -> Conditions {
    let object = listener.set.map_or(&draft.object.metadata, |set| &set.metadata);
    let generation = object.generation;
    let problems = &listener.problems;
    let mut accepted = Condition::judge(
        condition_type::ACCEPTED,
        problems,
        reason::ACCEPTED,
        "The listener is valid.",
        generation,
    );
    if accepted.status == ConditionStatus::True && listener.ignores_certificates() {
        let message =
            "The listener is valid. Mode Passthrough shows no certificate: tls.certificateRefs is not used.";
        accepted.message = message.into();
    }
    let mut conflicted = Condition::new(
        condition_type::CONFLICTED,
        ConditionStatus::False,
        reason::NO_CONFLICTS,
        "No other listener has the same port, protocol and hostname.",
        generation,
    );
    if let Some((reason, message)) = &listener.conflict {
        conflicted =
            Condition::new(conflicted.r#type, ConditionStatus::True, reason, message.clone(), generation);
        if accepted.status == ConditionStatus::True {
            accepted =
                Condition::new(accepted.r#type, ConditionStatus::False, reason, message.clone(), generation);
        }
    }
    let programmed = |status, reason, message: String| {
        Condition::new(condition_type::PROGRAMMED, status, reason, message, generation)
    };
    let programmed = if let Some((reason, message)) = &listener.conflict {
        programmed(ConditionStatus::False, reason, message.clone())
    } else if accepted.status == ConditionStatus::False {
        programmed(ConditionStatus::False, reason::INVALID, accepted.message.to_string())
    } else if !listener.is_usable() {
        programmed(
            ConditionStatus::False,
            reason::INVALID,
            "The listener has no certificate to show.".to_owned(),
        )
    } else if draft.problems.iter().any(|problem| problem.condition == PENDING) {
        programmed(ConditionStatus::Unknown, reason::PENDING, "The Gateway is not accepted yet.".to_owned())
    } else if !draft.is_accepted() {
        programmed(ConditionStatus::False, reason::INVALID, "The Gateway is not accepted.".to_owned())
    } else if draft.is_unbindable {
        programmed(ConditionStatus::False, reason::INVALID, "The Gateway has no usable address.".to_owned())
    } else {
        programmed(ConditionStatus::Unknown, reason::PENDING, WAITING.to_owned())
    };
    let resolved = Condition::judge(
        condition_type::RESOLVED_REFS,
        problems,
        reason::RESOLVED_REFS,
        "All references are resolved.",
        generation,
    );
    let mut conditions = vec![accepted, programmed, resolved, conflicted];
    if !listener.overlapping.is_empty() {
        // Gateway API: "This is a negative polarity condition and MUST NOT be set when it is False."
        let message = format!(
            "The hostname overlaps with that of listener {} on the same port: a client that reuses a connection may \
             use the certificate of the other.",
            listener.overlapping.join(", ")
        );
        conditions.push(Condition::new(
            condition_type::OVERLAPPING_TLS_CONFIG,
            ConditionStatus::True,
            reason::OVERLAPPING_HOSTNAMES,
            message,
            generation,
        ));
    }
    conditions
}

fn gateway_conditions(draft: &Draft<'_>) -> Conditions {
    let generation = draft.object.metadata.generation;
    let condition =
        |r#type, status, reason, message: String| Condition::new(r#type, status, reason, message, generation);
    if let Some(pending) = draft.problems.iter().find(|problem| problem.condition == PENDING) {
        return [condition_type::ACCEPTED, condition_type::PROGRAMMED]
            .map(|r#type| {
                condition(r#type, ConditionStatus::Unknown, reason::PENDING, pending.message.clone())
            })
            .to_vec();
    }
    let accepted = accepted(draft);
    let live = draft.listeners.iter().any(|listener| draft.is_live(listener));
    let r#type = condition_type::PROGRAMMED;
    let judged = Condition::judge(r#type, &draft.problems, "", "", generation);
    let programmed = if accepted.status == ConditionStatus::False {
        condition(r#type, ConditionStatus::False, reason::INVALID, accepted.message.to_string())
    } else if judged.status == ConditionStatus::False {
        judged
    } else if !live {
        let message = "No listener can be opened: see their conditions.".to_owned();
        condition(r#type, ConditionStatus::False, reason::INVALID, message)
    } else {
        condition(r#type, ConditionStatus::Unknown, reason::PENDING, WAITING.to_owned())
    };
    let mut conditions = vec![accepted, programmed, resolved_refs(draft)];
    // Gateway API: "This condition is removed as soon as FrontendValidationModeType is changed back".
    if client_validation::is_insecure(draft.object) {
        conditions.push(condition(
            condition_type::INSECURE_FRONTEND_VALIDATION_MODE,
            ConditionStatus::True,
            reason::CONFIGURATION_CHANGED,
            "tls.frontend: AllowInsecureFallback serves clients without a valid certificate.".to_owned(),
        ));
    }
    conditions
}

fn accepted(draft: &Draft<'_>) -> Condition {
    let generation = draft.object.metadata.generation;
    let judged = Condition::judge(
        condition_type::ACCEPTED,
        &draft.problems,
        reason::ACCEPTED,
        "The Gateway is valid.",
        generation,
    );
    if judged.status == ConditionStatus::False {
        return judged;
    }
    let names = |listeners: Vec<&ListenerDraft<'_>>| {
        listeners.iter().map(|listener| listener.spec.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (usable, unusable): (Vec<_>, Vec<_>) = draft.own().partition(|l| l.is_usable());
    let note = draft.notes.iter().map(|note| format!(" {note}")).collect::<String>();
    if unusable.is_empty() {
        return Condition { message: format!("{}{note}", judged.message).into(), ..judged };
    }
    // Gateway API: "That Condition SHOULD clearly indicate in the Message which Listeners are conflicted, and
    // which are Accepted." The Gateway stands as long as one listener does.
    let any_accepted = draft.listeners.iter().any(ListenerDraft::is_accepted);
    let status = if any_accepted { ConditionStatus::True } else { ConditionStatus::False };
    let served = if usable.is_empty() { "none".to_owned() } else { names(usable) };
    let message = format!("Listeners not served: {}; served: {served}.{note}", names(unusable));
    Condition::new(condition_type::ACCEPTED, status, reason::LISTENERS_NOT_VALID, message, generation)
}

fn resolved_refs(draft: &Draft<'_>) -> Condition {
    let generation = draft.object.metadata.generation;
    let unresolved: Vec<_> = draft
        .own()
        .filter(|l| l.problems.iter().any(|p| p.condition == condition_type::RESOLVED_REFS))
        .map(|l| l.spec.name.as_str())
        .collect();
    let judged = Condition::judge(condition_type::RESOLVED_REFS, &draft.problems, "", "", generation);
    if judged.status == ConditionStatus::False {
        return judged;
    }
    let (status, reason, message) = if unresolved.is_empty() {
        (ConditionStatus::True, reason::RESOLVED_REFS, "All references are resolved.".to_owned())
    } else {
        let message = format!("Listeners with unresolved references: {}.", unresolved.join(", "));
        (ConditionStatus::False, reason::LISTENERS_NOT_RESOLVED, message)
    };
    Condition::new(condition_type::RESOLVED_REFS, status, reason, message, generation)
}
