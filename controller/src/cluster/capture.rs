//! Leads clients of captured Services to their waypoint, and back: leader only.
//!
//! Level-triggered: each look compares what is there with what shall be, and does the next step (`step`). Nothing is
//! remembered that could not be learnt again, but how long something has been waited for.

mod auto;
mod finalize;
mod lock;
mod objects;
mod pods;
mod probe;
mod sent;
mod step;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use config::identity::{GatewayRef, Role};
use config::xds::{Hub, ProxyState};
use config::{Generation, Kind, Resource, Severity};
use futures::{StreamExt as _, stream};
use kube::Client;
use kube::api::{Patch, PatchParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::finalize::FINALIZER;
use self::pods::pods;
pub(crate) use self::step::Phase;
use self::step::{Memory, Seen, Step, Write, step};
use super::control::View;
use super::leader::Leads;
use super::metrics::{Metrics, Outcome};
use super::write;
use crate::api::Service;
use crate::provisioned;
use crate::resources::Named as _;
use crate::translate::{Plan, SHADOW_OF, Slices, WAYPOINT_CLASS};
use crate::{ObjectKey, ObjectKind, Resources};

/// Where each captured Service is.
pub(crate) type Phases = BTreeMap<ObjectKey, Phase>;

/// Services worked on at one time.
const AT_ONCE: usize = 16;
/// How long a write has to come back by the watch before it is made again.
const SETTLE: Duration = Duration::from_secs(2);
/// How long after a refused write it is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Whether a Service is captured, or still let go, by this waypoint.
fn is_used(view: &View, namespace: &str, name: &str) -> bool {
    let mut plans = view.translation.plans.values();
    plans.any(|plan| *plan.waypoint.0 == *namespace && *plan.waypoint.1 == *name)
}

/// See the module.
pub(crate) struct Steerer {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) views: watch::Receiver<Option<Arc<View>>>,
    pub(crate) leads: watch::Receiver<Leads>,
    pub(crate) hub: Hub,
    pub(crate) phases: watch::Sender<Phases>,
    pub(crate) metrics: Arc<Metrics>,
}

/// What is remembered of a Service.
#[derive(Default)]
struct Kept {
    memory: Memory,
    listeners: Vec<Arc<Resource>>,
    /// The configuration in which these came first.
    needed: Option<Generation>,
    /// Writes that have not come back yet, and until when they are waited for.
    sent: Option<(Vec<Write>, Instant)>,
    /// When to look again.
    again: Option<Instant>,
}

/// What is remembered of all.
#[derive(Default)]
struct Mind {
    slices: Slices,
    /// As the slices are of.
    then: Resources,
    kept: BTreeMap<ObjectKey, Kept>,
    is_acting: bool,
    /// When to ask again whether the policy acts.
    probe: Option<Instant>,
}

impl Steerer {
    /// Works until the future is dropped.
    pub(crate) async fn run(mut self) {
        let mut mind = Mind::default();
        let mut autos = auto::Autos::default();
        let mut finalizers = finalize::Finalizers::default();
        let mut locks = lock::Locks::default();
        let mut answers = self.hub.changes();
        loop {
            let next = mind.kept.values().filter_map(|kept| kept.again);
            let next = next
                .chain(mind.probe)
                .chain(autos.sent.again())
                .chain(finalizers.sent.again())
                .chain(locks.again())
                .min();
            tokio::select! {
                Ok(()) = self.views.changed() => {}
                Ok(()) = answers.changed() => {}
                Ok(()) = self.leads.changed() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            answers.mark_unchanged();
            let view = self.views.borrow_and_update().clone();
            let Some(view) = view.filter(|_| self.leads.borrow_and_update().now()) else {
                (mind, autos) = (Mind::default(), auto::Autos::default());
                (finalizers, locks) = (finalize::Finalizers::default(), lock::Locks::default());
                self.phases.send_if_modified(|phases| !std::mem::take(phases).is_empty());
                continue;
            };
            autos.round(&self, &view).await;
            self.round(&view, &mut mind).await;
            locks.round(&self, &view, &mind.slices).await;
            finalizers.round(&self, &view).await;
        }
    }

    async fn round(&self, view: &View, mind: &mut Mind) {
        mind.slices.follow(&mind.then.endpoint_slices, &view.resources.endpoint_slices);
        mind.then = view.resources.clone();
        let plans = &view.translation.plans;
        mind.kept.retain(|key, _| plans.contains_key(key));
        if plans.is_empty() {
            mind.probe = None;
            self.phases.send_if_modified(|phases| !std::mem::take(phases).is_empty());
            return;
        }
        self.probe(mind).await;
        let proxies = self.hub.proxies();
        let (mut phases, mut work) = (Phases::new(), Vec::new());
        let now = Instant::now();
        for (key, plan) in &**plans {
            let kept = mind.kept.entry(key.clone()).or_default();
            let Some(step) = look(view, (key, plan), &mind.slices, kept, &proxies, (mind.is_acting, now))
            else {
                continue;
            };
            let Step { writes, phase, again } = step;
            // Had it acted, nobody would have to touch anything.
            if writes.iter().any(Write::is_touch) {
                mind.probe = None;
            }
            kept.again = again.map(|again| now + again);
            // What was sent is not sent again before the watch had time to bring it.
            let is_sent = kept.sent.as_ref().is_some_and(|(sent, until)| *sent == writes && now < *until);
            if writes.is_empty() {
                kept.sent = None;
            } else if is_sent {
                let until = kept.sent.as_ref().map(|(_, until)| *until);
                kept.again = kept.again.into_iter().chain(until).min();
            } else {
                kept.sent = Some((writes.clone(), now + SETTLE));
                kept.again = kept.again.into_iter().chain([now + SETTLE]).min();
                work.push((key.clone(), writes));
            }
            phases.insert(key.clone(), phase);
        }
        self.phases.send_if_modified(|before| {
            let is_same = *before == phases;
            *before = phases;
            !is_same
        });
        let mut running = stream::iter(work.into_iter().map(|(key, writes)| async move {
            let failed = self.write(&key, writes).await;
            (key, failed)
        }))
        .buffer_unordered(AT_ONCE);
        while let Some((key, failed)) = running.next().await {
            if let (Some(error), Some(kept)) = (failed, mind.kept.get_mut(&key)) {
                tracing::warn!(service = %key, error, "a Service cannot be led to its waypoint, or back");
                kept.sent = None;
                kept.again = Some(Instant::now() + RETRY);
            }
        }
    }

    /// Asks the API server whether slices step aside, when it is time to.
    async fn probe(&self, mind: &mut Mind) {
        let now = Instant::now();
        if mind.probe.is_some_and(|at| now < at) {
            return;
        }
        let is_acting = probe::is_acting(&self.client, &self.namespace).await;
        if is_acting != mind.is_acting {
            tracing::info!(is_acting, "whether EndpointSlices of captured Services step aside");
        }
        mind.is_acting = is_acting;
        mind.probe = Some(now + if is_acting { probe::EVERY } else { probe::RETRY });
    }

    /// Writes in order; says what was refused.
    async fn write(&self, key: &ObjectKey, writes: Vec<Write>) -> Option<String> {
        for write in writes {
            let (kind, done) = match write {
                Write::Apply(object) => {
                    let kind = if object.get("kind") == Some(&"Service".into()) {
                        "Service"
                    } else {
                        "EndpointSlice"
                    };
                    (kind, write::apply(&self.client, &object).await.map(drop))
                }
                Write::Label(patch) => {
                    let api = write::api(&self.client, &write::resource("v1", "Service"), &key.namespace);
                    let params =
                        PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
                    ("Service", api.patch(&key.name, &params, &Patch::Merge(patch)).await.map(drop))
                }
                Write::Delete(kind, name) => {
                    let version = if kind == "Service" { "v1" } else { "discovery.k8s.io/v1" };
                    (kind, write::delete(&self.client, (version, kind), &key.namespace, &name).await)
                }
            };
            let outcome = if done.is_ok() { "done" } else { "refused" };
            self.metrics.captures.get_or_create(&Outcome { kind, outcome }).inc();
            if let Err(error) = done {
                return Some(write::message(&error));
            }
        }
        None
    }
}

/// Whose labels on Services they are.
const MANAGER: &str = "fairway.dev/capture";

/// Looks at one Service.
fn look(
    view: &View,
    (key, plan): (&ObjectKey, &Plan),
    slices: &Slices,
    kept: &mut Kept,
    proxies: &[ProxyState],
    (is_acting, now): (bool, Instant),
) -> Option<Step> {
    let service: &Service = view.resources.services.get(&key.namespace, &key.name)?;
    let listeners = listeners(view, key, plan);
    let is_same = kept.listeners.len() == listeners.len()
        && kept.listeners.iter().zip(&listeners).all(|(a, b)| Arc::ptr_eq(a, b) || a == b);
    if !is_same || kept.needed.is_none() {
        kept.needed = Some(view.generation);
    }
    kept.listeners = listeners;
    let answered = answered(key, plan, kept.needed, proxies);
    let none = crate::translate::OfService::default();
    let of_service = slices.all(key).unwrap_or(&none);
    let gateway = provisioned::name_of(&plan.waypoint.1, WAYPOINT_CLASS);
    let waypoint = slices.all(&ObjectKey::new(ObjectKind::Service, plan.waypoint.0.clone(), gateway));
    let waypoint = waypoint.map(|slices| slices.theirs.as_slice()).unwrap_or_default();
    let pods = pods(waypoint, of_service.own(), |pod| answered.contains(pod));
    let shadow = view.resources.services.get(&key.namespace, &objects::shadow_name(service));
    let shadow = shadow.filter(|shadow| shadow.label(SHADOW_OF) == Some(service.name()));
    let seen = Seen {
        service,
        plan,
        slices: of_service,
        shadow: shadow.map(AsRef::as_ref),
        pods: &pods,
        is_locked: lock::of(view, key).is_some(),
        is_acting,
        now,
    };
    Some(step(&seen, &mut kept.memory))
}

/// What proxies are told of the ports of a Service.
fn listeners(view: &View, key: &ObjectKey, plan: &Plan) -> Vec<Arc<Resource>> {
    let names = plan.ports.iter().map(|port| format!("{}:{}", key.name, port.port));
    let keys = names.map(|name| config::Key::new(Kind::Listener, &*key.namespace, name));
    keys.filter_map(|key| view.translation.resources.get(&key).cloned()).collect()
}

/// The pods of a waypoint that listen for every port of a Service.
fn answered<'a>(
    key: &ObjectKey,
    plan: &Plan,
    needed: Option<Generation>,
    proxies: &'a [ProxyState],
) -> BTreeSet<&'a str> {
    let (namespace, name) = &plan.waypoint;
    let gateway = GatewayRef::new(Role::Waypoint, &**namespace, &**name);
    let prefix = format!("{}:", key.name);
    let listens = |proxy: &&ProxyState| {
        let is_refused = proxy.rejections.iter().any(|rejection| {
            rejection.severity == Severity::Refused
                && rejection.key.kind == Kind::Listener
                && rejection.key.namespace == *key.namespace
                && rejection.key.name.starts_with(&prefix)
        });
        proxy.is_connected && proxy.proxy.gateway == gateway && proxy.generation >= needed && !is_refused
    };
    proxies.iter().filter(listens).map(|proxy| proxy.proxy.pod.as_str()).collect()
}
