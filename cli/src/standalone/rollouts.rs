//! Rollouts of the process: decided as a controller does, by what its own proxies count. How far each is stands in memory; a
//! process that starts again begins with what the files say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::load::{Counters, Counts};
use controller::rollout::{Engine, Event, RolloutStatus, Sight, Timestamp};
use controller::{Named, Object, ObjectKey, ObjectKind, Resources, Statuses, api};

/// See the module.
pub(crate) struct Rollouts {
    engine: Engine,
    statuses: BTreeMap<ObjectKey, RolloutStatus>,
    /// Of each proxy.
    counters: Vec<Arc<dyn Counters>>,
}

/// What became of Rollouts.
#[derive(Default)]
pub(crate) struct Turn {
    /// To be told.
    pub(crate) events: Vec<(ObjectKey, Event)>,
    /// Weights are others than before.
    pub(crate) is_moved: bool,
}

impl Rollouts {
    pub(crate) fn new(counters: Vec<Arc<dyn Counters>>) -> Self {
        Self { engine: Engine::default(), statuses: BTreeMap::new(), counters }
    }

    /// Gives each Rollout the status that it has by now, as a cluster would; forgets those that are gone.
    pub(crate) fn fill(&mut self, objects: &mut [Object]) {
        let mut there = BTreeSet::new();
        for object in objects {
            let Object::Rollout(rollout) = object else { continue };
            let key = key(rollout);
            if let Some(status) = self.statuses.get(&key) {
                *object =
                    api::Rollout { status: Some(status.clone()), ..api::Rollout::clone(rollout) }.into();
            }
            there.insert(key);
        }
        self.statuses.retain(|key, _| there.contains(key));
        self.engine.retain(|key| there.contains(key));
    }

    /// Looks at each once. `served`: what proxies were told.
    pub(crate) fn turn(
        &mut self,
        resources: &Resources,
        statuses: &Statuses,
        served: &config::Resources,
    ) -> Turn {
        let mut turn = Turn::default();
        let now = Timestamp::now();
        for rollout in &resources.rollouts {
            let key = key(rollout);
            let status = self.statuses.get(&key).cloned().or_else(|| rollout.status.clone());
            let rollout = api::Rollout { status, ..api::Rollout::clone(rollout) };
            let counts = rollout.observes().map(|canary| {
                let mut all = Counts::default();
                self.counters.iter().for_each(|counters| all.add(&counters.read(&canary)));
                all
            });
            let sight = Sight {
                is_accepted: statuses.0.get(&key).is_some_and(|status| status.is_accepted()),
                has_endpoints: rollout.has_endpoints(served),
                counts: counts.unwrap_or_default(),
            };
            let Some(decision) = self.engine.decide(&key, &rollout, sight, now) else { continue };
            let effect = |status: &RolloutStatus| (status.subject.clone(), status.weight);
            turn.is_moved |= rollout.status.as_ref().map(effect) != Some(effect(&decision.status));
            turn.events.extend(decision.events.into_iter().map(|event| (key.clone(), event)));
            self.statuses.insert(key, decision.status);
        }
        turn
    }
}

fn key(rollout: &api::Rollout) -> ObjectKey {
    ObjectKey::new(ObjectKind::Rollout, rollout.namespace(), rollout.name())
}
