//! When which rollout is decided on, and what a check looks at.

use std::collections::BTreeMap;

use config::load::Counts;
use config::{BackendRef, Key, Resource};
use k8s_openapi::jiff::Timestamp;

use super::decide::lasted;
use super::{Event, Observed, Phase, Rollout, RolloutStatus, Subject, step};
use crate::ObjectKey;
use crate::resources::Named;

/// Remembers what each rollout's checks have looked at. It may forget: a check then begins anew.
#[derive(Debug, Default)]
pub struct Engine {
    windows: BTreeMap<ObjectKey, Window>,
}

/// What has come to a canary since its last check is the difference to this.
#[derive(Debug)]
struct Window {
    /// What the rollout was then. Requests of before say nothing of what is now.
    of: (Option<Subject>, Phase, i32),
    counts: Counts,
    since: Timestamp,
}

/// What is known of a rollout and its canary now.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// The translator follows the rollout.
    pub is_accepted: bool,
    /// Proxies know an endpoint of the canary: [`Rollout::has_endpoints`].
    pub has_endpoints: bool,
    /// What came to the canary so far.
    pub counts: Counts,
}

/// A status that is new, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// To be written.
    pub status: RolloutStatus,
    /// To be told.
    pub events: Vec<Event>,
}

impl Engine {
    /// Looks at a rollout: what it says, with the status that is in force. `None`: nothing is new. A decision has to be carried out
    /// before it is looked at again.
    pub fn decide(
        &mut self,
        key: &ObjectKey,
        rollout: &Rollout,
        sight: Sight,
        now: Timestamp,
    ) -> Option<Decision> {
        let Sight { is_accepted, has_endpoints, counts } = sight;
        let now = micros(now);
        let status = rollout.status.clone().unwrap_or_default();
        let of = (status.subject.clone(), status.phase, status.weight);
        if self.windows.get(key).is_none_or(|window| window.of != of) {
            self.windows.insert(key.clone(), Window { of, counts: counts.clone(), since: now });
        }
        let window = self.windows.get_mut(key)?;
        let analysis = &rollout.spec.analysis;
        let seen = counts.since(&window.counts);
        let is_enough =
            i64::try_from(seen.requests()).is_ok_and(|requests| requests >= analysis.min_requests);
        let is_due = is_enough && lasted(window.since, now) >= analysis.interval.0;
        if is_due {
            (window.counts, window.since) = (counts, now);
        }
        let observed = Observed { is_accepted, has_endpoints, window: is_due.then_some(seen) };
        let (next, events) = step(&rollout.spec, rollout.metadata.generation, &status, &observed, now);
        (next != status).then_some(Decision { status: next, events })
    }

    /// Forgets all but these.
    pub fn retain(&mut self, is_there: impl Fn(&ObjectKey) -> bool) {
        self.windows.retain(|key, _| is_there(key));
    }
}

/// As status writes it, so that what is read again is the same.
fn micros(now: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

impl Rollout {
    /// Whether proxies that are told this know an endpoint of the canary.
    #[must_use]
    pub fn has_endpoints(&self, told: &config::Resources) -> bool {
        let canary = self.spec.canary.backend(self.namespace());
        let endpoints = canary.and_then(|canary| told.get(&Key::endpoints(&canary)));
        endpoints.is_some_and(|one| matches!(&**one, Resource::Endpoints(all) if !all.endpoints.is_empty()))
    }

    /// The canary as proxies know it, while what comes to it matters.
    #[must_use]
    pub fn observes(&self) -> Option<BackendRef> {
        let phase = self.status.as_ref().map_or(Phase::Pending, |status| status.phase);
        let is_over = matches!(phase, Phase::Succeeded | Phase::RolledBack | Phase::Paused);
        let is_same = self.status.as_ref().is_some_and(|status| status.subject == Some(self.spec.subject()));
        if is_over && is_same { None } else { self.spec.canary.backend(self.namespace()) }
    }
}
