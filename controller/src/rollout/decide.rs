//! What becomes of a rollout: a pure function of what it says, how far it is and what was seen.
//!
//! The weight alone says how far it is: the step is the last one of no more than that, so that steps can be edited on the way.

use std::time::Duration;

use config::load::Counts;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use k8s_openapi::jiff::Timestamp;

use super::analysis::Check;
use super::{Phase, RolloutSpec, RolloutStatus, ServicePort};

/// What is known when a decision is made.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The translator follows the rollout.
    pub is_accepted: bool,
    /// Proxies know an endpoint of the canary. Without one they answer for it, and count nothing.
    pub has_endpoints: bool,
    /// What came to the canary since the last check, when another one is due. It has to be of this step alone.
    pub window: Option<Counts>,
}

/// Something to tell people, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Something is wrong.
    pub is_warning: bool,
    /// One CamelCase word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// The next status, and what happened. It never goes further than to the next step, and only after a check of this step that
/// held; it goes back to nothing at once.
#[must_use]
pub fn step(
    spec: &RolloutSpec,
    generation: Option<i64>,
    status: &RolloutStatus,
    observed: &Observed,
    now: Timestamp,
) -> (RolloutStatus, Vec<Event>) {
    let mut next = status.clone();
    next.observed_generation = generation;
    let mut run = Run { spec, now, next, events: Vec::new(), health: None, why: None };
    if observed.is_accepted {
        run.go(observed);
    } else if !matches!(run.next.phase, Phase::Succeeded | Phase::RolledBack) {
        run.next.phase = Phase::Pending;
    }
    run.say();
    (run.next, run.events)
}

/// A decision in the making.
struct Run<'a> {
    spec: &'a RolloutSpec,
    now: Timestamp,
    next: RolloutStatus,
    events: Vec<Event>,
    /// What there is to say of `Healthy`, when that is something else than before: status, reason, message.
    health: Option<(&'static str, &'static str, String)>,
    /// Why it was rolled back now.
    why: Option<String>,
}

impl Run<'_> {
    fn go(&mut self, observed: &Observed) {
        let subject = self.spec.subject();
        if self.next.subject.as_ref() != Some(&subject) {
            let RolloutStatus { observed_generation, conditions, .. } = std::mem::take(&mut self.next);
            let subject = Some(subject);
            self.next =
                RolloutStatus { observed_generation, conditions, subject, ..RolloutStatus::default() };
            self.forget();
        }
        match self.next.phase {
            Phase::Succeeded | Phase::RolledBack => return,
            Phase::Paused if self.spec.paused => return,
            _ if self.spec.paused => {
                self.next.phase = Phase::Paused;
                return self.tell(false, "Paused", format!("held at {} % by spec.paused", self.next.weight));
            }
            Phase::Pending | Phase::Paused | Phase::Progressing if !observed.has_endpoints => {
                return self.unreachable();
            }
            Phase::Pending | Phase::Paused => {
                self.resume();
                if self.next.weight == 0 {
                    self.advance();
                }
                return;
            }
            Phase::Progressing => {}
        }
        let window = observed.window.as_ref();
        if let Some(check) = window.and_then(|window| Check::of(&self.spec.analysis, window, self.now)) {
            self.judge(check);
        }
        if self.next.phase == Phase::Progressing && self.is_ripe() {
            self.advance();
        }
    }

    /// The step begins anew: what was seen of it may be long ago.
    fn resume(&mut self) {
        if self.next.phase == Phase::Paused {
            self.tell(false, "Resumed", format!("goes on at {} %", self.next.weight));
        }
        self.next.phase = Phase::Progressing;
        self.next.since = Some(MicroTime(self.now));
        self.forget();
    }

    /// Nothing is known of the canary's health.
    fn forget(&mut self) {
        self.health = Some(("Unknown", "NoCheck", "There has been no check yet.".to_owned()));
    }

    /// Requests that the canary got would fail, and nobody would count them.
    fn unreachable(&mut self) {
        if self.next.weight == 0 {
            self.next.phase = Phase::Pending;
        } else {
            if self.next.phase != Phase::Progressing {
                self.resume();
            }
            if self.spec.analysis.failure_limit > 0 {
                self.roll_back("it has no endpoint that is ready");
            }
        }
        let message =
            format!("{} has no endpoint that is ready, or no Gateway serves the route.", self.canary());
        self.health = Some(("False", "NoEndpoints", message));
    }

    fn judge(&mut self, check: Check) {
        if check.problems.is_empty() {
            self.next.failures = 0;
            self.health = Some(("True", "ChecksHold", check.praise()));
        } else {
            self.next.failures = self.next.failures.saturating_add(1);
            let problem = check.problems.join("; ");
            self.health = Some(("False", "CheckFailed", format!("{problem}.")));
            let limit = self.spec.analysis.failure_limit;
            if limit > 0 && self.next.failures >= limit {
                self.roll_back(&problem);
            } else {
                let message = format!("step held at {} %: {problem}", self.next.weight);
                self.tell(true, "CheckFailed", message);
            }
        }
        self.next.analysis = Some(check.last);
    }

    fn roll_back(&mut self, problem: &str) {
        let message = format!("{} back from {} % to 0: {problem}", self.canary(), self.next.weight);
        self.tell(true, "RolledBack", message);
        self.why = Some(problem.to_owned());
        (self.next.phase, self.next.weight, self.next.step) = (Phase::RolledBack, 0, 0);
        self.next.since = Some(MicroTime(self.now));
    }

    /// Whether the step has lasted long enough, and a check of it held.
    fn is_ripe(&self) -> bool {
        let Some(MicroTime(since)) = self.next.since else { return false };
        let steps = self.spec.steps.iter();
        let pause = steps.take_while(|step| step.weight <= self.next.weight).last();
        let pause = pause.map_or(Duration::ZERO, |step| step.pause.0);
        let is_checked = self.next.analysis.as_ref().is_some_and(|last| last.at.0 > since);
        self.next.failures == 0 && is_checked && lasted(since, self.now) >= pause
    }

    fn advance(&mut self) {
        let mut steps = self.spec.steps.iter().zip(1..);
        let next = steps.find(|(step, _)| step.weight > self.next.weight);
        (self.next.since, self.next.failures) = (Some(MicroTime(self.now)), 0);
        let count = self.count();
        match next {
            Some((step, number)) => {
                (self.next.weight, self.next.step) = (step.weight, number);
                let message = format!("step {number} of {count}: {} has {} %", self.canary(), step.weight);
                self.tell(false, "StepStarted", message);
            }
            None => {
                (self.next.phase, self.next.weight, self.next.step) = (Phase::Succeeded, 100, count);
                self.tell(false, "Succeeded", format!("{} has all", self.canary()));
            }
        }
    }

    fn count(&self) -> i32 {
        i32::try_from(self.spec.steps.len()).unwrap_or(i32::MAX)
    }

    fn canary(&self) -> String {
        let ServicePort { name, port } = &self.spec.canary;
        format!("{name}:{port}")
    }

    fn tell(&mut self, is_warning: bool, reason: &'static str, message: String) {
        self.events.push(Event { is_warning, reason, message: self.framed(message) });
    }

    fn framed(&self, message: String) -> String {
        if self.spec.dry_run { format!("dry run: {message}") } else { message }
    }

    /// Conditions follow from the rest.
    fn say(&mut self) {
        let health = self.health.take();
        if let Some((status, reason, message)) = health {
            self.condition("Healthy", status, reason, Some(message));
        } else {
            let none = Some("There has been no check yet.".to_owned());
            if !self.next.conditions.iter().any(|condition| condition.type_ == "Healthy") {
                self.condition("Healthy", "Unknown", "NoCheck", none);
            }
        }
        let (weight, canary) = (self.next.weight, self.canary());
        let (status, message) = match self.next.phase {
            Phase::Pending => ("False", Some("It waits: see Accepted and Healthy.".to_owned())),
            Phase::Progressing => (
                "True",
                Some(format!("Step {} of {}: {canary} has {weight} %.", self.next.step, self.count())),
            ),
            Phase::Paused => ("False", Some(format!("Held at {weight} % by spec.paused."))),
            Phase::Succeeded => ("False", Some(format!("{canary} has all."))),
            // Said when it happened.
            Phase::RolledBack => {
                ("False", self.why.take().map(|why| format!("{canary} has nothing any more: {why}.")))
            }
        };
        let message =
            message.map(|message| if self.spec.dry_run { format!("Dry run: {message}") } else { message });
        self.condition("Progressing", status, self.next.phase.as_str(), message);
    }

    /// Sets a condition; without a message that of before stands.
    fn condition(&mut self, kind: &str, status: &str, reason: &str, message: Option<String>) {
        let old = self.next.conditions.iter().position(|condition| condition.type_ == kind);
        let old = old.map(|at| self.next.conditions.remove(at));
        let same = old.as_ref().filter(|old| old.status == status);
        let last_transition_time =
            same.map_or_else(|| Time(second(self.now)), |old| old.last_transition_time.clone());
        let message = message.or_else(|| old.map(|old| old.message)).unwrap_or_default();
        self.next.conditions.push(Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: self.next.observed_generation,
            last_transition_time,
        });
        self.next.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    }
}

/// Conditions have no finer time, and what is written has to be what is read.
fn second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// How long ago something was; a clock that went back is no time.
pub(super) fn lasted(since: Timestamp, now: Timestamp) -> Duration {
    let millis = now.as_millisecond().saturating_sub(since.as_millisecond());
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}
