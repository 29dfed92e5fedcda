//! What to do next about one Service: pure, from what is seen to writes.
//!
//! The order of steps is what keeps traffic whole: at each of them what clients select is not empty if pods or waypoints
//! are ready. Capturing: the shadow that keeps the endpoints, then our slices once every waypoint pod listens (clients go
//! both ways), then the label (Kubernetes' slices step aside). Letting go: the label first (they come back), then, once
//! every node must have seen that, our slices, and the shadow last. In closed mode no other order has traffic at all times.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::Endpoint;
use serde_json::Value;
use tokio::time::Instant;

use super::objects::{self, Shown};
use super::pods::Pod;
use crate::api::Service;
use crate::resources::Named as _;
use crate::status::reason;
use crate::translate::{CAPTURED, FailureMode, OfService, Plan, TOUCHED};

/// How long nodes have to learn that pods are back before our endpoints go.
const GRACE: Duration = Duration::from_secs(10);
/// How long they have to learn that ours are not to be used before these are gone.
const LOWERED: Duration = Duration::from_secs(1);
/// How long Kubernetes has to write its slices before it is made to again.
const SYNC: Duration = Duration::from_secs(3);
/// How long pods that do not answer are waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is seen of a Service.
pub(super) struct Seen<'a> {
    pub(super) service: &'a Service,
    pub(super) plan: &'a Plan,
    pub(super) slices: &'a OfService,
    pub(super) shadow: Option<&'a Service>,
    pub(super) pods: &'a [Pod],
    /// Its pods are locked.
    pub(super) is_locked: bool,
    /// The cluster makes slices step aside.
    pub(super) is_acting: bool,
    pub(super) now: Instant,
}

/// What is remembered of a Service between two looks.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Since when it is wanted.
    begun: Option<Instant>,
    /// When its label was last changed.
    labelled: Option<Instant>,
    /// Since when pods are back.
    back: Option<Instant>,
    /// Since when ours are not to be used.
    lowered: Option<Instant>,
}

/// A write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    /// Server-side apply.
    Apply(Value),
    /// A merge patch of the Service's labels.
    Label(Value),
    /// An EndpointSlice, or a Service, of this name.
    Delete(&'static str, String),
}

impl Write {
    /// Whether it only makes Kubernetes write its slices again.
    pub(super) fn is_touch(&self) -> bool {
        matches!(self, Self::Label(patch) if patch.pointer("/metadata/labels").and_then(Value::as_object)
            .is_some_and(|labels| labels.len() == 1 && labels.contains_key(TOUCHED)))
    }
}

/// Where a Service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Reason and what it waits for.
    Pending(&'static str, String),
    /// Clients are led to so many usable pods of the waypoint, of so many.
    Captured { usable: usize, pods: usize, failure_mode: FailureMode, is_locked: bool },
    /// It is being let go.
    Releasing,
    /// Nothing of it is left.
    Released,
}

/// What to do, and when to look again if nothing changes.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) writes: Vec<Write>,
    pub(super) phase: Phase,
    pub(super) again: Option<Duration>,
}

impl Step {
    const fn wait(phase: Phase, again: Duration) -> Self {
        Self { writes: Vec::new(), phase, again: Some(again) }
    }
}

/// See the module.
pub(super) fn step(seen: &Seen<'_>, memory: &mut Memory) -> Step {
    if seen.plan.is_wanted && missing_family(seen).is_none() {
        (memory.back, memory.lowered) = (None, None);
        capture(seen, memory)
    } else {
        memory.begun = None;
        let mut step = release(seen, memory);
        if let (Phase::Released, Some(family)) =
            (&step.phase, missing_family(seen).filter(|_| seen.plan.is_wanted))
        {
            let message =
                format!("The Service has {family} addresses and the pods of the waypoint have none.");
            step.phase = Phase::Pending(reason::NO_WAYPOINT_FAMILY, message);
        }
        step
    }
}

/// A family that the Service has and the waypoint has not.
fn missing_family(seen: &Seen<'_>) -> Option<&'static str> {
    let lacks =
        |(family, _): &(&'static str, _)| !seen.pods.iter().any(|pod| pod.addresses.contains_key(*family));
    objects::families(seen.service).find(lacks).map(|(family, _)| family).filter(|_| !seen.pods.is_empty())
}

fn capture(seen: &Seen<'_>, memory: &mut Memory) -> Step {
    let begun = *memory.begun.get_or_insert(seen.now);
    let waited = seen.now.duration_since(begun);
    let pending = |what: String| Phase::Pending(reason::PENDING, what);
    let mut writes = Vec::new();
    if seen.shadow.is_none_or(|shadow| !objects::is_shadow_current(seen.service, shadow)) {
        writes.push(Write::Apply(objects::shadow(seen.service)));
    }
    let is_labelled = seen.service.label(CAPTURED).is_some();
    // Without it the waypoint would know no endpoints, and ports that it does not serve would lead nowhere.
    if !is_labelled && !is_shadow_complete(seen) {
        let phase = pending("Waiting for the endpoints of its shadow.".to_owned());
        return Step { writes, phase, again: Some(PATIENCE) };
    }
    let usable = seen.pods.iter().filter(|pod| pod.is_usable()).count();
    let silent: Vec<&str> =
        seen.pods.iter().filter(|pod| pod.ready && !pod.has_answered).map(|pod| pod.name.as_str()).collect();
    let is_first = seen.slices.own().is_empty();
    if is_first && !is_labelled && (usable == 0 || (!silent.is_empty() && waited < PATIENCE)) {
        let what = if silent.is_empty() {
            "Waiting for a pod of the waypoint to be ready.".to_owned()
        } else {
            format!("Waiting for {} to listen for it.", silent.join(", "))
        };
        return Step { writes, phase: pending(what), again: Some(PATIENCE) };
    }
    let is_current = publish(seen, &silent, Shown::AsIs, &mut writes);
    if !is_labelled && !seen.is_acting {
        let why = "The MutatingAdmissionPolicy fairway-capture is missing or does not act: Kubernetes 1.36 or newer is \
            needed, and what `fairway install` prints.";
        return Step {
            writes,
            phase: Phase::Pending(reason::STEERING_UNAVAILABLE, why.to_owned()),
            again: Some(PATIENCE),
        };
    }
    // Only what is seen to be there counts: a label before the slices would leave clients nothing.
    if !objects::is_labelled(seen.service, seen.plan) && is_current && (usable > 0 || is_labelled) {
        memory.labelled = Some(seen.now);
        writes.push(Write::Label(objects::capture_labels(seen.plan)));
    }
    if !is_labelled {
        return Step {
            writes,
            phase: pending("Waiting for its EndpointSlices.".to_owned()),
            again: Some(SYNC),
        };
    }
    let is_aside =
        seen.slices.theirs.iter().all(|slice| slice.label(CAPTURED).is_some() && !has_ready(slice));
    if is_aside {
        let (failure_mode, is_locked) = (seen.plan.failure_mode, seen.is_locked);
        let phase = Phase::Captured { usable, pods: seen.pods.len(), failure_mode, is_locked };
        return Step { writes, phase, again: None };
    }
    if !seen.is_acting {
        let why = "Pods are reached around the waypoint: MutatingAdmissionPolicy fairway-capture is missing, or does not act.";
        return Step {
            writes,
            phase: Phase::Pending(reason::STEERING_UNAVAILABLE, why.to_owned()),
            again: Some(SYNC),
        };
    }
    let again = touch(seen, memory, &mut writes);
    Step { writes, phase: pending("Waiting for Kubernetes to write its EndpointSlices.".to_owned()), again }
}

fn release(seen: &Seen<'_>, memory: &mut Memory) -> Step {
    // Pods that let nobody in are of no use to clients that are led back to them.
    if seen.is_locked {
        return Step::wait(Phase::Releasing, SYNC);
    }
    let mut writes = Vec::new();
    if seen.service.label(CAPTURED).is_some() {
        memory.labelled = Some(seen.now);
        writes.push(Write::Label(objects::release_labels()));
        return Step { writes, phase: Phase::Releasing, again: Some(SYNC) };
    }
    if seen.slices.theirs.iter().any(|slice| slice.label(CAPTURED).is_some()) {
        let again = touch(seen, memory, &mut writes);
        return Step { writes, phase: Phase::Releasing, again };
    }
    if seen.slices.own().is_empty() {
        if let Some(shadow) = seen.shadow {
            writes.push(Write::Delete("Service", shadow.name().to_owned()));
            return Step { writes, phase: Phase::Releasing, again: Some(SYNC) };
        }
        return Step { writes, phase: Phase::Released, again: None };
    }
    let back = *memory.back.get_or_insert(seen.now);
    let waited = seen.now.duration_since(back);
    if waited < GRACE {
        // Who still comes is served.
        publish(seen, &[], Shown::AsIs, &mut writes);
        return Step { writes, phase: Phase::Releasing, again: Some(GRACE.saturating_sub(waited)) };
    }
    if !publish(seen, &[], Shown::Lowered, &mut writes) {
        return Step { writes, phase: Phase::Releasing, again: Some(LOWERED) };
    }
    let lowered = seen.now.duration_since(*memory.lowered.get_or_insert(seen.now));
    if lowered < LOWERED {
        return Step::wait(Phase::Releasing, LOWERED.saturating_sub(lowered));
    }
    let own = seen.slices.own().iter().map(|slice| Write::Delete("EndpointSlice", slice.name().to_owned()));
    writes.extend(own);
    Step { writes, phase: Phase::Releasing, again: Some(SYNC) }
}

/// Writes our slices where they are not as they shall be; says whether they are.
fn publish(seen: &Seen<'_>, silent: &[&str], shown: Shown, writes: &mut Vec<Write>) -> bool {
    let before = writes.len();
    let is_direct = |slice: &crate::api::EndpointSlice| slice.label(crate::translate::DIRECT).is_some();
    let led = || seen.slices.own().iter().filter(|slice| !is_direct(slice));
    let held = |name: &str| {
        led()
            .flat_map(|slice| slice.ports.iter().flatten())
            .any(|port| port.name.as_deref().unwrap_or_default() == name)
    };
    // A new port is told once everybody listens there.
    let is_open = |name: &str| silent.is_empty() || led().next().is_none() || held(name);
    let ports =
        seen.plan.ports.iter().map(|port| (port.name.as_deref().unwrap_or_default().to_owned(), port.listen));
    let ports: Vec<(String, u16)> = ports.filter(|(name, _)| is_open(name)).collect();
    // Who listens for the old ports goes on being used while it learns of a new one.
    let mut wanted = objects::own_slices(seen.service, seen.plan, &ports, seen.pods, shown);
    wanted.extend(objects::direct_slices(seen.service, seen.plan, seen.slices.shadow(), shown));
    let name = |slice: &Value| {
        slice.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    for slice in seen.slices.own() {
        if !wanted.iter().any(|wanted| name(wanted) == slice.name()) {
            writes.push(Write::Delete("EndpointSlice", slice.name().to_owned()));
        }
    }
    for slice in wanted {
        let there = seen.slices.own().iter().find(|own| own.name() == name(&slice));
        if !there.is_some_and(|own| objects::is_slice_current(&slice, own)) {
            writes.push(Write::Apply(slice));
        }
    }
    writes.len() == before
}

/// Makes Kubernetes write its slices again if it had its time.
fn touch(seen: &Seen<'_>, memory: &mut Memory, writes: &mut Vec<Write>) -> Option<Duration> {
    let labelled = *memory.labelled.get_or_insert(seen.now);
    let waited = seen.now.duration_since(labelled);
    if waited < SYNC {
        return Some(SYNC.saturating_sub(waited));
    }
    memory.labelled = Some(seen.now);
    writes.push(Write::Label(objects::touch(seen.service)));
    Some(SYNC)
}

/// Whether what is ready is known to be by the shadow too.
fn is_shadow_complete(seen: &Seen<'_>) -> bool {
    if seen.slices.shadow().is_empty() {
        return false;
    }
    let of = |slices: &[Arc<crate::api::EndpointSlice>]| {
        let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
        endpoints
            .filter(|endpoint| is_ready(endpoint))
            .flat_map(|endpoint| endpoint.addresses.iter().cloned())
            .collect::<std::collections::BTreeSet<String>>()
    };
    of(&seen.slices.theirs).is_subset(&of(seen.slices.shadow()))
}

fn has_ready(slice: &crate::api::EndpointSlice) -> bool {
    slice.endpoints.iter().flatten().any(is_ready)
}

/// Kubernetes: "A nil value should be interpreted as true".
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}
