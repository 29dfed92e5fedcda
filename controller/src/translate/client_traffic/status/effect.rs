//! What of a policy is in effect at the listeners of one Gateway, and why not the rest.

use std::collections::BTreeMap;

use super::super::leaves::group;
use super::super::port::is_shared;
use super::super::reach::Need;
use super::super::{GatewayDraft, Place, Traffic};
use crate::resources::Named;
use crate::status::condition::join_within;
use crate::status::{ConditionStatus, Problem, reason};
use crate::translate::listener::Draft as ListenerDraft;

/// Messages are for people.
const LONGEST: usize = 1_000;
/// Fields named in one sentence.
const MOST_FIELDS: usize = 8;

/// What became of a leaf at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    InEffect,
    /// A more specific policy says it.
    Overridden(usize),
    /// A port has it once, and another policy says it; `None`: a ListenerSet cannot.
    OfPort(Option<usize>),
    /// It contradicts what a more specific policy says.
    Contradicts,
    /// The listener has no use for it.
    NoUse,
}

/// The leaves of a policy by what became of them.
type Outcomes<'t> = BTreeMap<Outcome, Vec<&'t str>>;

pub(super) struct Effect<'t, 'a> {
    traffic: &'t Traffic<'a>,
    drafts: &'t [GatewayDraft<'a>],
    gateway: usize,
    policy: usize,
    /// Listeners the policy is about.
    listeners: Vec<(&'t ListenerDraft<'a>, &'t Place, Outcomes<'t>)>,
}

impl<'t, 'a> Effect<'t, 'a> {
    pub(super) fn new(
        traffic: &'t Traffic<'a>,
        drafts: &'t [GatewayDraft<'a>],
        gateway: usize,
        policy: usize,
    ) -> Self {
        let listeners = drafts.get(gateway).into_iter().flat_map(|draft| &draft.listeners);
        let places = traffic.places.get(gateway).into_iter().flatten();
        let concerned = listeners
            .zip(places)
            .filter(|(_, place)| place.levels.iter().any(|level| level.policy == policy));
        let listeners = concerned
            .map(|(listener, place)| (listener, place, outcomes(traffic, policy, listener, place)))
            .collect();
        Self { traffic, drafts, gateway, policy, listeners }
    }

    /// What is in effect: status, reason and message of the condition.
    pub(super) fn summary(&self) -> (ConditionStatus, &'static str, String) {
        let all: Vec<Outcome> =
            self.listeners.iter().flat_map(|(.., outcomes)| outcomes.keys().copied()).collect();
        let (status, reason) = if all.contains(&Outcome::InEffect) {
            (ConditionStatus::True, reason::EFFECTIVE)
        } else if all.iter().any(|outcome| matches!(outcome, Outcome::Overridden(_))) {
            (ConditionStatus::False, reason::OVERRIDDEN)
        } else {
            (ConditionStatus::False, reason::NO_EFFECT)
        };
        if all.is_empty() {
            let is_silent = self.traffic.policies.get(self.policy).is_some_and(|p| p.leaves.is_empty());
            let what = if is_silent { "The policy says nothing." } else { "The target has no listener." };
            return (status, reason, what.to_owned());
        }
        // Listeners of which the same is to be said, in order of the first.
        let mut said: Vec<(String, Vec<String>)> = Vec::new();
        for (listener, _, outcomes) in &self.listeners {
            let text = self.text(outcomes);
            match said.iter_mut().find(|(known, _)| *known == text) {
                Some((_, names)) => names.push(name(listener)),
                None => said.push((text, vec![name(listener)])),
            }
        }
        let parts: Vec<String> =
            said.iter().map(|(text, names)| format!("listener {}: {text}", list(names))).collect();
        (status, reason, join_within(parts.iter().map(String::as_str), LONGEST))
    }

    fn text(&self, outcomes: &Outcomes<'_>) -> String {
        let rest: Vec<String> = outcomes
            .iter()
            .filter_map(|(outcome, fields)| Some(format!("{} ({})", list(fields), self.why(*outcome)?)))
            .collect();
        match (outcomes.contains_key(&Outcome::InEffect), rest.is_empty()) {
            (true, true) => "all fields".to_owned(),
            (true, false) => format!("all but {}", rest.join(", ")),
            (false, _) => format!("nothing: {}", rest.join(", ")),
        }
    }

    /// `None`: it is in effect.
    fn why(&self, outcome: Outcome) -> Option<String> {
        Some(match outcome {
            Outcome::InEffect => return None,
            Outcome::Overridden(winner) => self.called(winner),
            Outcome::OfPort(Some(winner)) => format!("the port's is that of {}", self.called(winner)),
            Outcome::OfPort(None) => "the port is shared".to_owned(),
            Outcome::Contradicts => "contradicts a more specific policy".to_owned(),
            Outcome::NoUse => "no use".to_owned(),
        })
    }

    /// What the user has to know beside: values that lose for another reason than a more specific policy.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = self.of_ports();
        for (listener, place, _) in &self.listeners {
            problems.extend(place.clashes.iter().filter(|clash| clash.policy == self.policy).map(|clash| {
                let message = format!(
                    "{}: left out at listener {}, because with more specific policies {}",
                    clash.group,
                    name(listener),
                    clash.problem
                );
                Problem::accepted(reason::CONFLICTED, message)
            }));
        }
        let is_useless = |field: &&str| {
            self.listeners.iter().all(|(.., outcomes)| {
                outcomes.get(&Outcome::NoUse).is_some_and(|useless| useless.contains(field))
            })
        };
        let mut useless: BTreeMap<Need, Vec<&str>> = BTreeMap::new();
        let first = self.listeners.first().and_then(|(.., outcomes)| outcomes.get(&Outcome::NoUse));
        for field in first.into_iter().flatten().filter(|field| is_useless(field)) {
            useless.entry(Need::of(field)).or_default().push(field);
        }
        problems.extend(useless.iter().map(|(need, fields)| {
            let message = format!("{}: no use: no listener of the target {}", list(fields), need.words());
            Problem::accepted(reason::NO_EFFECT, message)
        }));
        problems
    }

    fn of_ports(&self) -> Vec<Problem> {
        let mut lost: BTreeMap<(i32, Option<usize>), Vec<&str>> = BTreeMap::new();
        for (listener, _, outcomes) in &self.listeners {
            for (outcome, fields) in outcomes {
                let Outcome::OfPort(winner) = outcome else { continue };
                let known = lost.entry((listener.spec.port, *winner)).or_default();
                known.extend(fields);
                known.sort_unstable();
                known.dedup();
            }
        }
        let message = |(port, winner): &(i32, Option<usize>), fields: &[&str]| {
            let why = match winner {
                Some(winner) => {
                    format!("all listeners of a port have one value, that of {}", self.called(*winner))
                }
                None => "only policies of the Gateway decide for a port that is not the ListenerSet's alone"
                    .to_owned(),
            };
            format!("{}: not in effect at port {port}: {why}", list(fields))
        };
        lost.iter().map(|(at, fields)| Problem::accepted(reason::CONFLICTED, message(at, fields))).collect()
    }

    /// The name of another policy, unless it is of another tenant. Gateway API: "Implementations SHOULD be cautious about
    /// what information from the parent or siblings are reported".
    fn called(&self, policy: usize) -> String {
        let of = |policy: usize| self.traffic.policies.get(policy).map(|judged| judged.policy);
        let namespace = |policy: usize| of(policy).map(Named::namespace);
        let owner = self.drafts.get(self.gateway).map(|draft| draft.object.namespace());
        let is_known = namespace(policy) == namespace(self.policy)
            || namespace(policy) == owner
            || namespace(self.policy) == owner;
        match of(policy).filter(|_| is_known) {
            Some(other) => format!("ClientTrafficPolicy {}/{}", other.namespace(), other.name()),
            None => "a ClientTrafficPolicy of another namespace".to_owned(),
        }
    }
}

fn outcomes<'t>(
    traffic: &'t Traffic<'_>,
    policy: usize,
    listener: &ListenerDraft<'_>,
    place: &Place,
) -> Outcomes<'t> {
    let mut outcomes = Outcomes::new();
    let Some(judged) = traffic.policies.get(policy) else { return outcomes };
    let rank = |policy: usize| place.levels.iter().position(|level| level.policy == policy);
    for (path, value) in &judged.leaves {
        let outcome = match place.fields.get(path) {
            Some(field) if field.value == *value => Outcome::InEffect,
            None if place
                .clashes
                .iter()
                .any(|clash| clash.policy == policy && clash.group == group(path)) =>
            {
                Outcome::Contradicts
            }
            Some(field) if rank(field.from.policy) > rank(policy) => Outcome::Overridden(field.from.policy),
            Some(field) => Outcome::OfPort(Some(field.from.policy)),
            None if is_shared(path) && Need::of(path).is_met(listener) => Outcome::OfPort(None),
            None => Outcome::NoUse,
        };
        outcomes.entry(outcome).or_default().push(path.as_str());
    }
    outcomes
}

fn name(listener: &ListenerDraft<'_>) -> String {
    match listener.set {
        Some(set) => {
            format!("{} of ListenerSet {}/{}", listener.spec.name, set.namespace(), set.name())
        }
        None => listener.spec.name.clone(),
    }
}

/// A few of them.
fn list<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST_FIELDS).map(AsRef::as_ref).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(MOST_FIELDS) {
        0 => shown,
        left => format!("{shown} and {left} more"),
    }
}
