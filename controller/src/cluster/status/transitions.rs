//! Which changes of a status are worth an Event: conditions that turn bad, a Gateway that becomes programmed, a policy that
//! becomes enforced. An Event says a transition once; the condition says the state.

use serde_json::Value;

use crate::status::{condition_type, reason};

/// A transition to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) is_warning: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

/// Types whose falling is worth a warning.
const GOOD: &[&str] = &[
    condition_type::ACCEPTED,
    condition_type::ENFORCED,
    condition_type::PROGRAMMED,
    condition_type::RESOLVED_REFS,
    condition_type::WAYPOINT_BOUND,
];
/// Reasons of what falls that are no news: an address takes a moment, and so does it to lead clients elsewhere.
const EXPECTED: &[&str] = &[
    reason::ADDRESS_NOT_ASSIGNED,
    reason::PENDING,
    reason::RELEASING,
    reason::NOT_CAPTURED,
    reason::OBSERVED,
];
/// Types whose rising is.
const BAD: &[&str] = &[condition_type::PARTIALLY_INVALID, condition_type::CONFLICTED];

/// What turned between two statuses, `new` being one of ours. At most a few: an object with many parents does not
/// flood its Events.
pub(super) fn transitions(old: &Value, new: &Value) -> Vec<Transition> {
    let mut found = Vec::new();
    compare("", old.get("conditions"), new.get("conditions"), &mut found);
    for (list, key, place) in [
        ("listeners", "name", "listener"),
        ("parents", "parentRef", "parent"),
        ("ancestors", "ancestorRef", "ancestor"),
    ] {
        for entry in new.get(list).and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = entry.get(key) else { continue };
            let is_same = |old: &&Value| {
                old.get(key) == Some(name) && old.get("controllerName") == entry.get("controllerName")
            };
            let before = old.get(list).and_then(Value::as_array).and_then(|list| list.iter().find(is_same));
            let name = name.as_str().or_else(|| name.get("name")?.as_str()).unwrap_or_default();
            let place = format!("{place} {name}: ");
            compare(
                &place,
                before.and_then(|before| before.get("conditions")),
                entry.get("conditions"),
                &mut found,
            );
        }
    }
    found.dedup();
    found.truncate(4);
    found
}

fn compare(place: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Transition>) {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let text =
        |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let old = list(old);
    for condition in list(new) {
        let (r#type, status) = (text(&condition, "type"), text(&condition, "status"));
        let before = old.iter().find(|old| text(old, "type") == r#type);
        let said = |old: &Value| (text(old, "status"), text(old, "reason"));
        if before.map(said) == Some((status.clone(), text(&condition, "reason"))) {
            continue;
        }
        let was = before.map(|old| text(old, "status")).unwrap_or_default();
        let is_bad = (GOOD.contains(&r#type.as_str()) && status == "False")
            || (BAD.contains(&r#type.as_str()) && status == "True");
        let is_programmed =
            place.is_empty() && r#type == condition_type::PROGRAMMED && status == "True" && was != "True";
        let is_enforced = [condition_type::ENFORCED, condition_type::WAYPOINT_BOUND]
            .contains(&r#type.as_str())
            && status == "True"
            && was != "True";
        let is_news = !EXPECTED.contains(&text(&condition, "reason").as_str());
        if (is_bad && is_news) || is_programmed || is_enforced {
            let message = format!("{place}{}", text(&condition, "message"));
            found.push(Transition { is_warning: is_bad, reason: text(&condition, "reason"), message });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conditions(programmed: &str, reason: &str) -> Value {
        json!({ "conditions": [{ "type": "Programmed", "status": programmed, "reason": reason, "message": "m" }] })
    }

    #[test]
    fn a_gateway_that_becomes_programmed_is_told_once() {
        let told = transitions(&conditions("Unknown", "Pending"), &conditions("True", "Programmed"));
        assert_eq!(told.len(), 1);
        assert!(!told[0].is_warning);
        assert!(transitions(&conditions("True", "Programmed"), &conditions("True", "Programmed")).is_empty());
    }

    #[test]
    fn a_policy_that_becomes_enforced_is_told_once() {
        let entry = |status: &str| {
            json!({ "ancestors": [{ "ancestorRef": { "name": "edge" }, "controllerName": "c", "conditions":
                [{ "type": "Enforced", "status": status, "reason": "Enforced", "message": "why" }] }] })
        };
        let told = transitions(&entry("Unknown"), &entry("True"));
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].is_warning, &*told[0].message), (false, "ancestor edge: why"));
        assert!(transitions(&entry("True"), &entry("True")).is_empty());
        assert!(transitions(&entry("True"), &entry("False"))[0].is_warning);
    }

    #[test]
    fn what_turns_bad_is_a_warning_with_its_place() {
        let entry = |status: &str| {
            json!({ "parents": [{ "parentRef": { "name": "edge" }, "controllerName": "c", "conditions":
                [{ "type": "Accepted", "status": status, "reason": "UnsupportedValue", "message": "why" }] }] })
        };
        let told = transitions(&entry("True"), &entry("False"));
        assert_eq!(
            told,
            [Transition {
                is_warning: true,
                reason: "UnsupportedValue".into(),
                message: "parent edge: why".into()
            }]
        );
        assert!(transitions(&entry("False"), &entry("True")).is_empty());
    }
}
