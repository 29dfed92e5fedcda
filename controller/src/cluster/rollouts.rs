//! Runs Rollouts: looks at each once in a second, and writes what is decided. Leader only.
//!
//! The status in the API server is the only state that counts. After a decision nothing else is decided on that Rollout until the
//! watch has shown it: a weight that could not be written is not taken for one that holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use config::load::Loads;
use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::Recorder;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::control::View;
use super::leader::Leads;
use super::metrics::{Metrics, Outcome};
use super::state::{Observed, State};
use super::tell::tell;
use super::write;
use crate::api::Rollout;
use crate::resources::Named;
use crate::rollout::{Decision, Engine, Phase, RolloutStatus, Sight};
use crate::{ObjectKey, ObjectKind};

/// How often Rollouts are looked at: as often as proxies tell.
const TICK: Duration = Duration::from_secs(1);
/// How long a write's own echo is waited for.
const ECHO: Duration = Duration::from_secs(5);
/// Longest time of a write.
const WRITE: Duration = Duration::from_secs(10);
/// Whose fields they are: conditions of others, `Accepted` of our own status too, stay as they are.
const FIELD_MANAGER: &str = "fairway.dev/rollouts";
/// The conditions that are written here.
const CONDITIONS: [&str; 2] = ["Healthy", "Progressing"];

/// See the module.
pub(crate) struct Runner {
    pub(crate) client: Client,
    pub(crate) state: Arc<State>,
    pub(crate) views: watch::Receiver<Option<Arc<View>>>,
    pub(crate) leads: watch::Receiver<Leads>,
    pub(crate) loads: Loads,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Arc<Metrics>,
}

/// A Rollout as it is.
struct Seen {
    key: ObjectKey,
    /// With all of its status.
    rollout: Rollout,
    uid: Box<str>,
    is_accepted: bool,
    has_endpoints: bool,
}

/// A decision that is being carried out.
struct Pending {
    decision: Decision,
    /// When it was written.
    written: Option<Instant>,
}

impl Runner {
    /// Works until the future is dropped.
    pub(crate) async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut engine, mut pending) = (Engine::default(), BTreeMap::new());
        loop {
            tick.tick().await;
            let view = self.views.borrow_and_update().clone();
            let view = view.filter(|_| self.leads.borrow_and_update().now());
            let seen = view.as_deref().map(|view| self.seen(view)).unwrap_or_default();
            let wanted = seen.iter().filter(|one| one.is_accepted).filter_map(|one| one.rollout.observes());
            self.loads.want(wanted.collect());
            let keys: BTreeSet<&ObjectKey> = seen.iter().map(|one| &one.key).collect();
            engine.retain(|key| keys.contains(key));
            pending.retain(|key, _| keys.contains(key));
            self.turn(&seen, &mut engine, &mut pending).await;
            self.count(&seen);
        }
    }

    /// All Rollouts. One whose status is not known yet is left out.
    fn seen(&self, view: &View) -> Vec<Seen> {
        let seen = view.resources.rollouts.iter().filter_map(|rollout| {
            let key = ObjectKey::new(ObjectKind::Rollout, rollout.namespace(), rollout.name());
            let Observed { uid, status, .. } = self.state.observed(&key)?;
            let status = status.map(|status| serde_json::from_str::<RolloutStatus>(&status));
            // One that cannot be read is none: the stable version has everything until it is written anew.
            let status = status.and_then(Result::ok);
            let rollout = Rollout { status, ..Rollout::clone(rollout) };
            let is_accepted =
                view.translation.statuses.0.get(&key).is_some_and(|status| status.is_accepted());
            let has_endpoints = rollout.has_endpoints(&view.translation.resources);
            Some(Seen { key, rollout, uid, is_accepted, has_endpoints })
        });
        seen.collect()
    }

    async fn turn(&self, seen: &[Seen], engine: &mut Engine, pending: &mut BTreeMap<ObjectKey, Pending>) {
        let mut due = Vec::new();
        for one in seen {
            let decision = match pending.get(&one.key) {
                Some(Pending { decision, written }) if !is_over(decision, *written, &one.rollout) => {
                    (decision.clone(), written.is_none())
                }
                _ => {
                    pending.remove(&one.key);
                    let counts = one.rollout.observes().map(|canary| self.loads.counts(&canary));
                    let &Seen { is_accepted, has_endpoints, .. } = one;
                    let sight = Sight { is_accepted, has_endpoints, counts: counts.unwrap_or_default() };
                    match engine.decide(&one.key, &one.rollout, sight, Timestamp::now()) {
                        Some(decision) => (decision, true),
                        None => continue,
                    }
                }
            };
            if let (decision, true) = decision {
                due.push((one, decision));
            }
        }
        let writes = due.into_iter().map(|(one, decision)| async move {
            let is_written = self.write(one, &decision.status).await;
            (one, decision, is_written)
        });
        for (one, decision, is_written) in join_all(writes).await {
            for event in decision.events.iter().filter(|_| is_written) {
                let (reason, object) = (event.reason.to_owned(), (&one.key, &*one.uid));
                tell(&self.recorder, object, event.is_warning, reason, &event.message);
                tracing::info!(rollout = %one.key, "{}", event.message);
            }
            let written = is_written.then(Instant::now);
            pending.insert(one.key.clone(), Pending { decision, written });
        }
    }

    /// Whether it was written. What was not is written again.
    async fn write(&self, one: &Seen, status: &RolloutStatus) -> bool {
        let mut status = status.clone();
        status.conditions.retain(|condition| CONDITIONS.contains(&&*condition.type_));
        let resource = write::resource(one.key.kind.api_version(), one.key.kind.as_str());
        let object = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            // Another Rollout of that name has its own way to go.
            "metadata": { "name": &*one.key.name, "namespace": &*one.key.namespace, "uid": &*one.uid },
            "status": status,
        });
        let api = write::api(&self.client, &resource, &one.key.namespace);
        let (params, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(object));
        let outcome = match tokio::time::timeout(WRITE, api.patch_status(&one.key.name, &params, &patch))
            .await
        {
            Ok(Ok(_)) => "done",
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => "gone",
            Ok(Err(error)) => {
                let error = write::message(&error);
                tracing::warn!(rollout = %one.key, error, "a Rollout stays where it is: its status cannot be written");
                "failed"
            }
            Err(_) => {
                tracing::warn!(rollout = %one.key, "a Rollout stays where it is: its status cannot be written in time");
                "failed"
            }
        };
        self.metrics.status_writes.get_or_create(&Outcome { kind: one.key.kind.as_str(), outcome }).inc();
        outcome == "done"
    }

    fn count(&self, seen: &[Seen]) {
        for phase in Phase::ALL {
            let is_in = |one: &&Seen| {
                one.rollout.status.as_ref().map_or(Phase::Pending, |status| status.phase) == phase
            };
            self.metrics.rollouts(phase, seen.iter().filter(is_in).count());
        }
        self.metrics.loads(self.loads.told());
    }
}

/// Whether the watch has shown a decision, or never will.
fn is_over(decision: &Decision, written: Option<Instant>, rollout: &Rollout) -> bool {
    let without_conditions =
        |status: &RolloutStatus| RolloutStatus { conditions: Vec::new(), ..status.clone() };
    rollout.status.as_ref().map(without_conditions) == Some(without_conditions(&decision.status))
        || written.is_some_and(|written| written.elapsed() >= ECHO)
}
