//! Writes statuses: only what differs, one write per object at a time, and no object twice within a moment.

use std::sync::Arc;
use std::time::Duration;

use config::xds::{Hub, ProxyState};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::events::Recorder;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::assemble::{Assembled, Told};
use super::diff::{self, Write};
use super::queue::{Queue, SPACING};
use super::said::Said;
use super::transitions::{Transition, transitions};
use crate::cluster::capture::Phases;
use crate::cluster::control::View;
use crate::cluster::leader::Leads;
use crate::cluster::metrics::{Metrics, Outcome};
use crate::cluster::provision::Refusals;
use crate::cluster::state::{Observed, State};
use crate::cluster::tell::tell;
use crate::cluster::watch::Versions;
use crate::cluster::write;
use crate::status::{Status, condition_type};
use crate::{ObjectKey, ObjectKind};

/// Writes of routes at one time.
const AT_ONCE: usize = 16;
/// Writes at one time: what is not a route does not wait for them.
const AT_MOST: usize = 24;

/// See the module.
pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) state: Arc<State>,
    pub(crate) hub: Hub,
    pub(crate) views: watch::Receiver<Option<Arc<View>>>,
    pub(crate) leads: watch::Receiver<Leads>,
    pub(crate) refusals: watch::Receiver<Refusals>,
    pub(crate) phases: watch::Receiver<Phases>,
    pub(crate) versions: Arc<Versions>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Arc<Metrics>,
}

/// How a write ended.
struct Done {
    key: ObjectKey,
    body: Value,
    result: Result<DynamicObject, kube::Error>,
}

impl Writer {
    /// Works until the future is dropped.
    pub(crate) async fn run(mut self) {
        let mut said = Said::default();
        let mut queue = Queue::default();
        let mut writes: JoinSet<Done> = JoinSet::new();
        let mut answers = self.hub.changes();
        let mut leads = false;
        loop {
            let next = queue.due.next(writes.len() >= AT_ONCE).filter(|_| writes.len() < AT_MOST);
            let next = next.into_iter().chain(said.now.again).min();
            let state = Arc::clone(&self.state);
            let mut is_news = false;
            tokio::select! {
                Ok(()) = self.views.changed() => is_news = true,
                Ok(()) = answers.changed() => is_news = true,
                Ok(()) = self.refusals.changed() => is_news = true,
                Ok(()) = self.phases.changed() => is_news = true,
                Ok(()) = self.leads.changed() => {}
                () = state.observed.notified() => {}
                Some(done) = writes.join_next() => {
                    if let Ok(done) = done {
                        self.finish(done, &mut queue);
                    }
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            // What else happened meanwhile: it is looked at now, so nothing wakes us for it again.
            let others = [
                self.views.has_changed(),
                answers.has_changed(),
                self.refusals.has_changed(),
                self.phases.has_changed(),
            ];
            is_news |= others.iter().any(|has_changed| matches!(has_changed, Ok(true)));
            answers.mark_unchanged();
            let now = Instant::now();
            let touched = self.state.take_observed();
            let view = self.views.borrow_and_update().clone();
            let told = Told {
                refusals: self.refusals.borrow_and_update().clone(),
                phases: self.phases.borrow_and_update().clone(),
            };
            let Some(view) = view.filter(|_| self.leads.borrow_and_update().now()) else {
                if is_news {
                    self.proxies();
                }
                (leads, queue) = (false, Queue::default());
                continue;
            };
            let is_first = !leads;
            if is_first {
                leads = true;
                said.begin(now);
            }
            if is_news || is_first || said.now.again.is_some_and(|again| again <= now) {
                let foreign: Vec<String> =
                    self.versions.all().into_iter().filter(|v| !crate::features::knows(v)).collect();
                queue.change(said.follow(&view, &self.proxies(), &told, &foreign, now), now);
            }
            let touched = if is_first { self.state.all_observed() } else { touched };
            queue.look(touched, now);
            self.start(&mut queue, &said.now, &mut writes, now);
            self.metrics.status_queue.set(i64::try_from(queue.due.len()).unwrap_or(i64::MAX));
        }
    }

    /// What all proxies say, counted.
    fn proxies(&self) -> Vec<ProxyState> {
        let proxies = self.hub.proxies();
        let (mut connected, mut rejections) = (0, 0);
        for proxy in proxies.iter().filter(|proxy| proxy.is_connected) {
            connected += 1;
            rejections += i64::try_from(proxy.rejections.len()).unwrap_or(i64::MAX);
        }
        self.metrics.proxies.set(connected);
        self.metrics.rejections.set(rejections);
        proxies
    }

    /// Starts the writes that are due.
    fn start(&self, queue: &mut Queue, said: &Assembled, writes: &mut JoinSet<Done>, now: Instant) {
        while writes.len() < AT_MOST
            && let Some(key) = queue.due.pop(now, writes.len() >= AT_ONCE)
        {
            // Its end puts it back.
            if queue.busy.contains(&key) {
                queue.due.set(key, now + SPACING);
                continue;
            }
            // Nothing was ever said of a Service whose status is not remembered.
            let is_silent = key.kind == ObjectKind::Service && said.statuses.0.get(&key).is_some();
            let observed = self.state.observed(&key).or_else(|| is_silent.then(Observed::default));
            let Some(observed) = observed else {
                queue.forget(&key);
                continue;
            };
            if let Some(wait) = queue.wait(&key, &observed, now) {
                queue.due.set(key, wait);
                continue;
            }
            let Some((body, old, new)) = compare(&key, said, &observed) else { continue };
            if queue.is_settled(&key, &new, &old) {
                continue;
            }
            if let Some(hold) = queue.hold(&key, now).filter(|_| diff::only_counts(&old, &new)) {
                queue.due.set(key, hold);
                continue;
            }
            self.tell(&key, &observed, &old, &new);
            queue.busy.insert(key.clone());
            writes.spawn(send(self.client.clone(), key, body, new, observed.resource_version));
        }
    }

    fn finish(&self, done: Done, queue: &mut Queue) {
        let now = Instant::now();
        let Done { key, body, result } = done;
        queue.busy.remove(&key);
        let outcome = match &result {
            Ok(object) => {
                queue.wrote(key.clone(), &body, object, now);
                "done"
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                queue.due.set(key.clone(), now + SPACING);
                "conflict"
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                queue.due.remove(&key);
                "gone"
            }
            Err(error) => {
                tracing::warn!(object = %key, error = write::message(error), "a status cannot be written");
                queue.due.set(key.clone(), now + Duration::from_secs(2));
                "failed"
            }
        };
        self.metrics.status_writes.get_or_create(&Outcome { kind: key.kind.as_str(), outcome }).inc();
    }

    /// Tells transitions, without waiting for the write.
    fn tell(&self, key: &ObjectKey, observed: &Observed, old: &Value, new: &Value) {
        for transition in transitions(old, new) {
            let Transition { is_warning, reason, message } = transition;
            tell(&self.recorder, (key, &observed.uid), is_warning, reason, &message);
        }
    }
}

/// The write for an object, with its status before and after; `None` when there is nothing to write.
fn compare(key: &ObjectKey, said: &Assembled, observed: &Observed) -> Option<(Write, Value, Value)> {
    let mut old: Value =
        observed.status.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let desired = said.statuses.0.get(key).map(Arc::as_ref);
    let shape = match desired {
        Some(status) => status.clone(),
        // Without an entry of ours there is nothing to take back, and it needs no look.
        None => empty(key.kind)?,
    };
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut write = diff::write(desired, &old, &shape, &now)?;
    if said.held.contains(key) {
        write = hold(write, &old)?;
    }
    let new = match &write {
        Write::Apply(status) | Write::Merge(status) => status.clone(),
    };
    if old.is_null() {
        old = json!({});
    }
    Some((write, old, new))
}

/// A status of the kind with nothing in it, for kinds whose status is shared.
fn empty(kind: ObjectKind) -> Option<Status> {
    if kind.route().is_some() {
        return Some(Status::Route(Default::default()));
    }
    if kind == ObjectKind::Service {
        return Some(Status::Service(Default::default()));
    }
    kind.is_policy().then(|| Status::Policy(Default::default()))
}

/// Keeps what is said of `Programmed` when it was said of the same generation; `None` when nothing else is to be said.
fn hold(write: Write, old: &Value) -> Option<Write> {
    let Write::Apply(mut status) = write else { return Some(write) };
    keep_programmed(&mut status, old);
    for listener in status.get_mut("listeners").and_then(Value::as_array_mut).into_iter().flatten() {
        let before = old.get("listeners").and_then(Value::as_array).into_iter().flatten();
        if let Some(before) = before.into_iter().find(|old| old.get("name") == listener.get("name")) {
            keep_programmed(listener, before);
        }
    }
    (status != *old).then_some(Write::Apply(status))
}

fn keep_programmed(new: &mut Value, old: &Value) {
    let is_programmed =
        |condition: &&Value| condition.get("type") == Some(&condition_type::PROGRAMMED.into());
    let before = old.get("conditions").and_then(Value::as_array).into_iter().flatten().find(is_programmed);
    for condition in new.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(before) = before.filter(|_| is_programmed(&&*condition)) else { continue };
        let is_waiting = condition.get("status") == Some(&"Unknown".into())
            && before.get("status") == Some(&"True".into());
        if is_waiting && before.get("observedGeneration") == condition.get("observedGeneration") {
            *condition = before.clone();
        }
    }
}

fn resource(key: &ObjectKey) -> kube::core::ApiResource {
    write::resource(key.kind.api_version(), key.kind.as_str())
}

async fn send(client: Client, key: ObjectKey, write: Write, body: Value, version: Box<str>) -> Done {
    let resource = resource(&key);
    let api = write::api(&client, &resource, &key.namespace);
    let result = match write {
        Write::Apply(status) => {
            let mut metadata = json!({ "name": &*key.name });
            if let Some(metadata) = metadata.as_object_mut().filter(|_| !key.namespace.is_empty()) {
                metadata.insert("namespace".into(), json!(&*key.namespace));
            }
            let object = json!({
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": metadata,
                "status": status,
            });
            let params = PatchParams::apply(write::FIELD_MANAGER).force();
            api.patch_status(&key.name, &params, &Patch::Apply(object)).await
        }
        Write::Merge(status) => {
            let patch = json!({ "metadata": { "resourceVersion": &*version }, "status": status });
            let params =
                PatchParams { field_manager: Some(write::FIELD_MANAGER.into()), ..PatchParams::default() };
            api.patch_status(&key.name, &params, &Patch::Merge(patch)).await
        }
    };
    Done { key, body, result }
}
