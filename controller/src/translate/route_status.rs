//! What we say of a route, per parent.

use std::borrow::Cow;

use super::route::{Entry, Route, Verdict};
use crate::CONTROLLER_NAME;
use crate::status::condition::join;
use crate::status::{Condition, ConditionStatus, ParentStatus, Problem, RouteStatus, condition_type, reason};

/// The status of a route.
pub(crate) fn status<T: Route>(entry: &Entry<T>, verdict: &Verdict) -> RouteStatus {
    let generation = entry.object.meta().generation;
    let resolved = Condition::judge(
        condition_type::RESOLVED_REFS,
        &verdict.problems,
        reason::RESOLVED_REFS,
        "All references are resolved.",
        generation,
    );
    let partially_invalid = partially_invalid(verdict, generation);
    let parents = entry.attached.parents.iter().enumerate().map(|(index, (reference, problem))| {
        let accepted = accepted(entry, index, problem.as_ref(), verdict, generation);
        let is_accepted = accepted.status == ConditionStatus::True;
        let mut conditions = vec![accepted, resolved.clone()];
        // Gateway API: "This condition MUST NOT be set if a Route is fully valid, fully invalid, or not
        // accepted."
        if is_accepted {
            conditions.extend(partially_invalid.clone());
        }
        ParentStatus { parent_ref: reference.clone(), controller_name: CONTROLLER_NAME, conditions }
    });
    RouteStatus { parents: parents.collect() }
}

fn accepted<T: Route>(
    entry: &Entry<T>,
    parent: usize,
    problem: Option<&Problem>,
    verdict: &Verdict,
    generation: Option<i64>,
) -> Condition {
    if let Some(problem) = problem {
        return Condition::judge(condition_type::ACCEPTED, [problem], "", "", generation);
    }
    if verdict.is_invalid {
        return Condition::judge(
            condition_type::ACCEPTED,
            &verdict.problems,
            reason::UNSUPPORTED_VALUE,
            "",
            generation,
        );
    }
    let lost: Vec<&str> = entry
        .lost
        .iter()
        .filter(|(index, _)| entry.attached.candidates.get(**index).is_some_and(|c| c.parent == parent))
        .map(|(_, owner)| owner.as_str())
        .collect();
    let wanted = entry.attached.candidates.iter().filter(|candidate| candidate.parent == parent).count();
    let (Some(owner), stays) = (lost.first(), wanted > lost.len()) else {
        let of_parent = |(index, _): &(&usize, &String)| {
            entry.attached.candidates.get(**index).is_some_and(|candidate| candidate.parent == parent)
        };
        let message = match entry.outranked.iter().find(of_parent) {
            None => "The route is attached.".into(),
            Some((_, first)) => Cow::Owned(format!(
                "The route is attached, but {first}, which is older or first by name, gets what both ask for."
            )),
        };
        return Condition::new(
            condition_type::ACCEPTED,
            ConditionStatus::True,
            reason::ACCEPTED,
            message,
            generation,
        );
    };
    if stays {
        let message = format!("The route is attached, save where {owner} stands.");
        return Condition::new(
            condition_type::ACCEPTED,
            ConditionStatus::True,
            reason::ACCEPTED,
            message,
            generation,
        );
    }
    let message = format!("{owner} stands there already, and one place takes only one kind of route.");
    Condition::new(condition_type::ACCEPTED, ConditionStatus::False, reason::CONFLICTED, message, generation)
}

/// Gateway API: "implementations will drop the invalid Route Rule(s) … The message for this condition MUST
/// start with the prefix "Dropped Rule" and include information about which Rules have been dropped." Ours
/// answer 500 in their place.
fn partially_invalid(verdict: &Verdict, generation: Option<i64>) -> Option<Condition> {
    let dropped = join(
        (verdict.problems.iter())
            .filter(|problem| problem.condition == condition_type::ACCEPTED)
            .map(|problem| problem.message.as_str()),
    );
    (!dropped.is_empty()).then(|| {
        Condition::new(
            condition_type::PARTIALLY_INVALID,
            ConditionStatus::True,
            reason::UNSUPPORTED_VALUE,
            format!("Dropped Rule: {dropped}. Requests it still matches get an error."),
            generation,
        )
    })
}
