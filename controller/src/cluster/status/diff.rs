//! From a status to the write that makes it so, or to none: pure.
//!
//! Two ways of writing, because the lists differ. Conditions, listeners and features are lists with keys, so they are
//! server-side applied and the API server merges. `parents` and `ancestors` are *atomic* lists that several controllers
//! share: applying one replaces it whole, with everybody's entries. Those are read, changed in our own entries only,
//! and written back with the resourceVersion that was read, so that a write in between is a conflict and not a loss.

use serde_json::{Map, Value, json};

use crate::CONTROLLER_NAME;
use crate::status::{Status, condition_type};

/// Condition types that are ours wherever we write conditions: one that is no longer said has to go.
const OURS: &[&str] = &[
    condition_type::ACCEPTED,
    condition_type::CONFLICTED,
    condition_type::ENFORCED,
    condition_type::OVERRIDDEN,
    condition_type::OVERLAPPING_TLS_CONFIG,
    condition_type::PARTIALLY_INVALID,
    condition_type::PROGRAMMED,
    condition_type::RESOLVED_REFS,
    condition_type::SUPPORTED_VERSION,
    condition_type::WAYPOINT_BOUND,
];

/// The part of an object's status that is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    /// To server-side apply: the whole status.
    Apply(Value),
    /// To merge, with the resourceVersion it was made from: `{"parents": […]}` or `{"ancestors": […]}`.
    Merge(Value),
}

/// How a status is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Own,
    Shared(&'static str),
}

/// What has to be written so that `observed` says `desired`. `None`: nothing. Without `desired`, our entries are taken
/// out of what is shared; what is ours alone is left to whoever has the object now.
pub(super) fn write(
    desired: Option<&Status>,
    observed: &Value,
    kind_shape: &Status,
    now: &str,
) -> Option<Write> {
    match shape(kind_shape) {
        // Of a Service only a condition is ours, and it goes when nothing is said any more.
        Shape::Own if matches!(kind_shape, Status::Service(_)) => {
            own(desired.unwrap_or(kind_shape), observed, now)
        }
        Shape::Own => own(desired?, observed, now),
        Shape::Shared(list) => shared(list, desired, observed, now),
    }
}

fn shape(status: &Status) -> Shape {
    match status {
        Status::GatewayClass(_)
        | Status::Gateway(_)
        | Status::ListenerSet(_)
        | Status::Service(_)
        | Status::Rollout(_) => Shape::Own,
        Status::Route(_) => Shape::Shared("parents"),
        Status::Policy(_) => Shape::Shared("ancestors"),
    }
}

fn own(desired: &Status, observed: &Value, now: &str) -> Option<Write> {
    let mut status = serde_json::to_value(desired).unwrap_or_default();
    stamp(&mut status, observed, now);
    (!is_said(&status, observed)).then_some(Write::Apply(status))
}

/// Whether an object's own status says all of this, and nothing of ours beside it.
fn is_said(status: &Value, observed: &Value) -> bool {
    let is_said = status.as_object().is_some_and(|status| {
        status.iter().all(|(field, value)| match field.as_str() {
            "conditions" => same_conditions(value, observed.get(field)),
            "listeners" => same_listeners(value, observed.get(field)),
            _ => observed.get(field) == Some(value),
        })
    });
    // A field that is left out when it is empty.
    let is_silent = ["addresses", "attachedListenerSets", "supportedFeatures"]
        .iter()
        .all(|field| status.get(*field).is_some() || observed.get(*field).is_none_or(is_empty));
    is_said && is_silent
}

/// Whether nothing is to be written but how many routes or ListenerSets are attached.
pub(super) fn only_counts(observed: &Value, new: &Value) -> bool {
    let mut new = new.clone();
    copy_field("attachedListenerSets", observed, &mut new);
    for listener in new.get_mut("listeners").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(old) = find(observed.get("listeners"), "name", listener.get("name")) {
            copy_field("attachedRoutes", old, listener);
        }
    }
    is_said(&new, observed)
}

fn copy_field(field: &str, from: &Value, to: &mut Value) {
    let Some(to) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => drop(to.insert(field.to_owned(), value.clone())),
        None => drop(to.remove(field)),
    }
}

fn is_empty(value: &Value) -> bool {
    *value == Value::Null || *value == json!(0) || value.as_array().is_some_and(Vec::is_empty)
}

/// Of an atomic list that controllers share.
const MAX: &[(&str, usize)] = &[("parents", 32), ("ancestors", 16)];

fn shared(list: &str, desired: Option<&Status>, observed: &Value, now: &str) -> Option<Write> {
    let mut desired =
        desired.map(|status| serde_json::to_value(status).unwrap_or_default()).unwrap_or_default();
    let mut entries =
        desired.get_mut(list).and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    let old = observed.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_ours =
        |entry: &&Value| entry.get("controllerName").and_then(Value::as_str) == Some(CONTROLLER_NAME);
    let (ours, others): (Vec<&Value>, Vec<&Value>) = old.iter().partition(is_ours);
    let max = MAX.iter().find(|(name, _)| *name == list).map_or(16, |(_, max)| *max);
    entries.truncate(max.saturating_sub(others.len()));
    for entry in &mut entries {
        let same_ref = |old: &&&Value| reference(old) == reference(entry);
        let before = ours.iter().find(same_ref).copied().cloned().unwrap_or_default();
        stamp(entry, &before, now);
    }
    if entries.len() == ours.len() && entries.iter().zip(&ours).all(|(new, old)| new == *old) {
        return None;
    }
    let all: Vec<Value> = others.into_iter().cloned().chain(entries).collect();
    let mut status = Map::new();
    status.insert(list.to_owned(), all.into());
    Some(Write::Merge(Value::Object(status)))
}

/// What an entry is about, with the API's defaults filled in: the API server does so.
fn reference(entry: &Value) -> Value {
    let mut reference =
        entry.get("parentRef").or_else(|| entry.get("ancestorRef")).cloned().unwrap_or_default();
    if let Some(fields) = reference.as_object_mut() {
        fields.entry("group").or_insert_with(|| "gateway.networking.k8s.io".into());
        fields.entry("kind").or_insert_with(|| "Gateway".into());
    }
    reference
}

/// Gives every condition a `lastTransitionTime`: that of before while its status is the same, else now. Also fills in
/// references as the API server would, so that what it returns is what was meant.
fn stamp(new: &mut Value, old: &Value, now: &str) {
    for field in ["parentRef", "ancestorRef"] {
        if new.get(field).is_some() {
            let full = reference(new);
            if let Some(fields) = new.as_object_mut() {
                fields.insert(field.to_owned(), full);
            }
        }
    }
    for condition in new.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        let before = find(old.get("conditions"), "type", condition.get("type"));
        let is_same = before.is_some_and(|before| before.get("status") == condition.get("status"));
        let time = before.filter(|_| is_same).and_then(|before| before.get("lastTransitionTime")).cloned();
        if let Some(fields) = condition.as_object_mut() {
            fields.insert("lastTransitionTime".to_owned(), time.unwrap_or_else(|| json!(now)));
        }
    }
    for listener in new.get_mut("listeners").and_then(Value::as_array_mut).into_iter().flatten() {
        let before = find(old.get("listeners"), "name", listener.get("name")).cloned().unwrap_or_default();
        stamp(listener, &before, now);
    }
}

/// The entry of a list with keys.
fn find<'a>(list: Option<&'a Value>, key: &str, value: Option<&Value>) -> Option<&'a Value> {
    list?.as_array()?.iter().find(|entry| entry.get(key) == value)
}

/// Whether all conditions are said as they should be, and none of ours beside them.
fn same_conditions(new: &Value, old: Option<&Value>) -> bool {
    let said = new.as_array().map(Vec::as_slice).unwrap_or_default();
    let heard = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    said.iter().all(|condition| find(old, "type", condition.get("type")) == Some(condition))
        && heard.iter().all(|condition| {
            let is_ours = condition.get("type").and_then(Value::as_str).is_some_and(|t| OURS.contains(&t));
            !is_ours || find(Some(new), "type", condition.get("type")).is_some()
        })
}

fn same_listeners(new: &Value, old: Option<&Value>) -> bool {
    let said = new.as_array().map(Vec::as_slice).unwrap_or_default();
    let heard = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    said.len() == heard.len()
        && said.iter().all(|listener| {
            let Some(old) = find(old, "name", listener.get("name")) else { return false };
            let fields = listener.as_object().into_iter().flatten();
            let mut rest = fields.filter(|(field, _)| *field != "conditions");
            rest.all(|(field, value)| old.get(field) == Some(value))
                && same_conditions(listener.get("conditions").unwrap_or(&Value::Null), old.get("conditions"))
        })
}

#[cfg(test)]
mod tests;
