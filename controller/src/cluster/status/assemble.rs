//! What is to be said now: the translation's statuses, completed by what proxies answer and what the API server
//! refused.

mod policies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use config::identity::{GatewayRef, Role};
use config::xds::ProxyState;
use config::{Generation, Kind, Rejection, Resource};
use tokio::time::Instant;

use self::policies::Policies;
use crate::cluster::capture::{Phase, Phases};
use crate::cluster::control::View;
use crate::cluster::provision::Refusals;
use crate::status::condition::{find, set};
use crate::status::{Condition, ConditionStatus, GatewayStatus, Status, condition_type, reason};
use crate::translate::{FailureMode, Plans, Programmer, parameters};
use crate::{ObjectKey, ObjectKind, Statuses};

/// How long a Gateway counts as programmed while its proxies are out of sight or have not answered, after they last had
/// or we began to lead: they serve on without us, come back by themselves, and new ones join them.
const GRACE: Duration = Duration::from_secs(30);

/// Remembers what a Gateway's proxies must have answered.
#[derive(Default)]
pub(super) struct Assembler {
    gateways: BTreeMap<ObjectKey, Known>,
    policies: Policies,
    since: Option<Instant>,
    programmer: Programmer,
}

struct Known {
    /// Its generation in the API, and its listeners and certificates.
    generation: Option<i64>,
    listeners: Vec<Arc<Resource>>,
    /// The configuration in which these came first.
    needed: Generation,
    /// When its proxies had all answered last.
    complete: Option<Instant>,
}

/// What else is told: by the API server, and of captured Services.
#[derive(Default)]
pub(crate) struct Told {
    pub(super) refusals: Refusals,
    pub(super) phases: Phases,
}

/// What is to be said.
#[derive(Default)]
pub(super) struct Assembled {
    pub(super) statuses: Statuses,
    /// Gateways whose proxies are out of sight, or have not answered, for a moment: that they are programmed stands.
    pub(super) held: BTreeSet<ObjectKey>,
    /// When the first of them is to be looked at again.
    pub(super) again: Option<Instant>,
}

impl Assembler {
    /// We lead from now on.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = Some(now);
        self.gateways.clear();
        self.policies = Policies::default();
    }

    pub(super) fn assemble(
        &mut self,
        view: &View,
        proxies: &[ProxyState],
        told: &Told,
        now: Instant,
    ) -> Assembled {
        let mut by_gateway: BTreeMap<&GatewayRef, Vec<&ProxyState>> = BTreeMap::new();
        for proxy in proxies.iter().filter(|proxy| proxy.is_connected) {
            by_gateway.entry(&proxy.proxy.gateway).or_default().push(proxy);
        }
        let listeners = listeners(view);
        let mut answers: BTreeMap<ObjectKey, Answer> = BTreeMap::new();
        let (mut held, mut again) = (BTreeSet::new(), None::<Instant>);
        for (key, status) in view.translation.statuses.of_kind(ObjectKind::Gateway) {
            let Status::Gateway(status) = &**status else { continue };
            let name = GatewayRef::new(role(view, key), &*key.namespace, &*key.name);
            let connected = by_gateway.get(&name).map(Vec::as_slice).unwrap_or_default();
            let of_gateway = listeners.get(&(&*key.namespace, &*key.name)).cloned().unwrap_or_default();
            let since = self.since;
            let known = self.know(key, status, of_gateway, view.generation);
            let answer = Answer::of(connected, known.needed);
            if answer.is_complete() {
                known.complete = Some(now);
            } else {
                let until = known.complete.into_iter().chain(since).max().unwrap_or(now) + GRACE;
                if now < until {
                    held.insert(key.clone());
                    again = Some(again.map_or(until, |again| again.min(until)));
                }
            }
            answers.insert(key.clone(), answer);
        }
        self.gateways.retain(|key, _| answers.contains_key(key));
        // A set's listeners are its Gateway's.
        let sets = view.translation.statuses.of_kind(ObjectKind::ListenerSet).filter(
            |(_, status)| matches!(&***status, Status::ListenerSet(set) if held.contains(&set.gateway)),
        );
        let sets: Vec<ObjectKey> = sets.map(|(key, _)| key.clone()).collect();
        held.extend(sets);
        let rejections = rejections(proxies);
        let is_applied = |key: &ObjectKey| answers.get(key).is_none_or(Answer::is_complete);
        self.policies.follow(view, &by_gateway);
        let is_enforced = |policy: &ObjectKey, at: &ObjectKey| self.policies.is_enforced(policy, at);
        let mut statuses = self.programmer.program(&view.translation, rejections, is_applied, is_enforced);
        for (key, answer) in &answers {
            let refusal = told.refusals.get(key);
            if answer.is_complete() && refusal.is_none() {
                continue;
            }
            if let Some(status) = statuses.0.get_mut(key)
                && let Status::Gateway(gateway) = Arc::make_mut(status)
            {
                explain(gateway, answer, refusal);
            }
        }
        captured(&mut statuses, &told.phases);
        collected(&mut statuses, &view.translation.plans, &told.phases);
        Assembled { statuses, held, again }
    }

    fn know(
        &mut self,
        key: &ObjectKey,
        status: &GatewayStatus,
        listeners: Vec<Arc<Resource>>,
        now: Generation,
    ) -> &mut Known {
        let generation = status.conditions.first().and_then(|condition| condition.observed_generation);
        let known = self.gateways.entry(key.clone()).or_insert_with(|| Known {
            generation,
            listeners: listeners.clone(),
            needed: now,
            complete: None,
        });
        let is_same = known.generation == generation
            && known.listeners.len() == listeners.len()
            && known.listeners.iter().zip(&listeners).all(|(a, b)| Arc::ptr_eq(a, b) || a == b);
        if !is_same {
            (known.generation, known.needed) = (generation, now);
        }
        known.listeners = listeners;
        known
    }
}

/// What the proxies of a Gateway do.
fn role(view: &View, key: &ObjectKey) -> Role {
    view.resources
        .gateways
        .get(&key.namespace, &key.name)
        .map_or(Role::Gateway, |gateway| parameters::role(gateway))
}

/// Says where captured Services are. What speaks against capturing one has been said already.
fn captured(statuses: &mut Statuses, phases: &Phases) {
    let services: Vec<(ObjectKey, Arc<Status>)> = statuses
        .of_kind(ObjectKind::Service)
        .map(|(key, status)| (key.clone(), Arc::clone(status)))
        .collect();
    for (key, mut status) in services {
        let Status::Service(service) = Arc::make_mut(&mut status) else { continue };
        let Some(bound) = find(&mut service.conditions, condition_type::WAYPOINT_BOUND) else { continue };
        let is_served = bound.status != ConditionStatus::False;
        let (is_true, reason, message) = match phases.get(&key) {
            Some(Phase::Captured { usable, pods, failure_mode, is_locked }) if is_served => {
                let without = match failure_mode {
                    FailureMode::Open => "the pods, and nothing is enforced",
                    FailureMode::Closed => "nothing",
                };
                let around = if *is_locked {
                    "A NetworkPolicy lets only those reach its pods on these ports who enforce it."
                } else {
                    "NOT enforced on traffic to addresses of pods."
                };
                let message = format!(
                    "Clients are led to the waypoint ({usable} of {pods} pods ready); without a ready one to {without}. {} {around}",
                    bound.message
                );
                (ConditionStatus::True, reason::CAPTURED, message)
            }
            Some(Phase::Pending(reason, what)) if is_served => {
                (ConditionStatus::False, *reason, format!("{what} {}", bound.message))
            }
            Some(Phase::Releasing) => {
                let message = format!("Clients are being led back to the pods. {}", bound.message);
                (ConditionStatus::False, reason::RELEASING, message)
            }
            None if is_served => (ConditionStatus::Unknown, reason::PENDING, bound.message.to_string()),
            _ => continue,
        };
        (bound.status, bound.reason, bound.message) = (is_true, reason, message.into());
        statuses.0.insert(key, status);
    }
}

/// Says of each waypoint how many Services are led to it.
fn collected(statuses: &mut Statuses, plans: &Plans, phases: &Phases) {
    let mut by_waypoint: BTreeMap<(&str, &str), (usize, Vec<String>)> = BTreeMap::new();
    for (key, plan) in plans.iter().filter(|(_, plan)| plan.is_wanted) {
        let (captured, missing) = by_waypoint.entry((&plan.waypoint.0, &plan.waypoint.1)).or_default();
        match phases.get(key) {
            Some(Phase::Captured { .. }) => *captured += 1,
            _ => missing.push(format!("{}/{}", key.namespace, key.name)),
        }
    }
    for ((namespace, name), (captured, missing)) in by_waypoint {
        let key = ObjectKey::new(ObjectKind::Gateway, namespace, name);
        let Some(Status::Gateway(gateway)) = statuses.0.get_mut(&key).map(Arc::make_mut) else { continue };
        let generation = gateway.conditions.first().and_then(|condition| condition.observed_generation);
        let (status, reason, message) = if missing.is_empty() {
            (
                ConditionStatus::True,
                reason::CAPTURED,
                format!("Services whose clients are led here: {captured}."),
            )
        } else {
            let message = format!(
                "Of {} Services {captured} are captured; see the conditions of {}.",
                captured + missing.len(),
                shortened(&missing)
            );
            (ConditionStatus::False, reason::PENDING, message)
        };
        let condition =
            Condition::new(condition_type::SERVICES_CAPTURED, status, reason, message, generation);
        set(&mut gateway.conditions, condition);
    }
}

/// What the proxies of a Gateway have said.
struct Answer {
    connected: usize,
    /// Pods that have not answered yet.
    waiting: Vec<String>,
}

impl Answer {
    fn of(connected: &[&ProxyState], needed: Generation) -> Self {
        let is_waiting = |proxy: &&&ProxyState| proxy.generation.is_none_or(|generation| generation < needed);
        let waiting = connected.iter().filter(is_waiting).map(|proxy| proxy.proxy.pod.clone()).collect();
        Self { connected: connected.len(), waiting }
    }

    const fn is_complete(&self) -> bool {
        self.connected > 0 && self.waiting.is_empty()
    }
}

/// Every listener with its certificates, by Gateway.
fn listeners(view: &View) -> BTreeMap<(&str, &str), Vec<Arc<Resource>>> {
    let resources = &view.translation.resources;
    let mut by_gateway: BTreeMap<_, Vec<Arc<Resource>>> = BTreeMap::new();
    let from = config::Key::new(Kind::Listener, "", "");
    for (key, resource) in resources.range(from..).take_while(|(key, _)| key.kind == Kind::Listener) {
        let (Resource::Listener(listener), Some((gateway, _))) = (&**resource, key.name.split_once('/'))
        else {
            continue;
        };
        let of_gateway = by_gateway.entry((key.namespace.as_str(), gateway)).or_default();
        of_gateway.push(Arc::clone(resource));
        for name in listener.tls.iter().flat_map(|tls| &tls.certificates) {
            let certificate = name.split_once('/').and_then(|(namespace, name)| {
                resources.get(&config::Key::new(Kind::Certificate, namespace, name))
            });
            of_gateway.extend(certificate.cloned());
        }
    }
    by_gateway
}

/// What connected proxies reject, each once, in order.
fn rejections(proxies: &[ProxyState]) -> Vec<Rejection> {
    let connected = proxies.iter().filter(|proxy| proxy.is_connected);
    let mut all: Vec<Rejection> = connected.flat_map(|proxy| proxy.rejections.iter().cloned()).collect();
    all.sort_by(|a, b| (&a.key, &a.message).cmp(&(&b.key, &b.message)));
    all.dedup();
    all
}

/// Says what a Gateway waits for.
fn explain(gateway: &mut GatewayStatus, answer: &Answer, refusal: Option<&String>) {
    let generation = gateway.conditions.first().and_then(|condition| condition.observed_generation);
    let Some(programmed) = find(&mut gateway.conditions, condition_type::PROGRAMMED) else { return };
    if programmed.status == ConditionStatus::False && refusal.is_none() {
        return;
    }
    let (status, reason, message) = match refusal {
        Some(refusal) => (ConditionStatus::False, reason::NO_RESOURCES, refusal.clone()),
        None if answer.connected == 0 => {
            (ConditionStatus::Unknown, reason::PENDING, "Waiting for a proxy to connect.".to_owned())
        }
        None => {
            let message = format!(
                "Waiting for {} of {} proxies to answer: {}.",
                answer.waiting.len(),
                answer.connected,
                shortened(&answer.waiting)
            );
            (ConditionStatus::Unknown, reason::PENDING, message)
        }
    };
    set(
        &mut gateway.conditions,
        Condition::new(condition_type::PROGRAMMED, status, reason, message, generation),
    );
}

fn shortened(pods: &[String]) -> String {
    let shown: Vec<&str> = pods.iter().take(3).map(String::as_str).collect();
    if pods.len() > shown.len() { format!("{}, …", shown.join(", ")) } else { shown.join(", ") }
}

#[cfg(test)]
mod mesh_tests;
#[cfg(test)]
mod tests;
