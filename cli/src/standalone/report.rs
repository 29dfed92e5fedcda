//! What a change did, in lines.

use std::fmt::Write as _;
use std::time::Duration;

use controller::local::IdleParameters;
use controller::manifests::{Change, ChangeKind, Finding};
use controller::status::{Condition, ConditionStatus, Status};
use controller::{ObjectKey, Statuses};

use crate::findings::is_wrong;
use crate::table::short;

/// Objects named per line.
const NAMED: usize = 6;
/// Statuses told per change.
const TOLD: usize = 20;

/// A condition that says something else than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flip {
    object: ObjectKey,
    part: String,
    before: Option<ConditionStatus>,
    now: Condition,
}

/// What differs between two sets of statuses. Of new objects only what is wrong is told, of removed ones nothing.
pub(crate) fn flips(before: &Statuses, now: &Statuses) -> Vec<Flip> {
    let mut flips = Vec::new();
    for (key, status) in &now.0 {
        let old = before.0.get(key);
        if old.is_some_and(|old| std::sync::Arc::ptr_eq(old, status)) {
            continue;
        }
        for (part, conditions) in status.conditions() {
            for now in conditions {
                let before = old.and_then(|old| status_of(old, &part, now.r#type));
                if before.map_or(is_wrong(now), |before| before != now.status) {
                    flips.push(Flip { object: key.clone(), part: part.clone(), before, now: now.clone() });
                }
            }
        }
    }
    flips
}

fn status_of(status: &Status, part: &str, r#type: &str) -> Option<ConditionStatus> {
    let (_, conditions) = status.conditions().into_iter().find(|(other, _)| other == part)?;
    conditions.iter().find(|condition| condition.r#type == r#type).map(|condition| condition.status)
}

/// A change that is served.
pub(crate) fn changed(version: u64, took: Duration, changes: &[Change], flips: &[Flip]) -> String {
    let of = |kind: ChangeKind| -> Vec<String> {
        changes.iter().filter(|change| change.kind == kind).map(|change| change.object.to_string()).collect()
    };
    let kinds =
        [("added", ChangeKind::Added), ("changed", ChangeKind::Changed), ("removed", ChangeKind::Removed)];
    let what: Vec<String> = kinds
        .into_iter()
        .map(|(word, kind)| (word, of(kind)))
        .filter(|(_, names)| !names.is_empty())
        .map(|(word, names)| format!("{word} {}", short(&names, NAMED)))
        .collect();
    let mut text =
        format!("live v{version} after {:.1} ms: {}", took.as_secs_f64() * 1000.0, what.join("; "));
    for flip in flips.iter().take(TOLD) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {flip}");
    }
    if flips.len() > TOLD {
        let _ = write!(text, "\n  and {} more statuses", flips.len() - TOLD);
    }
    text
}

impl std::fmt::Display for Flip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { object, part, before, now } = self;
        write!(f, "{object}")?;
        if !part.is_empty() {
            write!(f, " {part}")?;
        }
        write!(f, ": {} ", now.r#type)?;
        if let Some(before) = before {
            write!(f, "{before:?} -> ")?;
        }
        write!(f, "{:?} ({})", now.status, now.reason)?;
        if is_wrong(now) {
            write!(f, ": {}", now.message)?;
        }
        Ok(())
    }
}

/// A FairwayProxy that nobody follows here, and what there is instead.
pub(crate) fn idle(parameters: &IdleParameters) -> String {
    let instead = |field: &String| match &**field {
        "spec.drain.seconds" => format!("{field} (instead: --drain)"),
        "spec.logging.accessLog" => format!("{field} (instead: --access-log)"),
        "spec.logging.level" => format!("{field} (instead: RUST_LOG)"),
        _ => field.clone(),
    };
    let fields: Vec<String> = parameters.fields.iter().map(instead).collect();
    format!(
        "{} has no effect here, where one process serves every Gateway: {}",
        parameters.object,
        fields.join(", ")
    )
}

/// A file that is refused.
pub(crate) fn refused(finding: &Finding) -> String {
    format!("refused {finding}\n  what this file said last serves on")
}

#[cfg(test)]
mod tests {
    use super::*;
    use controller::ObjectKind;
    use controller::status::{ParentRef, ParentStatus, RouteStatus};
    use std::sync::Arc;

    fn statuses(resolved: ConditionStatus) -> Statuses {
        let condition = |r#type, status| Condition {
            r#type,
            status,
            reason: "Why",
            message: "because".into(),
            observed_generation: None,
        };
        let parent = ParentStatus {
            parent_ref: ParentRef { name: "edge".into(), ..ParentRef::default() },
            controller_name: controller::CONTROLLER_NAME,
            conditions: vec![
                condition("Accepted", ConditionStatus::True),
                condition("ResolvedRefs", resolved),
            ],
        };
        let status = Status::Route(RouteStatus { parents: vec![parent] });
        Statuses([(ObjectKey::new(ObjectKind::HttpRoute, "n", "r"), Arc::new(status))].into())
    }

    #[test]
    fn what_is_not_followed_is_told_with_what_there_is_instead() {
        let parameters = IdleParameters {
            object: ObjectKey::new(ObjectKind::FairwayProxy, "shop", "edge"),
            fields: vec!["spec.replicas".into(), "spec.drain.seconds".into()],
        };
        assert_eq!(
            idle(&parameters),
            "FairwayProxy/shop/edge has no effect here, where one process serves every Gateway: spec.replicas, \
             spec.drain.seconds (instead: --drain)"
        );
    }

    #[test]
    fn only_what_differs_is_told() {
        let (good, bad) = (statuses(ConditionStatus::True), statuses(ConditionStatus::False));
        assert_eq!(flips(&good, &good), []);
        assert_eq!(flips(&Statuses::default(), &good), []);
        let told: Vec<String> = flips(&good, &bad).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["HTTPRoute/n/r parent Gateway/edge: ResolvedRefs True -> False (Why): because"]);
        assert_eq!(flips(&Statuses::default(), &bad).len(), 1);
        assert_eq!(
            flips(&bad, &good)[0].to_string(),
            "HTTPRoute/n/r parent Gateway/edge: ResolvedRefs False -> True (Why)"
        );
    }
}
